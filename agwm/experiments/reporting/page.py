"""The report: one Markdown page with tables, tests and pictures, made only from records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agwm.experiments.record import Record
from agwm.experiments.refusals import Refusal
from agwm.experiments.reporting.alpha_effects import alpha_effects
from agwm.experiments.reporting.chance import is_at_chance
from agwm.experiments.reporting.comparison_pictures import draw_alpha_effects, draw_cost
from agwm.experiments.reporting.dev_scores import dev_section
from agwm.experiments.reporting.lanes import MANY
from agwm.experiments.reporting.pictures import draw_alpha, draw_scores
from agwm.experiments.reporting.published import published_page
from agwm.experiments.reporting.rows import markdown_table, summarize
from agwm.experiments.reporting.runs import labels_of, learns_alpha, tables_of
from agwm.experiments.reporting.sections import (
    alpha_section,
    baseline_section,
    control_section,
    failed_section,
    refused_section,
    settings_section,
    unlearned_section,
    versions_section,
)
from agwm.experiments.reporting.tables import latex_table, make_table, wide_table
from agwm.files import make_folder, write_text
from agwm.markdown import code, escape, flat

__all__ = ["PAGE", "Picture", "pictures_of", "report_files", "write_report"]

PAGE, TABLES, LATEX = "report.md", "tables.md", "tables.tex"


@dataclass(frozen=True)
class Picture:
    """One picture of a report.

    Attributes:
        name: Its file.
        text: Its caption.
        draw: Writes it to a path.
    """

    name: str
    text: str
    draw: Callable[[Path], None]


def report_files(runs: Sequence[Record], command: str, refused: Iterable[Refusal] = ()) -> dict[str, str]:
    """Return the text files of a report.

    Args:
        runs: The result of :func:`agwm.experiments.reporting.runs.load_runs`.
        command: The command that makes the report, for the page.
        refused: The refusals of :func:`agwm.experiments.refusals.load_refusals`. A run outweighs a refusal.

    Returns:
        Name of a file -> its text: the page, and the tables in Markdown and LaTeX.
    """
    failed = sum(run.failure is not None for run in runs)
    degenerate = sum(run.scores.is_degenerate for run in runs)
    at_chance = sum(is_at_chance(run) is True for run in runs)
    parts = [
        "# Results\n",
        f"Made from {len(runs)} records ({failed} failed, {degenerate} degenerate, {at_chance} not above"
        " chance) by\n",
        f"```bash\n{flat(command)}\n```\n",
        f"The tables alone: [{TABLES}]({TABLES}), [{LATEX}]({LATEX}) (plain `tabular`, no packages).\n",
    ]
    markdown, latex = [], []
    left = _by_table(runs, refused)
    for (model, size), own in tables_of(runs).items():
        table = make_table(own)
        markdown.append(f"## {escape(model)}, {size} training examples\n\n{wide_table(table)}")
        latex.append(latex_table(table))
        parts.append(markdown[-1])
        parts += [*baseline_section(own), *control_section(own)]
        parts += [*unlearned_section(own), *alpha_section(own), *dev_section(own)]
        pictures = pictures_of(own)
        parts += ["### Pictures\n"] if pictures else []
        parts += [f"![{picture.text}]({picture.name})\n\n{picture.text}\n" for picture in pictures]
        rows = summarize(own)
        parts.append(f"### Cost, and runs counted\n\n{markdown_table(rows)}")
        parts += [*failed_section(own), *refused_section(left.pop((model, size), []))]
        parts += settings_section(own)
    for (model, size), others in left.items():
        parts += [f"## {escape(model)}, {size} training examples\n", *refused_section(others)]
    parts.append(f"## Published numbers\n\n{published_page()}")
    parts.append(f"## Made with\n\n{versions_section(runs)}")
    return {PAGE: "\n".join(parts), TABLES: "\n".join(markdown), LATEX: "\n".join(latex)}


def pictures_of(runs: Sequence[Record]) -> list[Picture]:
    """Return the pictures that can be drawn of one model and size."""
    if all(run.score is None for run in runs):
        return []
    end = f"--{_file_part(runs[0].model)}--n{runs[0].train_size}.png"
    has_lanes = len(labels_of(run for run in runs if run.score is not None)) > MANY
    found = [
        Picture(
            f"scores{end}",
            "Scores: a strip a method, in it the seeds from top to bottom; bar: mean, shade: mean ±"
            " standard deviation, hollow: degenerate, dotted: best constant answer (where near).",
            lambda path: draw_scores(runs, path),
        ),
        Picture(
            f"cost{end}",
            "Score and cost, a lane a method: small dots are runs that gave a score, large ones their mean."
            if has_lanes
            else "Cost against score: mean of the runs that gave one, bars: standard deviation.",
            lambda path: draw_cost(runs, path),
        ),
    ]
    for label in labels_of(filter(learns_alpha, runs)):
        own = [run for run in runs if run.label == label]
        found.append(
            Picture(
                f"alpha--{_file_part(label)}{end}",
                f"Learned α of {code(label)} by layer and matrix.",
                partial(draw_alpha, own),
            )
        )
    effects = [one.run for one in alpha_effects(runs) if one.difference is not None]
    if effects:
        is_many = len(labels_of(effects)) > MANY
        how = "a lane a method" if is_many else "dotted: the mean that α starts from"
        found.append(
            Picture(
                f"alpha_effect{end}",
                "How far α moved against the difference to a control of the same seed: agwm with α as it is"
                f" drawn where there is one, else α held at 1; {how}.",
                lambda path: draw_alpha_effects(runs, path),
            )
        )
    return found


def write_report(
    runs: Sequence[Record], folder: str | Path, command: str, refused: Iterable[Refusal] = ()
) -> list[Path]:
    """Write the pictures, the tables and the page.

    Args:
        runs: The result of :func:`agwm.experiments.reporting.runs.load_runs`.
        folder: Folder of the report; made if missing.
        command: The command that makes the report.
        refused: The result of :func:`agwm.experiments.refusals.load_refusals`.

    Returns:
        The files written, the page last.

    Raises:
        DataError: If the folder cannot be written.
        MissingExtraError: If matplotlib is not installed.
    """
    folder = make_folder(folder)
    files = report_files(runs, command, refused)
    written = []
    for own in tables_of(runs).values():
        for picture in pictures_of(own):
            picture.draw(folder / picture.name)
            written.append(folder / picture.name)
    for name in (LATEX, TABLES, PAGE):
        write_text(folder / name, files[name])
        written.append(folder / name)
    return written


def _by_table(runs: Sequence[Record], refused: Iterable[Refusal]) -> dict[tuple[str, int], list[Refusal]]:
    """Group refusals by model and size, and drop those that have a run."""
    have_run = {(run.label, run.task, run.model, run.train_size) for run in runs}
    groups: dict[tuple[str, int], list[Refusal]] = {}
    for one in refused:
        if one.place not in have_run:
            groups.setdefault((one.model, one.train_size), []).append(one)
    return {key: groups[key] for key in sorted(groups)}


def _file_part(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text) or "_"
