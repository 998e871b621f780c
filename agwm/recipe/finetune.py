"""The recipe: K searches on random splits, their average, and final finetuning with alpha fixed."""

from __future__ import annotations

import copy
import dataclasses
import time
import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from agwm.cards import label_counts
from agwm.checks import check_precision
from agwm.errors import AgwmWarning, ConfigError
from agwm.mixing.alpha import Attention
from agwm.mixing.injection import check_plain, inject, mixup_of
from agwm.mixing.mixup import Mixup
from agwm.processing import fit_padding
from agwm.recipe.averaging import Mean, averaged
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.inner_loss import InnerLoss, MeanLoss, check_problem
from agwm.recipe.padding import batching
from agwm.recipe.result import FinetuneResult
from agwm.recipe.search_doubts import DOUBTFUL, search_doubts
from agwm.recipe.snapshot import Snapshot
from agwm.recipe.splits import check_outer, draw_parts, num_search_steps
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
    outer_dataset: Sequence[Any] | None = None,
    collate: Collate | None = None,
    processing_class: Any = None,
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
    same head. Then W, the factors of alpha and running statistics are averaged over the K; what is equal
    in all of them, as frozen parameters are, stays to the bit. Second stage: W is finetuned on the whole
    training set with alpha fixed, and the mixed weights are written into the model.

    Args:
        model: A pretrained model whose output has ``loss``, on its device; changed in place.
        train_dataset: Encoded examples, with ``labels`` where the split is stratified.
        outer_dataset: Encoded examples that alpha is learned on, in place of a part of the training set; W
            is never trained on them. Then nothing is split: each search sees all of both, and K counts
            restarts, with other alpha and another order each. The ``loss`` of ``outer`` may be another.
        collate: Makes a batch, a mapping of tensors, of a list of examples. None: ``processing_class``
            pads it, and columns that the model does not take are left out.
        processing_class: The tokenizer that encoded the examples. ``save_pretrained`` saves it beside the
            model, whose padding token becomes the tokenizer's. None: that of ``collate``, if it has one.
        evaluate: ``evaluate(model) -> dict`` of numbers, called during search and finetuning; for the
            record only, nothing is chosen by it.
        eval_dataset: Without ``evaluate``: examples whose mean loss is recorded as ``eval_loss``.
        config: Settings; None: the defaults.
        progress: Show progress bars; None: only on a terminal.
        inner: ``TaskWeightProblem`` or a subclass of it. Its ``loss`` is the loss of both stages, and of
            ``eval_dataset``.
        outer: ``AttentionProblem`` or a subclass of it, for the search.

    Returns:
        The result, with the model as a plain one. A run that fails or is interrupted leaves the model as it
        was given: weights, buffers, gradients, flags and the mode of each module.

    Raises:
        ConfigError: If a setting is wrong or without effect, or the tokenizer does not fit the model.
        DataError: If ``processing_class`` cannot pad the examples, or ``outer_dataset`` is empty.
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
    _check(model, config, inner, outer)
    if outer_dataset is not None:
        check_outer(train_dataset, outer_dataset, config.search)
    collate, processing_class = batching(collate, processing_class, model)
    mean_loss = None
    if evaluate is None and eval_dataset is not None:
        evaluate = mean_loss = MeanLoss(eval_dataset, collate, config.final.batch_size)
    for line in search_doubts(train_dataset, config, outer_dataset=outer_dataset):
        warnings.warn(f"{DOUBTFUL}: {line}", AgwmWarning, stacklevel=2)
    given = Snapshot(model)
    search = _Search(
        train_dataset, outer_dataset, collate, evaluate, mean_loss, config, progress, inner, outer, given
    )
    fit_padding(model, processing_class)
    try:
        result = _finetune(model, search)
        labels = label_counts(train_dataset, model)
        return dataclasses.replace(result, processing_class=processing_class, labels=labels)
    except BaseException:
        mixup = mixup_of(model)
        if mixup is not None:
            mixup.remove()
        given.restore()
        raise


