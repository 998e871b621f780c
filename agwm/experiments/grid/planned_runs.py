"""Check the planned runs against the records of their folder, before the first run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.tickets import make_tickets
from agwm.experiments.grid.work import Work
from agwm.experiments.record import Record, read_record
from agwm.experiments.records import FOLDER
from agwm.experiments.reporting.runs import check_runs, check_settings

__all__ = ["check_folder", "check_planned"]


def check_folder(cells: Sequence[Cell], override: bool = False) -> dict[str, Record]:
    """Read the records of the cells and, of each row beside them, one.

    A folder may hold thousands of other records. Those of a row that nobody runs now stood in one table
    before; all of them are read when the next table is made. A file that is not whole, or whose name
    is not that of a record, is read now.

    Args:
        cells: All of one output folder, which may be empty.
        override: The records of the cells are left out, since they are going to be written anew.

    Returns:
        Name of a file -> its record.

    Raises:
        DataError: If a file is no record.
    """
    folder = Path(cells[0].config.output_dir) / FOLDER
    planned = {cell.path.name for cell in cells}
    present = sorted(path.name for path in folder.glob("*.json"))
    own = [] if override else [name for name in present if name in planned]
    others = _beside(folder, [name for name in present if name not in planned], planned)
    return {str(folder / name): read_record(folder / name) for name in (*own, *others)}


def _beside(folder: Path, names: Sequence[str], planned: set[str]) -> Iterator[str]:
    """Yield the names of the other records that are read: see :func:`check_folder`."""
    rows = dict(map(_row_and_place, planned))
    places, seen = set(rows.values()), set[str]()
    for name in names:
        row, place = _row_and_place(name)
        kind = row if row in rows else place
        is_beside = not row or (place in places and kind not in seen)
        if is_beside or not _ends_as_written(folder / name):
            seen.add(kind)
            yield name


def _row_and_place(name: str) -> tuple[str, str]:
    """Return ``label--task--model--size`` of a record's name, and this without the label; else empty."""
    row = name.rpartition("--seed")[0]
    return row, row.partition("--")[2]  # no label holds two dashes


def _ends_as_written(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-2, os.SEEK_END)
            return file.read() == b"}\n"
    except OSError:  # whoever reads it says why
        return False


def check_planned(work: Work) -> None:
    """Raise unless the planned runs and the records of their folder can stand in one table.

    Loads the examples of each task, and no model. Beside runs that are scored on the test examples, records
    need test scores.

    Raises:
        AgwmError: If a file is no record, or settings or data would be mixed.
    """
    runs = check_folder(work.cells, work.override)
    for ticket in make_tickets(replace(work, retry_failed=False)):  # their records stand in the table
        if not ticket.is_done():
            runs[f"the run to come, {ticket.path.name}"] = ticket.failed("not run yet", 0.0)
    (check_runs if work.scores_test else check_settings)(runs)
