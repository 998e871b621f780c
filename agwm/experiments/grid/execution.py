"""Run the cells of a grid, several at once and each one once, even if processes die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agwm.experiments.claims import CLAIMS
from agwm.experiments.grid.backends import run_loops
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.monitor import watched
from agwm.experiments.grid.tickets import make_tickets, refusals_by_place
from agwm.experiments.grid.work import Work
from agwm.experiments.kept_models import lacking_line
from agwm.experiments.record import Record
from agwm.experiments.records import FOLDER
from agwm.experiments.refusals import Refusal, store_refusals
from agwm.experiments.unfinished_runs import forget_leftovers
from agwm.files import made_folders

__all__ = ["GridResult", "run_grid"]

Report = Callable[[str], None]


@dataclass(frozen=True)
class GridResult:
    """Outcome of a grid: its records, its refusals, and the cells of other processes.

    Attributes:
        records: Records of finished and failed runs, in the order of the cells.
        refused: Cells that their method refuses, one for all seeds, in the order of the cells.
        elsewhere: Cells that another process holds.
        lost: Record's file -> why it was not written, for cells that the same command runs again.
    """

    records: list[Record] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    elsewhere: list[Cell] = field(default_factory=list)
    lost: dict[Path, str] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        """Runs without a score."""
        return sum(record.failure is not None for record in self.records)

    @property
    def num_degenerate(self) -> int:
        """Runs that are no better than the best constant answer."""
        return sum(record.scores.is_degenerate for record in self.records)


def run_grid(
    work: Work,
    report: Report = lambda line: None,
    progress: bool | None = None,
    notice: Report = lambda line: None,
) -> GridResult:
    """Run the cells that have no record yet.

    Mistakes in data, models or settings of any cell are found before the first run. Cells whose method
    refuses their model are listed, also in the folder, and left out. Each of the others runs in a
    worker process, so that its crash ends no other. One whose process is killed is run once more; if it
    is killed again, or memory is too small, it has no record, and the same command runs it. A run whose
    numbers are not finite has failed, and stays so. Several processes may run the same grid, also on
    several machines that share the folder: no cell runs twice.

    Args:
        work: The cells, and how they are run.
        report: Called with one line a cell.
        progress: Show a bar; None: only on a terminal.
        notice: Called with each line on data and weights, before the first run.

    Returns:
        Records, refusals, the cells that other processes hold, and those that are to be run again.

    Raises:
        AgwmError: If something is wrong with the input, or another process made a record with other
            settings meanwhile; records stay.
    """
    with made_folders(work.folder / FOLDER, work.folder / CLAIMS):
        every = make_tickets(work)
        by_path = refusals_by_place(every, work.stores, notice)
    tickets = [ticket for ticket in every if ticket.path not in by_path]
    refused = list(dict.fromkeys(by_path.values()))
    store_refusals(work.folder, refused, {ticket.place for ticket in tickets})
    done = [ticket.path for ticket in tickets if ticket.is_done()]
    for path in done:
        forget_leftovers(path)
    if done:
        report(f"{len(done)} of {len(work.cells)} runs are finished already.")
    if num_lacking := sum(ticket.lacks_model() for ticket in tickets):
        report(lacking_line(num_lacking))
    for line in dict.fromkeys(f"refused: {one.label} on {one.model}: {one.reason}" for one in refused):
        report(line)
    pending = [ticket for ticket in tickets if not ticket.is_done()]
    with watched(pending, report, progress):
        lost: dict[Path, str] = {}
        while free := [ticket for ticket in pending if ticket.path not in lost and ticket.is_free()]:
            lost |= run_loops(free, work)
    # A record that another process made in the meantime counts only if it has the same settings.
    found = {ticket.path: ticket.record() if ticket.is_done() else None for ticket in tickets}
    return GridResult(
        [record for record in found.values() if record is not None],
        refused,
        [ticket.cell for ticket in tickets if found[ticket.path] is None and ticket.path not in lost],
        {path: line for path, line in lost.items() if found[path] is None},
    )
