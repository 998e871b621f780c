"""Prepare a model selection: encode the rows, check model and methods, and say what was found."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from joblib import cpu_count

from agwm.data import TaskData, check_known, count_cut, encode
from agwm.data.doubts import data_doubts
from agwm.data.quiet import quiet_datasets
from agwm.data.summary import part_facts, part_line, texts_of
from agwm.data.tables import counted
from agwm.errors import AgwmError, ConfigError, one_line
from agwm.evaluation.scores import greater_is_better, labels_array
from agwm.methods import METHODS, Method
from agwm.model_selection.budget import BUDGETS
from agwm.model_selection.candidates import CONSTANT, candidate_names, is_trained, made_with
from agwm.model_selection.folds import Fold, make_folds
from agwm.model_selection.groups import group_rows, groups_line
from agwm.model_selection.material import Material
from agwm.model_selection.options import FitOptions
from agwm.model_selection.plan import Plan
from agwm.model_selection.schedule import num_jobs
from agwm.models.positions import max_tokens
from agwm.models.pretrained import Pretrained, load_pretrained, pick_device
from agwm.models.vocabulary import check_reading
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.search_doubts import search_doubts
from agwm.training.config import TrainingConfig

__all__ = ["Prepared", "prepare"]

Say = Callable[[str], None]
_ALIKE = 1.5  # times as many words


@dataclass(frozen=True, eq=False)
class Prepared:
    """Rows, model and plan of a selection, checked and told.

    Attributes:
        data: Task, rows and test rows.
        material: What every cell needs.
        plan: Folds, candidates and cells.
        loaded: The pretrained model, which nothing changes.
        jobs: Processes at the same time.
        told: What was said, line by line.
    """

    data: TaskData
    material: Material
    plan: Plan
    loaded: Pretrained
    jobs: int
    told: list[str]


def prepare(data: TaskData, options: FitOptions, notice: Say) -> Prepared:
    """Encode the rows, check everything that can be checked before the first training, and say it.

    Args:
        data: Task and rows; the test set may be empty.
        options: Options of the selection.
        notice: Called with each line.

    Raises:
        AgwmError: If something is wrong with rows, model, methods or options.
    """
    told: list[str] = []

    def say(line: str) -> None:
        if line and line not in told:
            told.append(line)
            notice(line)

    budget, task = BUDGETS[options.budget], data.task
    _check_class_weight(options, data)
    names = candidate_names(options.methods, list(budget.candidates))
    device = pick_device(options.device)
    loaded = load_pretrained(
        options.model,
        task.label_names,
        options.seed,
        options.trust_remote_code,
        task.problem_type,
    )
    check_reading(options.model, loaded.tokenizer, loaded.model, task.is_pair)
    limit = max_tokens(loaded.model)
    max_length = options.max_length if limit is None else min(options.max_length, limit)
    with quiet_datasets():
        encoded = encode(data.train, loaded.tokenizer, task, max_length, limit)
    check_known(encoded, loaded.tokenizer)
    _tell_data(data, loaded, max_length, options, say)
    texts = texts_of(data.train, task)
    groups = group_rows(texts)
    say(groups_line(groups))
    labels = labels_array(list(data.train["label"]), task)
    folds = make_folds(
        labels,
        groups,
        task.problem_type,
        budget.num_folds,
        options.seeds or budget.num_repeats,
        options.seed,
        label_names=task.label_names,
        notice=say,
    )
    length = max(map(len, encoded["input_ids"]))
    names = _fitting(names, options, loaded, length, say)
    jobs = num_jobs(options.jobs, device.type)
    material = Material(
        task=task,
        examples=list(encoded),
        labels=labels,
        options=options,
        max_length=max_length,
        threads=max(1, min(torch.get_num_threads(), cpu_count() // jobs)),
    )
    plan = Plan(options, names, folds, loaded.model.config, task.is_regression)
    for name in names:
        if name == CONSTANT or not METHODS[name].searches_alpha():
            continue
        _, _, recipe = made_with(name, plan.settings(name, len(folds[0].train))[0], options.seed)
        for line in search_doubts(encoded.select(folds[0].train), recipe, task.label_names):
            say(line)
    for line in _plan_lines(plan, folds, task.metric):
        say(line)
    return Prepared(data, material, plan, loaded, jobs, told)


def _check_class_weight(options: FitOptions, data: TaskData) -> None:
    if options.class_weight is not None and data.task.is_regression:
        raise ConfigError(
            "Scores have no classes to weigh: expected classes, got --class-weight for a regression. Leave"
            " --class-weight out."
        )


def _tell_data(data: TaskData, loaded: Pretrained, max_length: int, options: FitOptions, say: Say) -> None:
    task = data.task
    train, test = part_facts(data.train, data.test, task), part_facts(data.test, data.train, task)
    for part, facts, own, other in (
        (data.train, train, data.sources[0], data.sources[1]),
        (data.test, test, data.sources[1], data.sources[0]),
    ):
        if len(part):
            with quiet_datasets():
                cut = count_cut(part, loaded.tokenizer, task, max_length)
            line = f"{counted(cut, 'text')} cut at {max_length} tokens" if cut else ""
            say(part_line(own, facts, other, line))
    if max_length < options.max_length:
        say(f"{loaded.name}: it reads {max_length} tokens at most, not --max-length {options.max_length}.")
    say(f"{loaded.origin}.")
    for note in (*data.notes, *loaded.notes, *data_doubts(train, test, data.sources)):
        say(note)
    say(_length_line(data))


def _length_line(data: TaskData) -> str:
    """Say if the test rows are much longer or shorter than the training rows; "" if they are not."""
    if not len(data.test):
        return ""
    train, test = (
        statistics.median(sum(len(text.split()) for text in row) for row in texts_of(part, data.task))
        for part in (data.train, data.test)
    )
    if max(train, test) <= _ALIKE * max(1, min(train, test)):
        return ""
    return (
        f"{data.sources[1]}: half of its rows have more than {test:g} words, of {data.sources[0]} more than"
        f" {train:g}: they are of another kind, and the cross-validation does not tell of it."
    )


def _fitting(
    names: Sequence[str], options: FitOptions, loaded: Pretrained, length: int, say: Say
) -> list[str]:
    """Return the candidates that can work; one that the user named, and cannot, is an error.

    Raises:
        AgwmError: If a candidate that the user named does not fit, or lacks its library.
    """
    fitting = []
    for name in names:
        if name != CONSTANT:
            settings = {"learning_rate": 1e-4, "epochs": 1} if is_trained(name) else {}
            misfit = _misfit(made_with(name, settings, options.seed), loaded, length)
            if misfit is not None and options.methods is not None:
                raise misfit
            if misfit is not None:
                say(f"{name} is left out: {one_line(str(misfit))}")
                continue
        fitting.append(name)
    return fitting


def _misfit(
    made: tuple[Method, TrainingConfig, FinetuneConfig], loaded: Pretrained, length: int
) -> AgwmError | None:
    method, _, recipe = made
    try:
        method.check(loaded, recipe)
        method.check_length(loaded.model, length)
    except AgwmError as error:
        return error
    return None


def _plan_lines(plan: Plan, folds: Sequence[Fold], metric: str) -> list[str]:
    repeats, per = len(plan.repeats()), len(plan.repeats()[0])
    better = "greater" if greater_is_better(metric) else "smaller"
    again = "" if repeats == 1 else f", {repeats} times over"
    lines = [
        f"Candidates: {', '.join(plan.candidates)}. Each is trained on {per - 1} of {per} folds and scored"
        f" on the other{again}, by {metric} ({better} is better)."
    ]
    tried = []
    for name in plan.candidates:
        if is_trained(name):
            settings = plan.settings(name, len(folds[0].train))
            rates = ", ".join(f"{one['learning_rate']:g}" for one in settings)
            epochs = max(one["epochs"] for one in [*settings, *plan.longer(settings[0])])
            tried.append(f"{name} {rates} ({'' if plan.options.epochs else 'up to '}{epochs} epochs)")
    if tried:
        chosen = any(map(plan.has_trials, plan.candidates))
        how = "Settings that each training part chooses from" if chosen else "Learning rates"
        lines.append(f"{how}: {'; '.join(tried)}.")
    return lines
