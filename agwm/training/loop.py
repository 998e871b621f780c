"""Train W on one level: vanilla finetuning, and the final stage of the recipe with alpha fixed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from agwm.batch_rows import micro_batches
from agwm.batches import BatchSource, to_device
from agwm.checkpoints import Stage
from agwm.checks import Schedule, check_precision
from agwm.errors import ConfigError
from agwm.finiteness import StepCheck, check_weights, largest_gradient
from agwm.peers import naming_lost
from agwm.processes import (
    average_,
    average_gradients_,
    broadcast_,
    check_agreement,
    check_joined,
    check_shards,
    check_unsharded,
    in_common,
    num_processes,
    part_ways,
)
from agwm.progress import Progress
from agwm.rng import RngState, seed_everything
from agwm.scores import plain_scores
from agwm.shards import reshard_, whole
from agwm.training.config import TrainingConfig
from agwm.training.hooks import TrainingHooks
from agwm.training.lengths import length_batches
from agwm.training.parts import parted
from agwm.training.state import TrainingState

__all__ = [
    "Collate",
    "Evaluate",
    "check_mean",
    "check_whole_steps",
    "make_loader",
    "make_scheduler",
    "measure",
    "train",
]

Collate = Callable[[list[Any]], Mapping[str, Tensor]]
Evaluate = Callable[[nn.Module], Mapping[str, float]]

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def make_scheduler(
    optimizer: torch.optim.Optimizer, schedule: Schedule, num_steps: int, warmup_ratio: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of a learning rate: warm-up from 0, then decay to 0 or constant.

    Args:
        optimizer: The optimizer whose learning rate the schedule sets.
        schedule: ``"linear"``, ``"cosine"`` or ``"constant"``.
        num_steps: Total number of optimizer steps.
        warmup_ratio: Part of the steps during which the rate rises.
    """
    warmup = math.ceil(warmup_ratio * num_steps)
    return transformers.get_scheduler(_SCHEDULES[schedule], optimizer, warmup, num_steps)


def make_loader(
    dataset: Any, batch_size: int, collate: Collate, seed: int, is_whole: bool = False
) -> DataLoader:
    """Return a loader that draws a new order in each epoch. The orders depend on ``seed`` alone.

    Examples that are :class:`GroupedByLength` are batched with others of like length. Each of several
    processes has its part of each batch, unless the batches are to be whole in all.
    """
    order = torch.Generator().manual_seed(seed)
    batches: Any = length_batches(dataset, batch_size, order)
    if num_processes() > 1 and not is_whole:
        batches = parted(batches, dataset, batch_size, order)
    if batches is not None:
        return DataLoader(dataset, batch_sampler=batches, collate_fn=collate, generator=order)
    return DataLoader(dataset, batch_size, shuffle=True, collate_fn=collate, generator=order)


def check_whole_steps(model: nn.Module, config: TrainingConfig) -> None:
    """Raise if micro-batches are asked for of weights that are sharded.

    Processes could have different numbers of them, and would wait for each other's weights for ever.

    Raises:
        ProcessError: If they are.
    """
    if config.gradient_accumulation > 1:
        check_unsharded(model.named_parameters(), "gradient_accumulation above 1", "Lower batch_size.")


def check_mean(hooks: TrainingHooks, config: TrainingConfig, section: str) -> None:
    """Raise if a loss that is no mean over examples would be taken of parts of a batch.

    Raises:
        ConfigError: If it would.
    """
    if not hooks.is_mean and (config.gradient_accumulation > 1 or num_processes() > 1):
        raise ConfigError(
            f"Loss of {getattr(hooks, 'name', type(hooks).__name__)!r} is no mean over examples: expected"
            f" whole batches in one process, got {config.gradient_accumulation} micro-batches in"
            f" {num_processes()}. Set {section}.gradient_accumulation to 1 and start one process, or choose"
            " a mean."
        )


@torch.no_grad()
def measure(model: nn.Module, evaluate: Evaluate) -> dict[str, float]:
    """Evaluate in evaluation mode, then restore the mode and the random state.

    Raises:
        ConfigError: If ``evaluate`` does not return numbers by name.
    """
    state, was_training = RngState.capture(next(model.parameters()).device), model.training
    model.eval()
    try:
        return plain_scores(evaluate(model), "evaluate")
    finally:
        model.train(was_training)
        state.restore()


