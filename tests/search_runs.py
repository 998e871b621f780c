"""Small searches for the tests: models, batches, engines, and a record of what each step saw."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import agwm
from benchmarks.oracles import Loss, Moment, Weights, drawn_state, mixed_loss
from tests.tiny_models import tiny_bert

Batch = dict[str, Tensor]


class TinyClassifier(nn.Module):
    """Two linear maps with dropout; one parameter is unused and one is frozen."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(5, 7)
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(7, 3)
        self.unused = nn.Parameter(torch.ones(4))
        self.frozen = nn.Parameter(torch.full((7,), 0.5), requires_grad=False)

    def forward(self, x: Tensor, labels: Tensor) -> SimpleNamespace:
        hidden = self.dropout(torch.tanh(self.first(x)) + self.frozen)
        return SimpleNamespace(loss=nn.functional.cross_entropy(self.last(hidden), labels))


def tiny_classifier(dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> TinyClassifier:
    """Build the classifier, the same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyClassifier(dropout).to(dtype)


def vector_batches(
    count: int, size: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64
) -> list[Batch]:
    """Build batches for ``tiny_classifier``."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "x": torch.randn(size, 5, generator=generator, dtype=torch.float64).to(dtype),
            "labels": torch.randint(0, 3, (size,), generator=generator),
        }
        for _ in range(count)
    ]


def token_batches(count: int, size: int = 4, seed: int = 0, length: int = 9) -> list[Batch]:
    """Build batches for ``tiny_bert``, the second half of each padded."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(count):
        mask = torch.ones(size, length, dtype=torch.long)
        mask[size // 2 :, length - 3 :] = 0
        ids = torch.randint(5, 40, (size, length), generator=generator)
        labels = torch.randint(0, 2, (size,), generator=generator)
        batches.append({"input_ids": ids * mask, "attention_mask": mask, "labels": labels})
    return batches


def halves(batch: Batch) -> list[Batch]:
    """Split a batch into two of half the size."""
    size = len(batch["labels"]) // 2
    return [{k: v[:size] for k, v in batch.items()}, {k: v[size:] for k, v in batch.items()}]


def grouped(model: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Return two param groups with different learning rates, matrices and the rest."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.dim() >= 2], "lr": lr},
        {"params": [p for p in trainable if p.dim() < 2], "lr": 0.3 * lr},
    ]


class Search:
    """A search on a small model, watched.

    Args:
        model: The model; None: ``tiny_bert`` in float64 without dropout.
        include: Weights to mix.
        lr: Inner learning rate of the first param group.
        optimizer: Class of the inner optimizer.
        settings: Further settings of the inner optimizer.
        inner: Batches of the inner loader.
        outer: Batches of the outer loader.
        scheduler: Makes the inner scheduler from the optimizer.
        outer_lr: Outer learning rate.
        init_std: Standard deviation of the initial attention parameters.
        inner_problem: Class of the inner problem.
        wide_alpha: Put alpha in float64 where the model is, for exact references.
        options: Keyword arguments of ``build_engine``.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        include: Any = None,
        lr: float = 0.01,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        settings: dict[str, Any] | None = None,
        inner: list[Batch] | None = None,
        outer: list[Batch] | None = None,
        scheduler: Callable[..., Any] | None = None,
        outer_lr: float = 0.01,
        init_std: float = 0.2,
        inner_problem: type[agwm.TaskWeightProblem] = agwm.TaskWeightProblem,
        wide_alpha: bool = True,
        **options: Any,
    ) -> None:
        model = tiny_bert(dropout=0.0, dtype=torch.float64) if model is None else model
        plain = copy.deepcopy(model)
        self.model = model
        self.mixup = agwm.inject(model, include=include, init_std=init_std, seed=0)
        if wide_alpha and next(model.parameters()).dtype == torch.float64:
            self.mixup.attention.double()
        self.loss: Loss = mixed_loss(plain.double(), self.mixup.names)
        self.inner_optimizer = optimizer(grouped(model, lr), lr=lr, **(settings or {}))
        self.outer_optimizer = torch.optim.AdamW(self.mixup.attention.parameters(), lr=outer_lr)
        self.engine = agwm.build_engine(
            self.mixup,
            token_batches(5) if inner is None else inner,
            token_batches(5, seed=1) if outer is None else outer,
            inner_optimizer=self.inner_optimizer,
            outer_optimizer=self.outer_optimizer,
            inner_scheduler=None if scheduler is None else scheduler(self.inner_optimizer),
            inner=inner_problem,
            progress=False,
            **options,
        )
        self.moments: list[Moment] = []
        self._watch()

    def run(self) -> list[Moment]:
        """Run the search and return what each outer step saw."""
        self.engine.run()
        return self.moments

    def weights(self) -> Weights:
        """Return a copy of the trainable W by name."""
        return {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}

    def alpha(self) -> Weights:
        """Return a copy of the attention parameters by name."""
        return {n: p.detach().clone() for n, p in self.mixup.attention.named_parameters()}

    def _watch(self) -> None:
        engine, calls = self.engine, {"inner": [], "outer": []}

        def watch_calls(problem: Any, kind: str) -> None:
            own = problem.training_step

            def training_step(batch: Any) -> Tensor:
                calls[kind].append((batch, drawn_state()))
                return own(batch)

            problem.training_step = training_step

        def before_inner_step(*_: Any) -> None:
            groups, states = {}, {}
            names = {id(p): n for n, p in self.model.named_parameters()}
            for group in self.inner_optimizer.param_groups:
                for p in group["params"]:
                    groups[names[id(p)]] = {k: v for k, v in group.items() if k != "params"}
                    states[names[id(p)]] = copy.deepcopy(self.inner_optimizer.state.get(p, {}))
            draws = calls["inner"][-engine.inner.gas :]
            self.last = Moment(self.weights(), {}, self.alpha(), draws, None, groups, states)

        def after_inner_step(*_: Any) -> None:
            self.last.updated = self.weights()

        def before_outer_step(*_: Any) -> None:
            self.last.outer = calls["outer"][-1]
            self.last.gradient = {n: p.grad.clone() for n, p in self.mixup.attention.named_parameters()}
            for name, weight in self.weights().items():
                assert torch.equal(weight, self.last.updated[name]), f"{name} moved in the outer step"
            self.moments.append(self.last)

        watch_calls(engine.inner, "inner")
        watch_calls(engine.outer, "outer")
        self.inner_optimizer.register_step_pre_hook(before_inner_step)
        self.inner_optimizer.register_step_post_hook(after_inner_step)
        self.outer_optimizer.register_step_pre_hook(before_outer_step)
