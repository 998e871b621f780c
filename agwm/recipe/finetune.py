"""The recipe: K searches on random splits, their average, and final finetuning with alpha fixed."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from agwm.cards import label_counts
from agwm.checkpoints import Checkpoints
from agwm.checks import check_precision
from agwm.errors import AgwmWarning
from agwm.mixing.injection import check_plain
from agwm.processes import check_joined, check_shards
from agwm.processing import fit_padding
from agwm.recipe.config import FinetuneConfig, check_kind
from agwm.recipe.inner_loss import InnerLoss, MeanLoss, check_problem
from agwm.recipe.padding import batching
from agwm.recipe.result import FinetuneResult
from agwm.recipe.run_checkpoints import checkpoints_of_run, run_facts
from agwm.recipe.search_doubts import DOUBTFUL, search_doubts
from agwm.recipe.searches import Search, search_all
from agwm.recipe.snapshot import Snapshot
from agwm.recipe.splits import check_outer
from agwm.search.problems import AttentionProblem, TaskWeightProblem
from agwm.shards import reshard_
from agwm.training.loop import Collate, Evaluate, train

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
    checkpoint_dir: str | Path | Checkpoints | None = None,
    checkpoint_step: int | None = None,
    resume: bool = True,
) -> FinetuneResult:
    r"""Finetune a pretrained model by attention-guided weights mixup.

    First stage, ``K = config.search.num_resplits`` times: a fresh random split of the training set into
    inner and outer part, fresh alpha, and the search of W and alpha from the pretrained weights and the
    same head. Then W, the factors of alpha and running statistics are averaged over the K; what is equal
    in all of them, as frozen parameters are, stays to the bit. Second stage: W is finetuned on the whole
    training set with alpha fixed, and the mixed weights are written into the model.

    Where ``torch.distributed`` is initialized, each process takes its part of each batch. Together they
    make the steps that one process makes on whole batches; see ``docs/processes.md``.

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
        checkpoint_dir: Folder of this run alone, for checkpoints: the same call goes on there after it was
            stopped or killed, and ends with the same bits. They are removed at the end. None: none. Each
            of several processes writes into a folder in it, of sharded weights its own parts.
            What a subclass of a problem keeps beside W and alpha is not in them. A caller that makes more
            trainings than this passes its own :class:`agwm.checkpoints.Checkpoints`.
        checkpoint_step: Steps between checkpoints; None: as many as keep the time of writing small.
        resume: Go on from the checkpoints in the folder; if not, they are removed.

    Returns:
        The result, with the model as a plain one. A run that fails or is interrupted leaves the model as it
        was given: weights, buffers, gradients, flags and the mode of each module.

    Raises:
        ConfigError: If a setting is wrong or without effect, the tokenizer does not fit the model, or the
            checkpoints are of other settings, examples, weights or versions, of another sharding or number
            of processes; names the first that differs.
        DataError: If ``processing_class`` cannot pad the examples, or ``outer_dataset`` is empty.
        SelectionError: If no weight can be mixed.
        SplitError: If the training set cannot be split, or the split is not disjoint.
        DivergenceError: If a loss, a gradient or a weight is not finite; names the examples.
        HypergradientError: If the hypergradient is not finite.
        ProcessError: If several processes were not joined, or one is lost. If sharded weights do not fit
            the settings.

    Reference:
        Somayajula et al., NAACL 2024: search and finetuning phases, K resplits averaged.

    Example:
        >>> import torch
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
    check_joined()
    check_shards(model)
    _check(model, config, inner, outer)
    reshard_(model)
    if outer_dataset is not None:
        check_outer(train_dataset, outer_dataset, config.search)
    collate, processing_class = batching(collate, processing_class, model)
    mean_loss = None
    if evaluate is None and eval_dataset is not None:
        evaluate = mean_loss = MeanLoss(eval_dataset, collate, config.final.batch_size)
    for line in search_doubts(train_dataset, config, outer_dataset=outer_dataset):
        warnings.warn(f"{DOUBTFUL}: {line}", AgwmWarning, stacklevel=2)
    facts = partial(run_facts, model, config, (train_dataset, outer_dataset), (inner, outer))
    with checkpoints_of_run(checkpoint_dir, facts, checkpoint_step, resume) as checkpoints:
        given = Snapshot(model)
        search = Search(
            dataset=train_dataset,
            outer_dataset=outer_dataset,
            collate=collate,
            evaluate=evaluate,
            mean_loss=mean_loss,
            config=config,
            progress=progress,
            inner=inner,
            outer=outer,
            given=given,
            checkpoints=checkpoints,
        )
        fit_padding(model, processing_class)
        with given.guarding(model):
            result = _finetune(model, search)
            labels = label_counts(train_dataset, model)
    return dataclasses.replace(result, processing_class=processing_class, labels=labels)


def _finetune(model: nn.Module, given: Search) -> FinetuneResult:
    config = given.config
    seconds: dict[str, float] = {}
    history: list[dict[str, Any]] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = None  # the first step would add what an earlier backward left
    start = time.perf_counter()
    problem, initial, num_search = search_all(model, given, history)
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
        stage=None if given.checkpoints is None else given.checkpoints.stage("final"),
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


def _check(model: nn.Module, config: FinetuneConfig, inner: object, outer: object) -> None:
    """Raise for what can be seen before the search.

    Raises:
        ConfigError: If the config is none, a precision cannot be had, or a problem is of a wrong kind.
    """
    check_kind(config, FinetuneConfig, "agwm.FinetuneConfig(search=agwm.SearchConfig(...))")
    for stage in (config.search, config.final):
        check_precision(stage.precision, next(model.parameters()).device)
    check_problem("inner", inner, TaskWeightProblem)
    check_problem("outer", outer, AttentionProblem)
    check_plain(model)
