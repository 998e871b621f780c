"""Run the cells of a grid, several at once and each one once, even if processes die."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agwm.errors import AgwmError, one_line
from agwm.experiments.grid.backends import run_loops
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.claims import is_stale, owner_of
from agwm.experiments.grid.monitor import Monitor
from agwm.experiments.grid.tickets import CLAIMS, Ticket, make_tickets
from agwm.experiments.grid.worker import Stores
from agwm.experiments.kept_models import lacking_line
from agwm.experiments.record import Record
from agwm.experiments.records import FOLDER
from agwm.experiments.refusals import Refusal, store_refusals
from agwm.files import make_folder

__all__ = ["GridResult", "describe_owners", "run_grid"]

_CHANCES = 3  # times that the loops may be killed without a cell finished
Report = Callable[[str], None]


@dataclass(frozen=True)
class GridResult:
    """Outcome of a grid: its records, its refusals, and the cells of other processes.

    Attributes:
        records: Records of finished and failed runs, in the order of the cells.
        refused: Cells that their method refuses, one for all seeds, in the order of the cells.
        elsewhere: Cells that another process holds.
    """

    records: list[Record] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    elsewhere: list[Cell] = field(default_factory=list)

    @property
    def num_failed(self) -> int:
        """Runs without a score."""
        return sum(record.failure is not None for record in self.records)

    @property
    def num_degenerate(self) -> int:
        """Runs that are no better than the best constant answer."""
        return sum(record.scores.is_degenerate for record in self.records)


def run_grid(
    cells: Sequence[Cell],
    *,
    jobs: int = 1,
    backend: str = "threading",
    threads: int = 1,
    override: bool = False,
    retry_failed: bool = False,
    scores_test: bool = True,
    report: Report | None = None,
    progress: bool | None = None,
    notice: Report | None = None,
    stores: Stores | None = None,
) -> GridResult:
    """Run the cells that have no record yet.

    Mistakes in data, models or settings of any cell are found before the first run. Cells whose method
    refuses their model are listed, also in the folder, and left out. Each of the others runs in a worker
    process, so that its crash ends no other: it is recorded as failed, as is a run whose numbers are not
    finite. Several processes may run the same grid, also on several machines that share the folder: no cell
    runs twice.

    Args:
        cells: All of one output folder.
        jobs: Workers at once; 0: no worker and no backend, the cells run in this process.
        backend: Backend of joblib for the loops that lead the workers. ``"ray"`` needs the extra ``ray``.
        threads: Torch threads of a worker.
        override: Run everything again, replacing records.
        retry_failed: Run failed cells again.
        scores_test: Score on the test examples.
        report: Called with one line a cell.
        progress: Show a bar; None: only on a terminal.
        notice: Called with each line on data and weights, before the first run.
        stores: May hold the examples already; None: they are loaded.

    Returns:
        Records, refusals, and the cells that other processes hold.

    Raises:
        AgwmError: If something is wrong with the input, or another process made a record with other
            settings meanwhile; records stay.
    """
    say = report or (lambda line: None)
    output = Path(cells[0].config.output_dir)
    for name in (FOLDER, CLAIMS):
        make_folder(output / name)
    tickets, refused = make_tickets(cells, override, retry_failed, scores_test, stores, notice)
    store_refusals(output, refused, {ticket.place for ticket in tickets})
    num_done = sum(ticket.is_done() for ticket in tickets)
    if num_done:
        say(f"{num_done} of {len(cells)} runs are finished already.")
    if num_lacking := sum(ticket.lacks_model() for ticket in tickets):
        say(lacking_line(num_lacking))
    for line in dict.fromkeys(f"refused: {one.label} on {one.model}: {one.reason}" for one in refused):
        say(line)
    pending = [ticket for ticket in tickets if not ticket.is_done()]
    with Monitor(pending, say, progress):
        chances = _CHANCES
        while free := [ticket for ticket in pending if _is_free(ticket)]:
            have_ended = run_loops(free, jobs, backend, threads)
            if any(ticket.is_done() for ticket in free):
                continue
            if have_ended:
                break  # all of them were taken by others in the meantime
            chances -= 1
            if chances == 0:
                raise AgwmError(
                    "The loops that lead the workers are killed again and again: expected them to end by"
                    " themselves. Choose --backend threading, or fewer --jobs."
                )
    # A record that another process made in the meantime counts only if it has the same settings.
    found = {ticket.path: ticket.record() if ticket.is_done() else None for ticket in tickets}
    return GridResult(
        [record for record in found.values() if record is not None],
        refused,
        [ticket.cell for ticket in tickets if found[ticket.path] is None],
    )


def _is_free(ticket: Ticket) -> bool:
    return not ticket.is_done() and (not ticket.claim.exists() or is_stale(ticket.claim))


def describe_owners(cells: Sequence[Cell]) -> list[str]:
    """Name the process and the claim of each cell that another process holds."""
    lines = []
    for cell in cells:
        path = Path(cell.config.output_dir) / CLAIMS / cell.path().name
        owner = owner_of(path)
        who = "nobody any more" if owner is None else f"process {owner.pid} on {one_line(owner.host)}"
        lines.append(f"left to {who}: {cell.path().stem} (if that is gone, remove {path})")
    return lines
