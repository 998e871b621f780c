"""Run cells, those that are not finished yet, in some processes, with one bar for all."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from agwm.errors import DataError
from agwm.model_selection.cells import FoldCell, TrialCell
from agwm.model_selection.material import Material
from agwm.model_selection.progress import Progress
from agwm.model_selection.store import Store
from agwm.model_selection.work import run_cell

__all__ = ["Schedule", "num_jobs"]

Cell = TrialCell | FoldCell


def num_jobs(jobs: int | None, device_type: str) -> int:
    """Return the number of processes: those asked for, or one a core on the CPU, and one elsewhere."""
    if jobs is not None:
        return jobs
    return cpu_count() if device_type == "cpu" else 1


@dataclass
class Schedule:
    """Finished and unfinished cells, and the bar.

    Attributes:
        material: What every cell needs.
        store: Where finished cells are kept.
        jobs: Processes at the same time.
        passes_of: Returns the passes that a cell takes.
        bar: Told of each cell that ends.
        done: Called with each cell that ends.
    """

    material: Material
    store: Store
    jobs: int
    passes_of: Callable[[Cell], float]
    bar: Progress
    done: Callable[[Cell, Any], None] = lambda cell, record: None

    def run(self, cells: Sequence[Cell]) -> Mapping[str, Any]:
        """Return the records of cells by the cells' names, in the order of the cells.

        Raises:
            AgwmError: If a cell meets something wrong with the input; finished cells are kept.
        """
        records = {cell.name: self.store.find(cell) for cell in cells}
        missing = [cell for cell in cells if records[cell.name] is None]
        # The longest first, so that no process works alone at the end.
        missing.sort(key=self.passes_of, reverse=True)
        for cell, record in self._work(missing):
            self.store.write(cell, record)
            self.store.forget(cell)
            records[cell.name] = record
            self.bar.update(self.passes_of(cell))
            self.done(cell, record)
        return records

    def _work(self, cells: Sequence[Cell]) -> Any:
        if self.jobs == 1:
            yield from ((cell, run_cell(self.material, cell, self.store)) for cell in cells)
            return
        parallel = Parallel(
            self.jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="all", max_nbytes=None
        )
        found = parallel(delayed(_run)(self.material, cell, self.store) for cell in cells)
        try:
            with warnings.catch_warnings():
                # loky starts a process anew whose memory grew; the cells are all made
                warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
                yield from found
        except BaseException as error:
            found.close()
            get_reusable_executor().shutdown(wait=True, kill_workers=True)
            if type(error).__name__ == "TerminatedWorkerError":
                raise DataError(
                    "A process was ended from outside: expected it to finish its work, got its end; often"
                    " the memory is too small. Pass --jobs 1, or a smaller --model or --max-length. What is"
                    " finished is kept."
                ) from None
            raise


def _run(material: Material, cell: Cell, store: Store) -> tuple[Cell, Any]:
    """Run a cell in a process of its own, which may be killed: no lock of tqdm's shall outlive it."""
    tqdm.set_lock(threading.RLock())
    return cell, run_cell(material, cell, store)
