"""Write a table, and pictures of scores and of alpha, beside the records of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agwm.errors import MissingExtraError
from agwm.experiments.record import Record
from agwm.experiments.reporting.pictures import draw_alpha, draw_scores
from agwm.experiments.reporting.rows import markdown_table, summarize
from agwm.experiments.reporting.runs import learns_alpha, load_runs
from agwm.files import write_text

__all__ = ["write_overview"]


def write_overview(folder: Path, present: Sequence[Record]) -> tuple[str, list[str]]:
    """Write the table and the pictures of an output folder.

    Args:
        folder: It holds ``results/``. All its records are in the table and in the picture of scores.
        present: Records of this call; their alpha is drawn.

    Returns:
        The table in Markdown, and a line for each file, or one that says how to get the pictures.

    Raises:
        DataError: If a file is no record, or records of one row have different settings.
    """
    stored = load_runs([folder])
    table = markdown_table(summarize(stored))
    write_text(folder / "table.md", table)
    return table, [f"Table: {folder / 'table.md'}", *_pictures(stored, present, folder)]


def _pictures(stored: Sequence[Record], present: Sequence[Record], folder: Path) -> list[str]:
    lines: list[str] = []
    try:
        if any(run.score is not None for run in stored):
            draw_scores(stored, folder / "scores.png")
            lines.append(f"Scores of each seed: {folder / 'scores.png'}")
        if any(map(learns_alpha, present)):
            draw_alpha(present, folder / "alpha.png")
            lines.append(f"Learned alpha of each layer: {folder / 'alpha.png'}")
    except MissingExtraError as error:
        return [str(error)]
    return lines
