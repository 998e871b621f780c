"""The recipe: K searches on random splits, their average, and final finetuning with alpha fixed."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from agwm.batches import Split, to_device
from agwm.checks import check_precision
from agwm.data.sampling import split_train
from agwm.errors import ConfigError, SplitError
from agwm.mixing.alpha import Attention
from agwm.mixing.mixup import Mixup, inject
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.result import FinetuneResult
from agwm.rng import seed_everything
from agwm.scores import plain_scores
from agwm.search.engine import MixupEngine
from agwm.search.problems import AttentionProblem, TaskWeightProblem
from agwm.search.wiring import build_engine
from agwm.training.hooks import make_optimizer
from agwm.training.loop import Collate, Evaluate, make_loader, make_scheduler, train

__all__ = ["finetune"]


def finetune(
    model: nn.Module,
    train_dataset: Sequence[Any],
    *,
    collate: Collate,
    evaluate: Evaluate | None = None,
    eval_dataset: Sequence[Any] | None = None,
    config: FinetuneConfig | None = None,
    progress: bool | None = None,
    inner: type[TaskWeightProblem] = TaskWeightProblem,
    outer: type[AttentionProblem] = AttentionProblem,
) -> FinetuneResult:
    r"""Finetune a pretrained model by attention-guided weights mixup.

    First stage, ``K = config.search.num_resplits`` times: a fresh random split of the training set into
    inner and outer part, fresh alpha, and the search of W and alpha from the pretrained weights and the
    same head. Then W and the factors of alpha are averaged over the K. Second stage: W is finetuned on
    the whole training set with alpha fixed, and the mixed weights are written into the model.

    Args:
        model: A pretrained model whose output has ``loss``, on its device; changed in place.
        train_dataset: Encoded examples, with ``labels`` where the split is stratified.
        collate: Makes a batch, a mapping of tensors, of a list of examples.
        evaluate: ``evaluate(model) -> dict`` of numbers, called during search and finetuning; for the
            record only, nothing is chosen by it.
        eval_dataset: Without ``evaluate``: examples whose mean loss is recorded as ``eval_loss``.
        config: Settings; None: the defaults.
        progress: Show progress bars; None: only on a terminal.
        inner: ``TaskWeightProblem`` or a subclass of it, for the search.
        outer: ``AttentionProblem`` or a subclass of it, for the search.

    Returns:
        The result, with the model as a plain one.

    Raises:
        ConfigError: If a setting is wrong.
        SelectionError: If no weight can be mixed.
        SplitError: If the training set cannot be split, or the split is not disjoint.
        DivergenceError: If a loss, a gradient or a weight is not finite; names the examples.
        HypergradientError: If the hypergradient is not finite.

    Reference:
        Somayajula et al., NAACL 2024: search and finetuning phases, K resplits averaged.

    Example:
        >>> from agwm.recipe.config import SearchConfig
        >>> from agwm.testing import examples, pretrained
        >>> config = FinetuneConfig(search=SearchConfig(epochs=1, num_resplits=2))
        >>> collate = torch.utils.data.default_collate
        >>> model = pretrained("bert").model
        >>> result = finetune(model, examples(), collate=collate, config=config, progress=False)
        >>> result.num_steps  # two searches of 2 steps; then 3 epochs of 2 steps
        {'search': 4, 'final': 6}
        >>> len(result.alpha)  # one for each linear map of three blocks, and the pooler
        19
    """
    config = FinetuneConfig() if config is None else config
    if not isinstance(config, FinetuneConfig):
        raise ConfigError(
            f"Config is of the wrong type: expected FinetuneConfig, got {type(config).__name__}. Build one:"
            " agwm.FinetuneConfig(search=agwm.SearchConfig(...))."
        )
    for stage in (config.search, config.final):
        check_precision(stage.precision, next(model.parameters()).device)
    if evaluate is None and eval_dataset is not None:
        evaluate = _mean_loss(eval_dataset, collate, config.final.batch_size)
    seconds: dict[str, float] = {}
    history: list[dict[str, Any]] = []
    start = time.perf_counter()
    search = _Search(train_dataset, collate, evaluate, config, progress, inner, outer)
    mixup, initial, num_search = _search_all(model, search, history)
    seconds["search"] = time.perf_counter() - start
    start = time.perf_counter()
    mixup.attention.requires_grad_(False)
    try:
        final = train(
            model,
            train_dataset,
            collate=collate,
            config=config.final,
            seed=config.seed,
            evaluate=evaluate,
            phase="final",
            progress=progress,
            section="final",
        )
    except BaseException:
        mixup.remove()
        raise
    seconds["final"] = time.perf_counter() - start
    mixup.merge()
    return FinetuneResult(
        model=model,
        attention=mixup.attention,
        initial_attention=initial,
        history=history + final,
        seconds=seconds,
        num_steps={"search": num_search, "final": final[-1]["step"] if final else 0},
        config=config,
        num_examples=len(train_dataset),
    )


@dataclasses.dataclass(frozen=True)
class _Search:
    """Arguments that all K searches share; see :func:`finetune`."""

    dataset: Any
    collate: Collate
    evaluate: Evaluate | None
    config: FinetuneConfig
    progress: bool | None
    inner: type[TaskWeightProblem]
    outer: type[AttentionProblem]


def _search_all(
    model: nn.Module, search: _Search, history: list[dict[str, Any]]
) -> tuple[Mixup, Attention, int]:
    """Search K times, and leave the averages in the model and the mixup.

    Returns:
        The mixup, the average of what alpha started from, and the number of inner steps.
    """
    config = search.config
    num = config.search.num_resplits
    # Only a second search has to go back.
    state = model.state_dict() if num > 1 else {}
    start = {name: tensor.detach().clone() for name, tensor in state.items()}
    task_mean: list[Tensor] = []
    attention_mean: list[Tensor] = []
    initial_mean: list[Tensor] = []
    num_steps = 0
    mixup: Mixup | None = None
    for k in range(num):
        if mixup is not None:
            mixup.remove()
            model.load_state_dict(start)
        mixup = inject(model, **dataclasses.asdict(config.mixing), seed=config.seed + k)
        initial_mean = _add(initial_mean, list(mixup.attention.parameters()))
        try:
            engine = _build(mixup, search, k)
            engine.run()
        except BaseException:
            mixup.remove()
            raise
        num_steps += engine.step
        history += [{"phase": engine.phase, **record} for record in engine.history]
        task_mean = _add(task_mean, list(model.parameters()))
        attention_mean = _add(attention_mean, list(mixup.attention.parameters()))
    mixup = cast(Mixup, mixup)  # there is at least one search
    _write_mean(list(model.parameters()), task_mean, num)
    _write_mean(list(mixup.attention.parameters()), attention_mean, num)
    initial = copy.deepcopy(mixup.attention)
    _write_mean(list(initial.parameters()), initial_mean, num)
    return mixup, initial, num_steps


def _build(mixup: Mixup, given: _Search, k: int) -> MixupEngine:
    """Build the engine of one search: its split, loaders, optimizers and schedules."""
    config, dataset, evaluate = given.config, given.dataset, given.evaluate
    search, seed = config.search, config.seed + k
    inner_split, outer_split = _split(dataset, config, seed)
    seed_everything(seed)
    inner_loader = make_loader(Split(dataset, inner_split), search.batch_size, given.collate, seed)
    outer_loader = make_loader(Split(dataset, outer_split), search.batch_size, given.collate, seed + 1)
    num_steps = search.epochs * len(inner_loader)
    num_outer_steps = max(1, num_steps // search.unroll_steps)
    inner_optimizer = make_optimizer(mixup.model, search)
    outer_optimizer = torch.optim.AdamW(
        mixup.attention.parameters(),
        lr=search.attention_learning_rate,
        weight_decay=search.attention_weight_decay,
    )
    return build_engine(
        mixup,
        inner_loader,
        outer_loader,
        inner_optimizer,
        outer_optimizer,
        num_steps,
        config.hypergradient,
        inner_scheduler=make_scheduler(inner_optimizer, search.schedule, num_steps, search.warmup_ratio),
        outer_scheduler=make_scheduler(
            outer_optimizer, search.attention_schedule, num_outer_steps, search.warmup_ratio
        ),
        inner=given.inner,
        outer=given.outer,
        unroll_steps=search.unroll_steps,
        gradient_clipping=search.clipping,
        precision=search.precision,
        roll_back=search.roll_back,
        validate=_validation(evaluate) if evaluate is not None and search.evaluations else None,
        valid_step=max(1, num_steps // max(1, search.evaluations)),
        phase=f"search {k + 1}/{search.num_resplits}",
        progress=given.progress,
    )


def _validation(evaluate: Evaluate) -> Any:
    def validate(engine: MixupEngine) -> dict[str, float]:
        losses = {"inner_loss": float(engine.inner.last_loss)}
        if hasattr(engine.outer, "last_loss"):
            losses["outer_loss"] = float(engine.outer.last_loss)
        return {**losses, **plain_scores(evaluate(engine.inner.model), "evaluate")}

    return validate


def _split(dataset: Sequence[Any], config: FinetuneConfig, seed: int) -> tuple[list[int], list[int]]:
    search = config.search
    labels: Any = len(dataset)
    if search.stratified:
        try:
            labels = [float(row["labels"]) for row in dataset]
        except (KeyError, TypeError, ValueError):
            raise SplitError(
                "Cannot stratify: expected examples with a number under 'labels', got others."
                " Set search.stratified to false."
            ) from None
        if all(label.is_integer() for label in labels):
            labels = [int(label) for label in labels]
    return split_train(labels, search.outer_fraction, seed=seed, stratified=search.stratified)


def _mean_loss(dataset: Any, collate: Collate, batch_size: int) -> Evaluate:
    def evaluate(model: nn.Module) -> Mapping[str, float]:
        device = next(model.parameters()).device
        total, count = 0.0, 0
        for batch in DataLoader(dataset, batch_size, collate_fn=collate):
            size = len(next(iter(batch.values())))
            loss = model(**to_device(batch, device)).loss
            if loss is None:
                raise ConfigError(
                    "Model gives no loss: expected batches with labels, got none. Add labels to the data."
                )
            total, count = total + float(loss) * size, count + size
        return {"eval_loss": total / max(1, count)}

    return evaluate


def _add(total: list[Tensor], tensors: list[nn.Parameter]) -> list[Tensor]:
    new = [tensor.detach().clone() for tensor in tensors]
    return new if not total else list(torch._foreach_add(total, new))


@torch.no_grad()
def _write_mean(parameters: list[nn.Parameter], total: list[Tensor], num: int) -> None:
    for parameter, tensor in zip(parameters, total, strict=True):
        parameter.copy_(tensor / num)
