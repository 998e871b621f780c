"""Check the planned runs against the records of their folder, before the first run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from agwm.experiments.examples import num_train
from agwm.experiments.grid.cells import Cell
from agwm.experiments.grid.stores import Stores
from agwm.experiments.record import Record, failed_record, read_record
from agwm.experiments.records import FOLDER, find_finished, run_info, run_settings
from agwm.experiments.reporting.runs import check_runs, check_settings

__all__ = ["check_folder", "check_planned"]


def check_folder(output_dir: str | Path, replaced: Iterable[Path] = ()) -> dict[str, Record]:
    """Read every record of a folder, which may be empty.

    Args:
        output_dir: It holds ``results/``.
        replaced: Files that are left out, since they are going to be written anew.

    Returns:
        Name of a file -> its record.

    Raises:
        DataError: If a file is no record.
    """
    skipped = set(replaced)
    paths = sorted((Path(output_dir) / FOLDER).glob("*.json"))
    return {str(path): read_record(path) for path in paths if path not in skipped}


def check_planned(
    cells: Sequence[Cell],
    override: bool = False,
    scores_test: bool = True,
    stores: Stores | None = None,
) -> None:
    """Raise unless the planned runs and the records of their folder can stand in one table.

    Loads the examples of each task, and no model.

    Args:
        cells: All of one output folder.
        override: Their records are replaced.
        scores_test: They are scored on the test examples; the records beside them then need test scores.
        stores: Keeps the examples for who needs them next; None: they are loaded for this alone.

    Raises:
        AgwmError: If a file is no record, or settings or data would be mixed.
    """
    replaced = [cell.path() for cell in cells] if override else []
    runs = check_folder(cells[0].config.output_dir, replaced)
    stores = stores or Stores()
    for cell in cells:
        config = cell.config
        examples = stores.examples(config)
        settings = run_settings(config, cell.method, cell.seed)
        if not override and find_finished(cell.path(), settings, examples.fingerprint) is not None:
            continue  # it is among those that were read
        size = num_train(config, examples)
        info = run_info(config, cell.method, cell.seed, examples.fingerprint, size, cell.label)
        to_come = failed_record(info, examples.task.metric, "not run yet", 0.0)
        runs[f"the run to come, {cell.path().name}"] = to_come
    (check_runs if scores_test else check_settings)(runs)
