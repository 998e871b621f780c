"""Write what is told of results from their records: ``docs/results.md``, reports, and rows of the README.

Run from the root of the repository: ``python -m docs.make_results``. Each folder of ``docs/results`` holds
records, and may hold a ``README.md`` that says how they were made; its text stands above the table.
"""

from __future__ import annotations

from pathlib import Path

from agwm.experiments.record import Record
from agwm.experiments.refusals import load_refusals
from agwm.experiments.reporting.page import PAGE, report_files, write_report
from agwm.experiments.reporting.rows import NOTE, rows_table, summarize
from agwm.experiments.reporting.runs import load_runs, tables_of
from agwm.experiments.reporting.tables import make_table, wide_table
from agwm.files import write_text
from agwm.markdown import put_between
from docs.summary import summary

ROOT = Path(__file__).resolve().parents[1]
HEAD = """The numbers between the two marks, and the reports with tests and pictures, are made from the
records by `python -m docs.make_results`.
"""


def folders(root: Path = ROOT) -> list[Path]:
    """Return the folders with records, by name."""
    return sorted(path.parent for path in (root / "docs" / "results").glob("*/results"))


def command(folder: Path, root: Path = ROOT) -> str:
    """Return the command that makes the report of a folder."""
    name = folder.relative_to(root).as_posix()
    return f"python examples/report.py {name} --output-dir {name}"


def section(root: Path = ROOT) -> str:
    """Return the section of the page of results without its marks."""
    return "\n".join([HEAD, *(_part(folder, root) for folder in folders(root)), f"{NOTE}\n"])


def page(root: Path = ROOT) -> str:
    """Return the page of results with its section made anew."""
    return put_between((root / "docs" / "results.md").read_text(encoding="utf-8"), "results", section(root))


def readme(root: Path = ROOT) -> str:
    """Return the README with its rows made anew."""
    text = (root / "README.md").read_text(encoding="utf-8")
    return put_between(text, "results", summary(root / "docs" / "results"))


def reports(root: Path = ROOT) -> dict[Path, str]:
    """Return the text files of the reports, by path."""
    return {
        folder / name: text
        for folder in folders(root)
        for name, text in report_files(
            load_runs([folder]), command(folder, root), load_refusals([folder])
        ).items()
    }


def main(root: Path = ROOT) -> None:
    """Write all of it."""
    for folder in folders(root):
        write_report(load_runs([folder]), folder, command(folder, root), load_refusals([folder]))
    write_text(root / "docs" / "results.md", page(root))
    write_text(root / "README.md", readme(root))


def _part(folder: Path, root: Path) -> str:
    runs = load_runs([folder])
    about = folder / "README.md"
    text = about.read_text(encoding="utf-8").strip() if about.exists() else "records without a description."
    link = (folder / PAGE).relative_to(root / "docs").as_posix()
    return f"**{folder.name}** ([report]({link})): {text}\n\n{_tables(runs)}"


def _tables(runs: list[Record]) -> str:
    """Few rows with their cost; many as methods by tasks."""
    if len({run.task for run in runs}) == 1:
        return rows_table(summarize(runs))
    return "\n".join(
        f"{model}, {size} training examples:\n\n{wide_table(make_table(own))}"
        for (model, size), own in tables_of(runs).items()
    )


if __name__ == "__main__":
    main()
