"""The page on a model selection: ``report.html``, one file that needs nothing else, and ``report.md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agwm.errors import DataError
from agwm.files import make_folder, write_text
from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.alpha import alpha_section
from agwm.model_selection.reporting.answers import answer_section, test_section
from agwm.model_selection.reporting.background import reading_section, setup_section
from agwm.model_selection.reporting.blocks import Section
from agwm.model_selection.reporting.candidates import (
    candidate_section,
    conclusion_section,
    metric_section,
)
from agwm.model_selection.reporting.fold_scores import fold_section
from agwm.model_selection.reporting.html_page import html_page
from agwm.model_selection.reporting.markdown_page import markdown_page
from agwm.model_selection.reporting.mistakes import mistake_section
from agwm.model_selection.reporting.training import curve_section, trial_section
from agwm.model_selection.reporting.words import brief

__all__ = ["HTML", "MARKDOWN", "sections_of", "write_report"]

HTML, MARKDOWN = "report.html", "report.md"


def sections_of(record: FitRecord, texts: Sequence[tuple[str, ...]]) -> list[Section]:
    """Return the sections of a page, the conclusion first.

    Args:
        record: The record.
        texts: Texts of the training rows, by position.

    Raises:
        DataError: If there is not one entry of texts a row.
    """
    if len(texts) != len(record.labels):
        raise DataError(
            f"Texts do not fit the record: expected {len(record.labels)} rows, got {len(texts)}."
            " Give the texts of the training rows, in their order."
        )
    found = [
        conclusion_section(record),
        candidate_section(record),
        fold_section(record),
        reading_section(record),
        answer_section(record),
        test_section(record),
        mistake_section(record, texts),
        curve_section(record),
        alpha_section(record),
        metric_section(record),
        trial_section(record),
        setup_section(record),
    ]
    return [section for section in found if section is not None]


def write_report(folder: str | Path, record: FitRecord, texts: Sequence[tuple[str, ...]]) -> list[Path]:
    """Write the page on a model selection, as HTML and as Markdown.

    The HTML file asks for no network and no script. Its pictures need matplotlib (the extra ``plot``);
    without it the page is complete but for them, and says so.

    Args:
        folder: Folder of the report; made if missing.
        record: The record.
        texts: Texts of the training rows, by position; one or two a row.

    Returns:
        The two files, ``report.html`` first.

    Raises:
        DataError: If the folder cannot be written, or there is not one entry of texts a row.
    """
    sections = sections_of(record, texts)
    title = f"Model selection on {brief(record.source, 120)}"
    folder = make_folder(folder)
    pages = {HTML: html_page(title, sections), MARKDOWN: markdown_page(title, sections, HTML)}
    for name, page in pages.items():
        write_text(folder / name, page)
    return [folder / name for name in pages]
