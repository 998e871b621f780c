"""Learn alpha alone, after W was finetuned: how far each weight goes back towards W0."""

from __future__ import annotations

import copy
import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agwm.cards import label_counts
from agwm.errors import AgwmWarning, ConfigError
from agwm.mixing.injection import inject
from agwm.mixing.mixup import Mixup
from agwm.model_loss import model_loss
from agwm.nested import flat_settings
from agwm.processes import check_joined, check_shards, check_unsharded
from agwm.processing import fit_padding
from agwm.recipe.alpha_checks import check_finetuned, check_given, tell_of_single_class, weights_of
from agwm.recipe.config import AlphaConfig, plain_dict
from agwm.recipe.padding import batching
from agwm.recipe.result import FinetuneResult
from agwm.recipe.run_checkpoints import (
    Facts,
    checkpoints_of_run,
    digest_of_rows,
    digest_of_tensors,
    model_facts,
)
from agwm.recipe.snapshot import Snapshot
from agwm.training.config import TrainingConfig
from agwm.training.hooks import TrainingHooks
from agwm.training.loop import Collate, Evaluate, train

__all__ = ["learn_alpha"]

Loss = Callable[[nn.Module, Mapping[str, Any]], Tensor]
_PHASE = "alpha"


def learn_alpha(
    model: nn.Module,
    pretrained: nn.Module | Mapping[str, Tensor],
    outer_dataset: Sequence[Any],
    *,
    collate: Collate | None = None,
    processing_class: Any = None,
    evaluate: Evaluate | None = None,
    loss: Loss | None = None,
    config: AlphaConfig | None = None,
    progress: bool | None = None,
    checkpoint_dir: str | Path | None = None,
    checkpoint_step: int | None = None,
    resume: bool = True,
) -> FinetuneResult:
    r"""Learn alpha of a model that is finetuned already: on examples that W was not trained on.

    Every mixed weight is :math:`\hat W = \alpha W + (1-\alpha) W_0`, with W as it was finetuned. Alpha
    starts near 1, so at the finetuned model. AdamW minimizes the loss on the outer examples by alpha
    alone, and projects it to [0, 1] after every step. Then the mixed weights are written into the
    model. So each weight, or each row and column of it, goes as far back towards W0 as these examples ask
    for: WiSE-FT with a learned coefficient for each. ``docs/outer_data.md`` measures what it is worth.

    Parameters that are not mixed, such as a head, stay to the bit. Running statistics follow the outer
    examples, as in any training.

    Args:
        model: A finetuned model whose output has ``loss``, on its device; changed in place.
        pretrained: Gives W0: the pretrained model, of the same class or without its head, or its weights by
            name. It is read and not changed.
        outer_dataset: Encoded examples that say what the model is to do: of the domain it is for, or of an
            old task that is not to be lost.
        collate: Makes a batch of a list of examples; None: ``processing_class`` pads them.
        processing_class: The tokenizer that encoded the examples; see :func:`agwm.finetune`.
        evaluate: ``evaluate(model) -> dict`` of numbers, called after each epoch; for the record only.
        loss: ``loss(model, batch)``, a tensor of one number; None: ``model(**batch).loss``.
        config: Settings; None: the defaults.
        progress: Show a progress bar; None: only on a terminal.
        checkpoint_dir: Folder for checkpoints of this run alone; see :func:`agwm.finetune`.
        checkpoint_step: Steps between checkpoints; None: as many as keep the time of writing small.
        resume: Go on from the checkpoints in the folder; if not, they are removed.

    Returns:
        The result, with the model as a plain one; ``num_steps`` and ``seconds`` have the stage ``alpha``.
        A run that fails or is interrupted leaves the model as it was given.

    Raises:
        ConfigError: If a setting is wrong or without effect, the loss does not depend on alpha, or the
            checkpoints are of another run; names the first setting that differs.
        DataError: If there is no example, or ``processing_class`` cannot pad them.
        DivergenceError: If a loss or a gradient is not finite, or W0 is not.
        ModelError: If a model is injected, W0 lacks a weight to mix, or all are W0 still.
        ProcessError: If several processes were not joined, one is lost, or weights are sharded.
        SelectionError: If no weight can be mixed.
        ShapeError: If W0 is of another shape.

    Reference:
        The mixup is that of Somayajula et al., NAACL 2024; a coefficient on W - W0 chosen after
        finetuning is that of Wortsman et al., CVPR 2022, one for all weights there.

    Example:
        >>> import agwm, torch
        >>> from agwm.testing import examples, pretrained
        >>> rows, collate = examples(), torch.utils.data.default_collate
        >>> start, model = pretrained("bert").model, pretrained("bert").model
        >>> config = agwm.FinetuneConfig(search=agwm.SearchConfig(epochs=1))
        >>> _ = agwm.finetune(model, rows[6:], collate=collate, config=config, progress=False)
        >>> result = learn_alpha(model, start, rows[:6], collate=collate, progress=False)
        >>> result.num_steps, len(result.alpha)  # 20 epochs of one batch; 19 linear maps
        ({'alpha': 20}, 19)
    """
    config = AlphaConfig() if config is None else config
    check_joined()
    check_shards(model)
    check_unsharded(model.named_parameters(), "learn_alpha", "Leave fully_shard out.")
    check_given(model, outer_dataset, config)
    starts = weights_of(pretrained, model)
    collate, processing_class = batching(collate, processing_class, model)
    facts = partial(_facts, model, starts, outer_dataset, loss, config)
    with checkpoints_of_run(checkpoint_dir, facts, checkpoint_step, resume) as checkpoints:
        given = Snapshot(model)
        fit_padding(model, processing_class)
        with given.guarding(model):
            labels = label_counts(outer_dataset, model)
            tell_of_single_class(labels, len(outer_dataset))
            mixup = inject(model, **dataclasses.asdict(config.mixing), seed=config.seed, pretrained=starts)
            check_finetuned(mixup)
            initial = copy.deepcopy(mixup.attention)
            hooks = _AlphaHooks(mixup, loss)
            began = time.perf_counter()
            history = train(
                model.requires_grad_(False),
                outer_dataset,
                collate=collate,
                config=_training(config),
                seed=config.seed,
                evaluate=evaluate,
                phase=_PHASE,
                progress=progress,
                hooks=hooks,
                section="config",
                stage=None if checkpoints is None else checkpoints.stage(_PHASE),
            )
            seconds = time.perf_counter() - began
            hooks.tell_of_unreached()
            mixup.merge()
    given.restore_flags()
    mixup.attention.requires_grad_(False)
    return FinetuneResult(
        model=model,
        attention=mixup.attention,
        initial_attention=initial,
        history=history,
        seconds={_PHASE: seconds},
        num_steps={_PHASE: history[-1]["step"]},
        config=config,
        num_examples=len(outer_dataset),
        labels=labels,
        processing_class=processing_class,
    )


