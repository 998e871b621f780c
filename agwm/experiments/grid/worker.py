"""Run a cell in the present process, if no other process does; prepare processes that do nothing else."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from tqdm import tqdm

from agwm.errors import one_line
from agwm.experiments.claims import claimed
from agwm.experiments.grid.stores import Stores
from agwm.experiments.grid.tickets import Ticket
from agwm.experiments.kept_models import keep_model
from agwm.experiments.run import run_one
from agwm.experiments.unfinished_runs import forget
from agwm.files import write_json
from agwm.out_of_memory import out_of_memory

__all__ = ["Ended", "prepare", "run_cell"]

_SECONDS_BETWEEN_LOOKS = 0.5
_STORES = Stores()  # of a worker process


@dataclass(frozen=True)
class Ended:
    """How the turn of a cell ended.

    Attributes:
        lost: Why it has no record, and is to be run again; None: it has one, or another process runs it.
        is_clean: False after an error: memory, or a device, may be in no state for the next cell.
    """

    lost: str | None = None
    is_clean: bool = True


def prepare() -> None:
    """Make a worker of this process: it ends when its parent is gone, which may have had no time to end it.

    Ctrl-C, which reaches all processes of a terminal, is left to the parent. A process that is ended leaves
    tqdm's lock between processes, which Python then warns of: bars here need none.
    """
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_cell(
    ticket: Ticket, threads: int | None = None, stores: Stores = _STORES, progress: bool | None = False
) -> Ended:
    """Run a cell and write its record, unless it has one or another process runs it.

    An error that comes of the cell is a failure on record. Too little memory is not: the same cell may
    find more of it another time.

    Args:
        ticket: The cell.
        threads: Torch threads; None: as many as torch has.
        stores: Examples that earlier cells loaded.
        progress: Show bars; None: only on a terminal.

    Raises:
        DataError: If the claim or the record cannot be written.
    """
    with claimed(ticket.claim) as is_mine:
        if not is_mine or ticket.is_done():
            return Ended()
        if threads is not None:
            torch.set_num_threads(threads)
        config, cell, start = ticket.config, ticket.cell, time.perf_counter()
        try:
            record, outcome = run_one(
                config,
                cell.method,
                cell.seed,
                stores.examples(config),
                progress,
                label=cell.label,
                scores_test=ticket.scores_test,
                encoded_tests=stores.encoded_tests,
                tell=partial(_tell, ticket),
            )
            if config.save_model and outcome is not None:
                record = keep_model(outcome, ticket.path, record)
        except Exception as error:  # whatever stops one cell must not stop the others
            if line := out_of_memory(error):
                return Ended(line, is_clean=False)
            failure = f"{type(error).__name__}: {one_line(str(error), 600)}"
            write_json(ticket.path, ticket.failed(failure, time.perf_counter() - start).to_dict())
            return Ended(is_clean=False)
        write_json(ticket.path, record.to_dict())
        forget(ticket.path)
        return Ended()


def _tell(ticket: Ticket, line: str) -> None:
    """Say on standard error what the user should know of a cell's checkpoints."""
    with suppress(OSError, ValueError):  # nobody reads
        tqdm.write(f"{ticket.path.stem}: {line}", file=sys.stderr)
