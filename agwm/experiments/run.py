"""One run: finetune a model by one method on one task and seed, score it, and make its record."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from agwm.checks import check_precision
from agwm.data import DynamicPadding, encode
from agwm.data.metrics import compute_metric
from agwm.data.quiet import quiet_datasets
from agwm.errors import DivergenceError, HypergradientError, MethodError
from agwm.evaluation.predictions import constant_score, evaluate, predict
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import Examples, draw, num_train
from agwm.experiments.model_cards import card_facts
from agwm.experiments.readable import check_readable, longest_example
from agwm.experiments.record import Record, Scores, TrainInfo
from agwm.experiments.records import run_info
from agwm.experiments.told import told_lines
from agwm.experiments.unfinished_runs import checkpoints_of
from agwm.methods import METHODS, Job, Outcome, make_method
from agwm.models.head_start import start_head
from agwm.models.positions import max_tokens
from agwm.models.pretrained import Pretrained, load_pretrained, pick_device
from agwm.scores import finite_or_null
from agwm.training.hooks import TrainingHooks
from agwm.training.lengths import GroupedByLength
from agwm.training.loop import check_mean

__all__ = ["check_device", "check_method", "check_run", "run_one"]


def check_run(config: RunConfig, examples: Examples, seed: int) -> list[str]:
    """Raise if a run of the config cannot start: wrong sizes, device, model, form of alpha or patterns.

    Returns:
        What the user should know before the first run, line by line.

    Raises:
        AgwmError: If a run could not be started.
    """
    check_device(config)
    num_train(config, examples)
    loaded = load_pretrained(config.model, examples.task.label_names, seed, config.trust_remote_code)
    check_readable(config, examples, loaded)
    for name in config.methods:
        check_method(config, name, loaded, examples)
    return told_lines(config, config.methods, seed, examples, loaded)


def check_device(config: RunConfig) -> None:
    """Raise unless the device is there and can do the precisions of all methods.

    Raises:
        ConfigError: If not.
    """
    device = pick_device(config.device)
    for section in {section for method in config.methods for section in METHODS[method].sections}:
        check_precision(getattr(getattr(config, section), "precision", "fp32"), device)


def check_method(
    config: RunConfig, method: str, loaded: Pretrained, examples: Examples | None = None
) -> None:
    """Raise unless a method, with its settings, fits a model; leave the model unchanged.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        loaded: The model.
        examples: Those that the model must be able to read; None: examples of ``max_length`` tokens.

    Raises:
        AgwmError: If it does not.
        MethodError: If the method makes examples longer than the model reads.
    """
    made = make_method(method, config.rivals)
    if isinstance(made, TrainingHooks):
        check_mean(made, config.vanilla, "vanilla")
    made.check(loaded, config.finetune_config(config.seed_list[0]))
    try:
        made.check_length(loaded.model, config.max_length)
    except MethodError:
        if examples is None:
            raise
        made.check_length(loaded.model, longest_example(config, examples, loaded))


def run_one(
    config: RunConfig,
    method: str,
    seed: int,
    examples: Examples,
    progress: bool | None = None,
    *,
    label: str | None = None,
    scores_test: bool = True,
    encoded_tests: MutableMapping[tuple, list] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Record, Outcome | None]:
    """Finetune and score one model.

    The run goes on from its checkpoints. Whoever writes the record calls
    :func:`agwm.experiments.unfinished_runs.forget` afterwards.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        seed: Decides the examples drawn, head, splits, alpha, data order and dropout.
        examples: The task's examples.
        progress: Show bars; None: only on a terminal.
        label: Name in tables of the method with these settings; None: the method's name.
        scores_test: Score on the test examples. If not, they are not even encoded, and whether the run is
            degenerate is told by the dev examples.
        encoded_tests: Encoded test examples, kept for later runs; None: they are encoded anew.
        tell: Called with what the user should know of checkpoints, a line each.

    Returns:
        The record, and what to save; None where numbers were not finite: the record then says so and has
        no score.

    Raises:
        AgwmError: If model, data or settings do not fit together.
    """
    task = examples.task
    loaded = load_pretrained(config.model, task.label_names, seed, config.trust_remote_code)
    model: nn.Module = loaded.model
    model.to(pick_device(config.device))
    parts, limit = draw(config, examples, seed), max_tokens(loaded.model)
    with quiet_datasets():
        encoded: list[Any] = [
            None if part is None else encode(part, loaded.tokenizer, task, config.max_length, limit)
            for part in parts
        ]
    told = told_lines(config, [method], seed, examples, loaded, encoded[0])
    labels = [[] if part is None else list(part["label"]) for part in parts]
    if config.start_head:
        start_head(loaded, np.asarray(labels[0]))
    labels.append(list(examples.test["label"]) if scores_test else [])
    encoded.append(_encode_test(config, examples, loaded, encoded_tests) if scores_test else None)
    pad = DynamicPadding(loaded.tokenizer)

    def answers(model: nn.Module, part: int) -> Tensor | None:
        return None if encoded[part] is None else predict(model, task, encoded[part], pad)

    def score(found: Tensor | None, part: int) -> float | None:
        return (
            None if found is None else compute_metric(task.metric, found, labels[part], task.positive_index)
        )

    def on_dev(model: nn.Module) -> dict[str, float]:
        return {f"dev_{task.metric}": evaluate(model, task, encoded[1], labels[1], pad)}

    checkpoints = checkpoints_of(config, method, seed, examples.fingerprint, label, tell)
    job = Job(
        loaded=loaded,
        examples=GroupedByLength(encoded[0]) if config.group_by_length else encoded[0],
        collate=pad,
        evaluate=None if encoded[1] is None else on_dev,
        seed=seed,
        training=config.vanilla,
        recipe=config.finetune_config(seed),
        progress=progress,
        checkpoints=checkpoints,
    )
    start, outcome, failure = time.perf_counter(), None, None
    test = dev = None
    try:
        with checkpoints:
            outcome = make_method(method, config.rivals).run(job)
        seconds = time.perf_counter() - start
        found = answers(outcome.model, 1), answers(outcome.model, 2)
        dev, test = score(found[0], 1), score(found[1], 2)
        if config.save_model:
            outcome = replace(outcome, card=card_facts(config, task, seed, labels, (None, *found)))
    except (DivergenceError, HypergradientError) as error:
        failure = " ".join(str(error).split())
        seconds, outcome = time.perf_counter() - start, None
    judged, reference = (test, labels[2]) if scores_test else (dev, labels[1])
    constant = constant_score(task, reference)
    record = Record(
        replace(run_info(config, method, seed, examples.fingerprint, len(labels[0]), label), told=told),
        TrainInfo(
            failure=failure,
            num_train=len(labels[0]),
            num_dev=len(labels[1]),
            num_test=len(labels[2]),
            passes=outcome.passes if outcome else 0,
            total_seconds=round(seconds, 3),
            seconds=outcome.seconds if outcome else {},
            alpha=outcome.alpha if outcome else {},
            history=finite_or_null(outcome.history) if outcome else [],
        ),
        Scores(
            metric=task.metric,
            test=test,
            dev=dev,
            constant=constant,
            is_degenerate=judged is not None and judged <= constant,
            positive=task.positive_class if task.metric == "f1" else None,
        ),
    )
    return record, outcome


def _encode_test(
    config: RunConfig,
    examples: Examples,
    loaded: Pretrained,
    encoded_tests: MutableMapping[tuple, list] | None,
) -> list:
    key = (config.model, config.trust_remote_code, config.max_length, examples.fingerprint)
    if encoded_tests is None or key not in encoded_tests:
        with quiet_datasets():
            limit = max_tokens(loaded.model)
            encoded = encode(examples.test, loaded.tokenizer, examples.task, config.max_length, limit)
        if encoded_tests is None:
            return encoded
        encoded_tests[key] = encoded
    return encoded_tests[key]