class _AlphaHooks(TrainingHooks):
    """Training of alpha alone."""

    def __init__(self, mixup: Mixup, loss: Loss | None) -> None:
        self.mixup, self._loss = mixup, model_loss if loss is None else loss
        self._unreached = {name: list(mixup.attention[name].parameters()) for name in mixup.names}

    def make_optimizer(self, model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
        """Return AdamW over the factors of alpha."""
        factors = list(self.mixup.attention.parameters())
        return torch.optim.AdamW(factors, lr=config.learning_rate, weight_decay=config.weight_decay)

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch.

        Raises:
            ConfigError: If it does not depend on alpha.
        """
        loss = self._loss(model, batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            got: Any = loss
            if isinstance(loss, Tensor):
                got = f"{type(loss).__name__} of shape {tuple(loss.shape)}"
                got = f"a {got} without a graph" if loss.numel() == 1 else got
            raise ConfigError(
                "Loss gives alpha no gradient: expected a tensor of one number that depends on the mixed"
                f" weights, got {got}. Return it with its graph."
            )
        return loss.reshape(())

    def edit_gradients(self, model: nn.Module) -> None:
        """Note which alpha the loss reaches.

        Raises:
            ConfigError: If gradient checkpointing keeps it from some: its older kind makes no graph in
                layers whose weights and inputs take no gradient.
        """
        self._unreached = {
            name: factors
            for name, factors in self._unreached.items()
            if all(factor.grad is None for factor in factors)
        }
        if self._unreached and any(getattr(m, "gradient_checkpointing", False) for m in model.modules()):
            raise ConfigError(
                "Gradient checkpointing keeps the gradient from alpha: expected one for all"
                f" {len(self.mixup.names)} mixed weights, got none for {len(self._unreached)}. Set"
                " gradient_checkpointing_kwargs={'use_reentrant': False}."
            )

    def tell_of_unreached(self) -> None:
        """Warn of weights that no loss depended on: their alpha is as it was drawn."""
        if names := list(self._unreached):
            warnings.warn(
                f"Alpha of {len(names)} of {len(self.mixup.names)} weights was not learned: expected losses"
                f" that depend on all, got none that depends on {', '.join(map(repr, names[:3]))}"
                f"{', ...' if names[3:] else ''}. Leave them out by mixing.exclude.",
                AgwmWarning,
                stacklevel=3,
            )

    def after_step(self, model: nn.Module) -> None:
        """Project alpha to [0, 1]."""
        self.mixup.project_()


def _training(config: AlphaConfig) -> TrainingConfig:
    names = {field.name for field in dataclasses.fields(TrainingConfig)} - {"clipping"}
    return TrainingConfig(clipping=0.0, **{name: getattr(config, name) for name in names})


def _facts(
    model: nn.Module,
    starts: Mapping[str, Tensor],
    rows: Sequence[Any],
    loss: Loss | None,
    config: AlphaConfig,
) -> Facts:
    """Return what decides the outcome of a run, by which its checkpoints are known."""
    return {
        **flat_settings(plain_dict(config)),
        "outer_dataset": digest_of_rows(rows),
        **model_facts(model),
        "pretrained": digest_of_tensors(starts.items()),
        "loss": None if loss is None else getattr(loss, "__qualname__", type(loss).__qualname__),
    }