def _finetune(model: nn.Module, given: _Search) -> FinetuneResult:
    config = given.config
    seconds: dict[str, float] = {}
    history: list[dict[str, Any]] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = None  # the first step would add what an earlier backward left
    start = time.perf_counter()
    problem, initial, num_search = _search_all(model, given, history)
    mixup = problem.mixup
    seconds["search"] = time.perf_counter() - start
    start = time.perf_counter()
    mixup.attention.requires_grad_(False)
    final = train(
        model,
        given.dataset,
        collate=given.collate,
        config=config.final,
        seed=config.seed,
        evaluate=given.evaluate,
        phase="final",
        progress=given.progress,
        hooks=InnerLoss(problem),
        section="final",
    )
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
        num_examples=len(given.dataset),
    )


def _check(model: nn.Module, config: object, inner: object, outer: object) -> None:
    """Raise for what can be seen before the search.

    Raises:
        ConfigError: If the config is none, a precision cannot be had, or a problem is of a wrong kind.
    """
    if not isinstance(config, FinetuneConfig):
        raise ConfigError(
            f"Config is of the wrong type: expected FinetuneConfig, got {type(config).__name__}. Build one:"
            " agwm.FinetuneConfig(search=agwm.SearchConfig(...))."
        )
    for stage in (config.search, config.final):
        check_precision(stage.precision, next(model.parameters()).device)
    check_problem("inner", inner, TaskWeightProblem)
    check_problem("outer", outer, AttentionProblem)
    check_plain(model)


@dataclasses.dataclass(frozen=True)
class _Search:
    """Arguments that all K searches share; see :func:`finetune`."""

    dataset: Any
    outer_dataset: Any
    collate: Collate
    evaluate: Evaluate | None
    mean_loss: MeanLoss | None
    config: FinetuneConfig
    progress: bool | None
    inner: type[TaskWeightProblem]
    outer: type[AttentionProblem]
    given: Snapshot


def _search_all(
    model: nn.Module, search: _Search, history: list[dict[str, Any]]
) -> tuple[TaskWeightProblem, Attention, int]:
    """Search K times, and leave the averages in the model and the mixup.

    Returns:
        The inner problem of the last search, the average start of alpha, and the number of inner steps.
    """
    config = search.config
    weights, factors, starts = Mean(), Mean(), Mean()
    num_steps = 0
    problem: TaskWeightProblem | None = None
    for k in range(config.search.num_resplits):
        if problem is not None:
            problem.mixup.remove()
            search.given.restore_tensors()
        mixup = inject(model, **dataclasses.asdict(config.mixing), seed=config.seed + k)
        starts.add(mixup.attention.parameters())
        with warnings.catch_warnings():  # it was said before the first search
            warnings.filterwarnings("ignore", DOUBTFUL, AgwmWarning)
            engine = _build(mixup, search, k)
        problem = engine._inner
        if search.mean_loss is not None:
            search.mean_loss.problem = problem
        engine.run()
        num_steps += engine.step
        history += [{"phase": engine.phase, **record} for record in engine.history]
        for optimizer in (engine._inner.optimizer, engine._outer.optimizer):
            optimizer.state.clear()  # the problem is kept for its loss; moments are twice as large as W
        weights.add(averaged(model))
        factors.add(mixup.attention.parameters())
    problem = cast(TaskWeightProblem, problem)  # there is at least one search
    attention = problem.mixup.attention
    weights.write(averaged(model))
    factors.write(attention.parameters())
    initial = copy.deepcopy(attention)
    starts.write(initial.parameters())
    return problem, initial, num_steps


def _build(mixup: Mixup, given: _Search, k: int) -> MixupEngine:
    """Build the engine of one search: its split, loaders, optimizers and schedules."""
    config, evaluate = given.config, given.evaluate
    search, seed = config.search, config.seed + k
    inner, outer = draw_parts(given.dataset, config, k, given.outer_dataset)
    seed_everything(seed)
    inner_loader = make_loader(inner, search.batch_size, given.collate, seed)
    outer_loader = make_loader(outer, search.batch_size, given.collate, seed + 1)
    num_steps = num_search_steps(search, len(inner))
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
        losses = {"inner_loss": float(engine._inner.last_loss)}
        if hasattr(engine._outer, "last_loss"):
            losses["outer_loss"] = float(engine._outer.last_loss)
        return {**losses, **plain_scores(evaluate(engine._inner.model), "evaluate")}

    return validate
