"""The search's settings, read from ``TrainingArguments``; what these ask for and a search cannot do."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

from torch.utils.data import IterableDataset
from transformers import TrainingArguments

from agwm.data.sampling import outer_split_size
from agwm.errors import AgwmWarning, ConfigError, close_names, shown
from agwm.recipe.config import SearchConfig
from agwm.recipe.splits import num_search_steps

__all__ = [
    "check_arguments",
    "check_countable",
    "logging_steps",
    "saving_steps",
    "search_of",
    "split_sizes",
    "value_of",
]

_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant",
    "constant_with_warmup": "constant",
}
_ADAMW = ("adamw_torch", "adamw_torch_fused")


def check_arguments(args: TrainingArguments) -> None:
    """Raise for arguments under which a search cannot run, and warn of those that it does not follow.

    Raises:
        ConfigError: If weights are to be sharded, several cards are to share one process, or the size of
            the batches is to be found by trying.
    """
    remedies = {
        "deepspeed": (bool(args.deepspeed), "Use torchrun or accelerate launch without it"),
        "fsdp": (bool(args.fsdp), "Shard by fully_shard and use agwm.finetune (docs/processes.md)"),
        "auto_find_batch_size": (args.auto_find_batch_size, "Set per_device_train_batch_size"),
    }
    for name, (is_set, remedy) in remedies.items():
        if is_set:
            raise ConfigError(
                f"MixupTrainer cannot follow TrainingArguments.{name}: expected it to be unset, got"
                f" {getattr(args, name)!r}. {remedy}."
            )
    if args.n_gpu > 1:
        raise ConfigError(
            f"MixupTrainer needs a process for each card: expected one card, got {args.n_gpu} in one"
            " process. Start it by torchrun or accelerate launch, or set CUDA_VISIBLE_DEVICES."
        )
    usual = TrainingArguments.__dataclass_fields__
    others = [
        name
        for name in ("adam_beta1", "adam_beta2", "adam_epsilon")
        if getattr(args, name) != usual[name].default
    ]
    if value_of(args.optim) not in _ADAMW:
        others.append("optim")
    if others:
        warnings.warn(
            f"The search takes AdamW with its usual betas and epsilon: expected {', '.join(others)} at the"
            " default, got others, which serve the second phase alone.",
            AgwmWarning,
            stacklevel=3,
        )


def check_countable(dataset: Any, name: str) -> None:
    """Raise unless a data set can be split.

    Raises:
        ConfigError: If its examples cannot be counted.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise ConfigError(
            f"{name} cannot be searched on: expected examples that can be counted and split, got"
            f" {type(dataset).__name__}, which has no length. Pass a datasets.Dataset or a list."
        )


def search_of(
    args: TrainingArguments, num_inner: int, given: SearchConfig | Mapping[str, Any] | None = None
) -> SearchConfig:
    """Return the settings of a search that is trained as the second phase, but for what is given.

    Args:
        args: The arguments: rate, batches and their micro-batches, epochs, decay, schedule, warm-up,
            clipping, precision.
        num_inner: Size of the inner split.
        given: Single settings of :class:`agwm.SearchConfig` that take the place of those; or all of them.

    Raises:
        ConfigError: If an argument means nothing to a search and no setting takes its place, or a setting
            is unknown or out of range.
    """
    if isinstance(given, SearchConfig):
        return given
    own = dict(given or {})
    known = SearchConfig.__dataclass_fields__
    for name in own:
        if name not in known:
            raise ConfigError(
                f"Setting {shown(name)} of search is unknown: expected one of agwm.SearchConfig, got"
                f" another.{close_names(str(name), known)}"
            )
    values = {
        "learning_rate": args.learning_rate,
        "weight_decay": args.weight_decay,
        "clipping": args.max_grad_norm or 0.0,
        "gradient_accumulation": args.gradient_accumulation_steps,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32",
    }
    if "epochs" not in own:
        if args.num_train_epochs != int(args.num_train_epochs) or args.num_train_epochs < 1:
            _refuse("num_train_epochs", "a whole number of at least 1", args.num_train_epochs, "epochs")
        values["epochs"] = int(args.num_train_epochs)
    if "batch_size" not in own:
        passes = args.gradient_accumulation_steps * args.world_size
        values["batch_size"] = args.per_device_train_batch_size * passes
    schedule = value_of(args.lr_scheduler_type)
    if "schedule" not in own:
        if schedule not in _SCHEDULES:
            _refuse("lr_scheduler_type", f"one of {', '.join(_SCHEDULES)}", schedule, "schedule")
        values["schedule"] = _SCHEDULES[schedule]
    search = SearchConfig(**{**values, **own})
    if "warmup_ratio" in own:
        return search
    num_steps = num_search_steps(search, num_inner)
    warmup = 0 if schedule == "constant" else args.get_warmup_steps(num_steps)
    return dataclasses.replace(search, warmup_ratio=min(1.0, warmup / num_steps))


def logging_steps(args: TrainingArguments, search: SearchConfig, num_inner: int) -> int | None:
    """Return the inner steps between two logs, as ``logging_strategy`` asks for; None: no logs."""
    strategy, total = value_of(args.logging_strategy), num_search_steps(search, num_inner)
    if strategy == "no":
        return None
    if strategy == "epoch":
        return total // search.epochs
    steps = args.logging_steps
    return max(1, math.ceil(total * steps) if steps < 1 else int(steps))


def saving_steps(args: TrainingArguments) -> int | None:
    """Return the inner steps between checkpoints of the search; None: as time allows."""
    is_by_steps = value_of(args.save_strategy) == "steps" and args.save_steps >= 1
    return int(args.save_steps) if is_by_steps else None


def split_sizes(
    num_examples: int, num_outer: int | None, given: SearchConfig | Mapping[str, Any] | None
) -> tuple[int, int]:
    """Return the sizes of the inner and the outer split of a search.

    Args:
        num_examples: Size of the training set.
        num_outer: Size of an outer data set; None: there is none, and the training set is split.
        given: Settings of the search.
    """
    if num_outer is not None:
        return num_examples, num_outer
    fraction = SearchConfig().outer_fraction
    if isinstance(given, SearchConfig):
        fraction = given.outer_fraction
    elif given is not None:
        fraction = SearchConfig(outer_fraction=given.get("outer_fraction", fraction)).outer_fraction
    num_outer = outer_split_size(num_examples, fraction)
    return num_examples - num_outer, num_outer


def value_of(choice: Any) -> Any:
    """Return the text of a choice of ``TrainingArguments``, which may be an ``Enum`` or a text."""
    return getattr(choice, "value", choice)


def _refuse(name: str, expected: str, got: Any, setting: str) -> NoReturn:
    """Raise for an argument.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError(
        f"TrainingArguments.{name} means nothing to the search: expected {expected}, got {got!r}. Pass"
        f" search={{{setting!r}: ...}} for a setting of its own."
    )
