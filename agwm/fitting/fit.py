"""From rows to a model in use: choose a method by cross-validation, and train it on all rows."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from agwm.data import TaskData
from agwm.data.assembly import as_names
from agwm.data.rows import Rows, load_rows
from agwm.data.summary import texts_of
from agwm.evaluation.scores import greater_is_better
from agwm.files import made_folders, make_folder, write_json
from agwm.fitting.result import RECORD_FILE, FitResult
from agwm.folders import check_replaceable, whole_folder
from agwm.model_selection.candidates import CONSTANT
from agwm.model_selection.conclusion import conclusion
from agwm.model_selection.options import FitOptions
from agwm.model_selection.preparation import Prepared, prepare
from agwm.model_selection.record import FitRecord, TestRecord
from agwm.model_selection.refit import Columns, save_chosen
from agwm.model_selection.reporting.page import write_report
from agwm.model_selection.selection import Selection, select, store_of
from agwm.model_selection.store import Store
from agwm.model_selection.table import agreed_settings
from agwm.model_selection.words import tried_words
from agwm.recipe.config import plain_dict
from agwm.rng import RngState
from agwm.scores import finite_or_null
from agwm.versions import versions

__all__ = ["fit", "fit_data"]

Say = Callable[[str], None]


def fit(
    rows: Rows,
    *,
    text: str | Sequence[str],
    label: str | Sequence[str],
    model: str = "minilm",
    test: Rows | None = None,
    methods: Sequence[str] | None = None,
    budget: Literal["small", "normal", "large"] = "normal",
    metric: str | None = None,
    class_weight: Literal["balanced"] | None = None,
    output_dir: str | Path | None = None,
    progress: bool | None = None,
    notice: Say | None = None,
    label_names: Sequence[str] | None = None,
    regression: bool | None = None,
    positive: str | None = None,
    multi_label: bool | None = None,
    **options: Any,
) -> FitResult:
    """Choose a method for labelled rows, train it on all of them, and say how good it is.

    Every candidate is scored by stratified cross-validation. Its learning rate is chosen inside of each
    training part. The candidates are compared by corrected resampled t-tests; ties go to the cheaper one.
    The chosen one is trained on all rows, saved, loaded again and checked. Test rows are scored once, at
    the end, by that model alone.

    Args:
        rows: Labelled rows: a pandas ``DataFrame``, a ``datasets.Dataset``, a list of dicts or a dict of
            columns. They are not changed.
        text: Name of the column of texts, or of the two columns of pairs.
        label: Name of the column of labels, or of several columns of 0 and 1.
        model: ``"minilm"`` or another of ``docs/models.md``, a folder, or a name on the hub.
        test: Labelled rows that no choice sees.
        methods: Names of the candidates; None: those of the budget.
        budget: How much is tried: ``"small"``, ``"normal"`` or ``"large"``.
        metric: The metric that decides; None: accuracy, spearman for scores, micro_f1 for several labels.
        class_weight: ``"balanced"`` weighs classes by their inverse frequency in the loss.
        output_dir: Folder for the model, the report and finished work, from which a stopped call goes on.
            None: a temporary folder that lives as long as the result.
        progress: True to show the bar; None: only on a terminal.
        notice: Called with each line on what was read and is about to run; None: they are in the report.
        label_names: Classes in index order; None: told from the labels.
        regression: True for scores, False for classes; None: told from the labels.
        positive: The class that f1 is of; None: the second.
        multi_label: True: a row has any number of labels; None: told by several label columns, or lists.
        **options: Further fields of :class:`agwm.model_selection.options.FitOptions`, such as ``seed``.

    Returns:
        The result: ``best``, ``table``, ``conclusion``, ``predict(texts)``, ``save_pretrained(dir)``.

    Raises:
        AgwmError: If something is wrong with the rows, the model or the options.
    """
    chosen = FitOptions(
        model=model,
        methods=None if methods is None else list(methods),
        budget=budget,
        metric=metric,
        class_weight=class_weight,
        **options,
    )
    data = load_rows(
        rows,
        text,
        label,
        test,
        label_names=label_names,
        regression=regression,
        metric=metric,
        positive=positive,
        multi_label=multi_label,
    )
    columns = tuple(as_names(text)), tuple(as_names(label))
    nothing: Say = lambda line: None  # noqa: E731
    return fit_data(
        data, columns, chosen, output_dir, notice=notice or nothing, report=nothing, progress=progress
    )


def fit_data(
    data: TaskData,
    columns: Columns,
    options: FitOptions,
    output_dir: str | Path | None,
    *,
    notice: Say,
    report: Say,
    progress: bool | None = None,
) -> FitResult:
    """Do the same for a task that is read already.

    Args:
        data: Task and rows; the test set may be empty.
        columns: Names of the text columns and of the label columns, as the user has them.
        options: Options of the selection.
        output_dir: As in :func:`fit`.
        notice: Called with each line on what was read and is about to run.
        report: Called with each line on results.
        progress: As in :func:`fit`.

    Raises:
        AgwmError: If something is wrong with the rows, the model or the options.
    """
    is_temporary = output_dir is None
    folder = Path(tempfile.mkdtemp(prefix="agwm-") if output_dir is None else output_dir)
    state, threads = RngState.capture(), torch.get_num_threads()
    try:
        start = time.perf_counter()
        check_replaceable(folder)  # it is replaced at the end, and nobody wants to hear of that only then
        with made_folders(folder):  # of what cannot begin no folder is left
            prepared = prepare(data, options, notice)
        ready = time.perf_counter()
        store = store_of(prepared, None if is_temporary else folder)
        selection = select(prepared, store, notice, report, progress)
        seconds = {"reading": ready - start, **selection.seconds}
        record = _save(prepared, selection, columns, seconds, folder, notice, store)
        store.forget_trainings()
    except BaseException:
        if is_temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        state.restore()
        torch.set_num_threads(threads)
    texts = texts_of(data.train, data.task)
    result = FitResult(record, texts, folder, options.device, options.trust_remote_code)
    if is_temporary:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    return result


def _save(
    prepared: Prepared,
    selection: Selection,
    columns: Columns,
    seconds: dict[str, float],
    folder: Path,
    notice: Say,
    store: Store,
) -> FitRecord:
    """Train the chosen candidate on all rows, and write model, report and record into the folder."""
    chosen = selection.chosen
    if chosen == CONSTANT:
        record = _record(prepared, selection, columns, seconds, None)
        _write(record, prepared, make_folder(folder))
        return record
    row = next(row for row in selection.rows if row.name == chosen)

    def say(line: str) -> None:
        notice(line)
        prepared.told.append(line)

    with whole_folder(folder) as new:
        test, more = save_chosen(prepared, row, selection.of(chosen), columns, new, say, store)
        record = _record(prepared, selection, columns, seconds | more, test)
        _write(record, prepared, new)
    return record


def _write(record: FitRecord, prepared: Prepared, folder: Path) -> None:
    write_json(folder / RECORD_FILE, finite_or_null(dataclasses.asdict(record)))
    write_report(folder, record, texts_of(prepared.data.train, prepared.data.task))


def _tried(selection: Selection) -> dict[str, str]:
    """Return for each candidate the settings that were tried, in words."""
    tried: dict[str, list[dict[str, Any]]] = {}
    for record in selection.folds:
        settings = [trial.settings for trial in record.trials] or [record.settings]
        tried.setdefault(record.candidate, []).extend(settings)
    return {name: words for name, settings in tried.items() if (words := tried_words(settings))}


def _record(
    prepared: Prepared,
    selection: Selection,
    columns: Columns,
    seconds: dict[str, float],
    test: TestRecord | None,
) -> FitRecord:
    task, options = prepared.data.task, prepared.material.options
    settings = plain_dict(options) | {
        "metric": task.metric,
        "max_length": prepared.material.max_length,
        "jobs": prepared.jobs,
        "candidates": list(prepared.plan.candidates),
        "folds": len(prepared.plan.folds),
        "settings_for_all_rows": agreed_settings(selection.of(selection.chosen), task.metric),
    }
    return FitRecord(
        conclusion=conclusion(
            selection.rows, task.metric, greater_is_better(task.metric), _tried(selection)
        ),
        chosen=selection.chosen,
        metric=task.metric,
        greater_is_better=greater_is_better(task.metric),
        label_names=None if task.label_names is None else list(task.label_names),
        problem_type=task.problem_type,
        labels=prepared.material.labels.tolist(),
        source=prepared.data.sources[0],
        text_columns=list(columns[0]),
        label_columns=list(columns[1]),
        told=prepared.told,
        table=selection.rows,
        folds=selection.folds,
        test=test,
        settings=settings,
        versions=versions(),
        seconds={name: round(value, 1) for name, value in seconds.items()},
    )
