"""One run: one method, one task, one model, one seed, from pretrained weights to a record."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import Tensor, nn

from agwm.config import RunConfig
from agwm.data import DynamicPadding, encode, sample_low_resource
from agwm.errors import HypergradientError
from agwm.evaluation import DivergenceError, constant_score, evaluate
from agwm.finetune_config import FinetuneConfig
from agwm.loading import Pretrained, load_pretrained, pick_device
from agwm.mixup import inject
from agwm.passes import finetune_passes, same_passes, training_passes
from agwm.recipe import finetune
from agwm.records import run_settings, versions
from agwm.selection import select
from agwm.sources import Examples, quiet_datasets
from agwm.training import train

__all__ = ["Outcome", "check_run", "run_one"]

Evaluate = Callable[[nn.Module], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a method gives.

    Attributes:
        model: The finetuned plain model.
        passes: Forward and backward passes of a batch in training.
        history: What was measured on the way.
        alpha: Name of a mixed weight -> mean, min and max of its alpha; empty without mixing.
        seconds: Time of each stage.
        save: Writes model and tokenizer into a folder.
    """

    model: nn.Module
    passes: int
    history: list[dict[str, Any]]
    alpha: dict[str, dict[str, float]]
    seconds: dict[str, float]
    save: Callable[[Path], None]


def check_run(config: RunConfig, examples: Examples, seed: int) -> None:
    """Find mistakes before the first run: sizes, device, model, forms of alpha, patterns.

    Raises:
        AgwmError: If a run could not be started.
    """
    pick_device(config.device)
    _draw(config, examples, seed)
    loaded = load_pretrained(config.model, examples.task.label_names, seed, config.trust_remote_code)
    if set(config.methods) & {"agwm", "frozen"}:
        settings = _without_fresh(config.finetune_config(seed), loaded)
        inject(loaded.model, **dataclasses.asdict(settings.mixing))


def run_one(
    config: RunConfig, method: str, seed: int, examples: Examples, progress: bool | None = None
) -> tuple[dict[str, Any], Outcome | None]:
    """Finetune once and score.

    Args:
        config: The experiment.
        method: One of ``METHODS``.
        seed: Decides the examples drawn, head, splits, alpha, data order and dropout.
        examples: The task's examples.
        progress: Show bars; None: only on a terminal.

    Returns:
        The record, and what to save; None where numbers were not finite: the record then says so and has
        no score.

    Raises:
        AgwmError: If model, data or settings do not fit together.
    """
    task = examples.task
    loaded = load_pretrained(config.model, task.label_names, seed, config.trust_remote_code)
    loaded.model.to(pick_device(config.device))
    parts = (*_draw(config, examples, seed), examples.test)
    with quiet_datasets():
        encoded = [encode(part, loaded.tokenizer, task, config.max_length) for part in parts]
    labels = [list(part["label"]) for part in parts]
    pad = DynamicPadding(loaded.tokenizer)

    def score(model: nn.Module, part: int) -> float:
        return evaluate(model, task, encoded[part], labels[part], pad)

    def on_dev(model: nn.Module) -> dict[str, float]:
        return {f"dev_{task.metric}": score(model, 1)}

    start, outcome, failure = time.perf_counter(), None, None
    test = dev = None
    try:
        outcome = _METHODS[method](config, method, seed, loaded, encoded[0], pad, on_dev, progress)
        seconds = time.perf_counter() - start
        dev, test = score(outcome.model, 1), score(outcome.model, 2)
    except (DivergenceError, HypergradientError) as error:
        failure = " ".join(str(error).split())
        seconds, outcome = time.perf_counter() - start, None
    constant = constant_score(task, labels[2])
    record = {
        "run_info": {
            "method": method,
            "task": task.name,
            "model": Path(config.model).name,
            "train_size": config.train_size,
            "seed": seed,
            "settings": run_settings(config, method, seed),
            "data": examples.fingerprint,
            "versions": versions(),
            "device": str(pick_device(config.device)),
            "threads": torch.get_num_threads(),
        },
        "train_info": {
            "failure": failure,
            "num_train": len(labels[0]),
            "num_dev": len(labels[1]),
            "num_test": len(labels[2]),
            "passes": outcome.passes if outcome else 0,
            "total_seconds": round(seconds, 3),
            "seconds": outcome.seconds if outcome else {},
            "alpha": outcome.alpha if outcome else {},
            "history": _finite(outcome.history) if outcome else [],
        },
        "scores": {
            "metric": task.metric,
            "test": test,
            "dev": dev,
            "constant": constant,
            "is_degenerate": test is not None and test <= constant,
        },
    }
    return record, outcome


def _vanilla(
    config: RunConfig,
    method: str,
    seed: int,
    loaded: Pretrained,
    examples: Any,
    pad: Any,
    on_dev: Evaluate,
    progress: bool | None,
) -> Outcome:
    training, num = config.vanilla, len(examples)
    if method == "vanilla_long":
        training = same_passes(training, finetune_passes(config.finetune_config(seed), num), num)
    start = time.perf_counter()
    history = train(
        loaded.model,
        examples,
        collate=pad,
        config=training,
        seed=seed,
        evaluate=on_dev,
        phase=method,
        progress=progress,
    )
    seconds = {method: round(time.perf_counter() - start, 3)}
    passes = training_passes(training, num)
    return Outcome(loaded.model, passes, history, {}, seconds, lambda folder: _save_plain(loaded, folder))


def _agwm(
    config: RunConfig,
    method: str,
    seed: int,
    loaded: Pretrained,
    examples: Any,
    pad: Any,
    on_dev: Evaluate,
    progress: bool | None,
) -> Outcome:
    settings = _without_fresh(config.finetune_config(seed, frozen=method == "frozen"), loaded)
    result = finetune(
        loaded.model, examples, collate=pad, evaluate=on_dev, config=settings, progress=progress
    )
    alpha = {name: _numbers(value) for name, value in result.alpha.items()}

    def save(folder: Path) -> None:
        result.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)

    return Outcome(
        result.model,
        finetune_passes(settings, len(examples)),
        result.history,
        alpha,
        {key: round(value, 3) for key, value in result.seconds.items()},
        save,
    )


_METHODS = {"vanilla": _vanilla, "vanilla_long": _vanilla, "frozen": _agwm, "agwm": _agwm}


def _save_plain(loaded: Pretrained, folder: Path) -> None:
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def _without_fresh(config: FinetuneConfig, loaded: Pretrained) -> FinetuneConfig:
    """Leave weights that the checkpoint does not hold, such as a new pooler, out of the mixing."""
    mixing = config.mixing
    chosen = {candidate.name for candidate in select(loaded.model, mixing.include, mixing.exclude)}
    fresh = [name for name in loaded.fresh if name in chosen]
    if mixing.include is not None or not fresh:
        return config
    mixing = dataclasses.replace(mixing, exclude=[*(mixing.exclude or []), *fresh])
    return dataclasses.replace(config, mixing=mixing)


def _draw(config: RunConfig, examples: Examples, seed: int) -> list[datasets.Dataset]:
    """Return the training and the dev examples of a seed."""
    drawn = sample_low_resource(examples.train, config.train_size, seed, config.stratified)
    return [examples.train.select(indices) for indices in drawn]


def _numbers(alpha: Tensor) -> dict[str, float]:
    return {"mean": float(alpha.double().mean()), "min": float(alpha.min()), "max": float(alpha.max())}


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not have by null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