@naming_lost()
def train(
    model: nn.Module,
    train_dataset: Sequence[Any],
    *,
    collate: Collate,
    config: TrainingConfig,
    seed: int,
    evaluate: Evaluate | None = None,
    phase: str = "vanilla",
    progress: bool | None = None,
    hooks: TrainingHooks | None = None,
    section: str = "vanilla",
    rate_section: str | None = None,
    stage: Stage | None = None,
) -> list[dict[str, Any]]:
    """Finetune the parameters of a model in place, by AdamW unless ``hooks`` make another optimizer.

    Args:
        model: A model whose output has ``loss``: plain or injected, already on its device.
        train_dataset: Encoded examples.
        collate: Function that makes a batch, a mapping of tensors, from a list of examples.
        config: Epochs, batch size, optimizer and schedule.
        seed: Seed of data order and dropout. It seeds the global random state.
        evaluate: Function of the model that returns scores; called after each epoch.
        phase: Name of this training in the progress bar and in the records.
        progress: True to show the bar; None: only on a terminal.
        hooks: The method's changes to the training; None: vanilla finetuning.
        section: Name that the user knows ``config`` by, for the advice in messages.
        rate_section: The section that the learning rate is from; None: the same.
        stage: Where checkpoints are written, and the training is taken up from; None: nowhere.

    Returns:
        One record per epoch: ``phase``, ``step``, ``loss`` (mean of the epoch) and the scores from
        ``evaluate``. The model is left in evaluation mode.

    Raises:
        ConfigError: If the precision does not fit the device, or ``evaluate`` returns no numbers by name.
        ProcessError: If several processes do not work together.
        DivergenceError: If a loss or a gradient is not finite. The weights are then those before the step.
            Under fp16, steps whose gradient overflows are left out, as gradient scaling has it.
    """
    hooks = TrainingHooks() if hooks is None else hooks
    device = next(model.parameters()).device
    check_precision(config.precision, device)
    check_joined()
    reshard_(model)
    check_shards(model)
    if not (type(hooks) is TrainingHooks or hooks.takes_shards):
        kind = getattr(hooks, "name", type(hooks).__name__)
        check_unsharded(model.named_parameters(), f"method {kind!r}", "Leave fully_shard out.")
    check_whole_steps(model, config)
    check_mean(hooks, config, section)
    broadcast_([*model.parameters(), *model.buffers()])
    seed_everything(seed)
    loader = make_loader(train_dataset, config.batch_size, collate, seed)
    num_steps = config.epochs * len(loader)
    optimizer = hooks.make_optimizer(model, config)
    scheduler = make_scheduler(optimizer, config.schedule, num_steps, config.warmup_ratio)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    autocast = torch.autocast(
        device.type, _DTYPES.get(config.precision), enabled=config.precision != "fp32"
    )
    others = _others(optimizer, parameters)
    remedy = _remedy(section, rate_section or section, config)
    check = StepCheck(phase, remedy, num_steps)
    source = BatchSource(loader)
    state = TrainingState(model, optimizer, scheduler, scaler, source, hooks, check)
    optimizer.zero_grad()  # the first step would add what an earlier backward left
    model.train()
    ahead = make_loader(train_dataset, config.batch_size, collate, seed, is_whole=True)
    hooks.before_training(model, (to_device(batch, device) for batch in ahead), num_steps)
    part_ways(seed)
    is_finished = stage is not None and stage.take_up(state)
    epochs = range(len(state.history) + 1, 0 if is_finished else config.epochs + 1)
    with Progress(phase, num_steps, progress, state.step) as bar:
        for epoch in epochs:
            for batch in state.batches():
                state.step += 1
                hooks.begin_step()
                share, losses = 1.0 if source.share is None else source.share, []
                for part, own in micro_batches(to_device(batch, device), config.gradient_accumulation):
                    with autocast:
                        loss = hooks.loss(model, part)
                    weight = share * own
                    scaler.scale(loss if weight == 1.0 else loss * weight).backward()
                    losses.append(loss.detach() if own == 1.0 else loss.detach() * own)
                loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
                average_gradients_([*parameters, *others])
                scaler.unscale_(optimizer)
                with in_common(seed, state.step, 1, device):
                    hooks.edit_gradients(model)
                if config.clipping > 0:
                    norm = whole(torch.nn.utils.clip_grad_norm_(parameters, config.clipping))
                else:
                    norm = largest_gradient(parameters)
                if others:
                    norm = norm + largest_gradient(others).to(norm.device)
                if check.look(state.step, [loss], norm, [source.place], scaler.is_enabled()):
                    state.losses.append(loss * share)
                with in_common(seed, state.step, 2, device):
                    hooks.before_step(optimizer)
                    scaler.step(optimizer)
                    scaler.update()
                    hooks.after_step(model)
                optimizer.zero_grad()
                scheduler.step()
                bar.step(loss=loss)
                if stage is not None:
                    stage.after_step(state)
            record = {
                "phase": phase,
                "step": epoch * len(loader),
                "loss": _mean(state.losses),
            }
            state.losses = []
            state.history.append(record | (measure(model, evaluate) if evaluate is not None else {}))
    if state.step:
        where = f" at the end of phase {phase!r}"
        check_weights(model, where, remedy)
        check_agreement(dict(model.named_parameters()), where)
    model.eval()
    if stage is not None and not is_finished:
        stage.finish(state)
    return state.history


def _mean(losses: list[Tensor]) -> float:
    """Return the mean loss of an epoch, over all processes."""
    return float(average_([torch.stack(losses).mean()])[0]) if losses else math.nan


def _others(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters of an optimizer that are not among the model's, such as those of alpha."""
    known = {id(parameter) for parameter in parameters}
    return [p for group in optimizer.param_groups for p in group["params"] if id(p) not in known]


def _remedy(section: str, rate_section: str, config: TrainingConfig) -> str:
    clipping = "lower" if config.clipping > 0 else "set"
    precision = "" if config.precision == "fp32" else f", or set {section}.precision to 'fp32'"
    return (
        f"Lower {rate_section}.learning_rate, {clipping} {section}.clipping{precision}, and look at these"
        " examples."
    )
