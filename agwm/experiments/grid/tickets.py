"""Tickets: checked cells, with everything that a worker and a record need."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from agwm.errors import ConfigError, MethodError, SelectionError, shown
from agwm.experiments.claims import claim_of, holder_of
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import num_train
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.estimate import planned_passes
from agwm.experiments.grid.stores import Stores
from agwm.experiments.grid.work import Work
from agwm.experiments.kept_models import lacks_model
from agwm.experiments.readable import check_readable
from agwm.experiments.record import Record, failed_record
from agwm.experiments.records import find_finished, run_info
from agwm.experiments.refusals import Place, Refusal, refusal_of
from agwm.experiments.run import check_device, check_method
from agwm.experiments.told import told_lines
from agwm.experiments.unfinished_runs import check_unfinished
from agwm.models.files import model_name
from agwm.models.pretrained import load_pretrained

__all__ = ["Ticket", "make_tickets", "refusals_by_place"]


@dataclass(frozen=True)
class Ticket:
    """A cell to run.

    Attributes:
        cell: Method, settings and seed of the run.
        settings: The settings that decide it.
        data: Fingerprint of its examples.
        metric: Metric of its task.
        num_train: Number of training examples.
        passes: Passes that it will take.
        scores_test: Score on the test examples.
        stamp: Time of change of a record that is to be replaced; None: there is none.
    """

    cell: Cell
    settings: dict[str, Any]
    data: str
    metric: str
    num_train: int
    passes: float
    scores_test: bool
    stamp: int | None

    @property
    def path(self) -> Path:
        """The record's file."""
        return self.cell.path

    @property
    def claim(self) -> Path:
        """The file whose lock is the right to run the cell."""
        return claim_of(self.path)

    @property
    def config(self) -> RunConfig:
        """The cell's settings; what is run again is not taken up at a checkpoint."""
        config = self.cell.config
        return replace(config, resume=config.resume and self.stamp is None)

    def refusal(self, reason: str) -> Refusal:
        """Return the refusal to store if the method refuses the cell."""
        return refusal_of(self.cell.config, self.cell.method, self.cell.label, self.num_train, reason)

    @property
    def place(self) -> Place:
        """Place of the run in a table: label, task, model and size."""
        config = self.cell.config
        return (self.cell.label, config.task, model_name(config.model), self.num_train)

    @property
    def kind(self) -> str:
        """Everything that decides whether the cell can run; its seeds share it."""
        settings = {**self.settings, "seed": None, "device": self.cell.config.device}
        return json.dumps([settings, self.data], sort_keys=True)

    def is_done(self) -> bool:
        """True if some process has written the record."""
        return _stamp(self.path) not in (None, self.stamp)

    def is_free(self) -> bool:
        """True if nobody has run the cell, and nobody does."""
        return not self.is_done() and holder_of(self.claim) is None

    def record(self) -> Record | None:
        """Return the record; None if there is none.

        Raises:
            ConfigError: If another process made it with other settings or other examples.
            DataError: If it cannot be read.
        """
        return find_finished(self.path, self.settings, self.data)

    def lacks_model(self) -> bool:
        """True if the run is finished but the model that it should keep is missing."""
        if not self.cell.config.save_model or not self.is_done():
            return False
        record = self.record()
        return record is not None and lacks_model(self.path, record)

    def failed(self, failure: str, seconds: float) -> Record:
        """Return the record of a cell that an error ended."""
        cell = self.cell
        info = run_info(cell.config, cell.method, cell.seed, self.data, self.num_train, cell.label)
        return failed_record(info, self.metric, failure, seconds)


def make_tickets(work: Work) -> list[Ticket]:
    """Load the examples of all cells, and find the finished ones.

    Raises:
        AgwmError: If data or a size are wrong, or a record or checkpoint is there that was made otherwise.
    """
    tickets = []
    for cell in work.cells:
        config, settings = cell.config, work.stores.settings(cell)
        examples = work.stores.examples(config)
        record = None if work.override else find_finished(cell.path, settings, examples.fingerprint)
        if record is None and not work.override:
            check_unfinished(config, cell.method, cell.seed, examples.fingerprint, cell.label)
        again = work.override or (work.retry_failed and record is not None and record.failure is not None)
        size = num_train(config, examples)
        ticket = Ticket(
            cell,
            settings,
            examples.fingerprint,
            examples.task.metric,
            size,
            planned_passes(config, cell.method, size),
            work.scores_test,
            _stamp(cell.path) if again else None,
        )
        tickets.append(ticket)
    return tickets


def refusals_by_place(
    tickets: Sequence[Ticket], stores: Stores, notice: Callable[[str], None] = lambda line: None
) -> dict[Path, Refusal]:
    """Check one cell of each kind that has no record, and load each model once.

    Args:
        tickets: All cells.
        stores: Holds their examples.
        notice: Called with each line on data and weights, once for each task, size and model.

    Returns:
        Record's file -> refusal, of the cells whose method refuses them.

    Raises:
        ConfigError: If a cell's settings do not fit the device or the examples.
    """
    kinds: dict[str, list[Ticket]] = {}
    for ticket in tickets:
        if not ticket.is_done():
            kinds.setdefault(ticket.kind, []).append(ticket)
    refused: dict[Path, Refusal] = {}
    told: set[str] = set()

    def needs(group: list[Ticket]) -> tuple[str, str]:
        config = group[0].cell.config
        names = stores.examples(config).task.label_names
        return config.model, json.dumps([config.trust_remote_code, names])

    for _, groups in groupby(sorted(kinds.values(), key=needs), needs):
        loaded = None  # one model at a time in memory
        readable: set[tuple[str, int]] = set()  # data and cut length that the model can read
        for group in groups:
            first, cell = group[0], group[0].cell
            config, examples = cell.config, stores.examples(cell.config)
            try:
                check_device(config)
                if loaded is None:
                    names = examples.task.label_names
                    loaded = load_pretrained(config.model, names, cell.seed, config.trust_remote_code)
                if (first.data, config.max_length) not in readable:
                    check_readable(config, examples, loaded)
                    readable.add((first.data, config.max_length))
                check_method(config, cell.method, loaded, examples)
                for line in told_lines(config, [cell.method], cell.seed, examples, loaded):
                    if line not in told:
                        notice(line)
                    told.add(line)
            except (MethodError, SelectionError) as error:
                refusal = first.refusal(" ".join(str(error).split()))
                refused |= dict.fromkeys((ticket.path for ticket in group), refusal)
            except ConfigError as error:
                raise ConfigError(f"Cell {shown(cell.path.stem)}: {error}") from None
    return {ticket.path: refused[ticket.path] for ticket in tickets if ticket.path in refused}


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
