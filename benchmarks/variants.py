"""What the benchmark measures: each variant is one call, with a model of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from stock_betty import mix_literally, stock_engine
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

import agwm
from agwm._betty import Engine, quiet_betty

__all__ = ["PLAIN", "VANILLA", "Size", "Variant", "count_passes", "make_variants"]

VANILLA, PLAIN = "vanilla step", "plain forward and backward"
NUM_BATCHES = 4
LR, OUTER_LR = 2e-5, 2e-3


@dataclass(frozen=True)
class Size:
    """Size of the model and of a batch; the feed-forward maps are four times ``hidden`` wide."""

    layers: int = 6
    hidden: int = 384
    heads: int = 12
    vocabulary: int = 30522
    batch: int = 16
    length: int = 128
    dropout: float = 0.1

    def model(self) -> nn.Module:
        """Build the BERT classifier in training mode, the same weights at every call."""
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden,
            max_position_embeddings=self.length,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
        )
        return BertForSequenceClassification(config).train()

    def batches(self, seed: int) -> list[dict[str, Tensor]]:
        """Draw batches of random tokens, none of them padding."""
        generator = torch.Generator().manual_seed(seed)
        shape = (self.batch, self.length)
        return [
            {
                "input_ids": torch.randint(self.vocabulary, shape, generator=generator),
                "attention_mask": torch.ones(shape, dtype=torch.long),
                "labels": torch.randint(2, shape[:1], generator=generator),
            }
            for _ in range(NUM_BATCHES)
        ]


@dataclass(frozen=True)
class Variant:
    """One thing to measure.

    Attributes:
        name: What the table calls it.
        reference: Name of the variant that its ratio is to.
        model: The model that it runs, for counting passes.
        step: Does it once.
    """

    name: str
    reference: str
    model: nn.Module
    step: Callable[[], Any]


def _step(model: nn.Module, batches: Iterator[dict[str, Tensor]]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)

    def step() -> None:
        model(**next(batches)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _passes(
    model: nn.Module, batches: Iterator[dict[str, Tensor]], others: nn.Module | None = None
) -> Callable[[], None]:
    parameters = [*model.parameters(), *(() if others is None else others.parameters())]

    def step() -> None:
        torch.autograd.grad(model(**next(batches)).loss, parameters)

    return step


def _iteration(engine: Engine) -> Callable[[], None]:
    engine.train()

    def step() -> None:
        engine.global_step += 1
        engine.train_step()

    return step


def make_variants(size: Size) -> list[Variant]:
    """Build everything that is measured; the first two are what the ratios are to.

    Args:
        size: Size of the model and of a batch.

    Returns:
        The variants, in the order of the table.
    """
    inner, outer = size.batches(seed=1), size.batches(seed=2)
    plain = size.model()
    variants = [
        Variant(VANILLA, VANILLA, plain, _step(plain, cycle(inner))),
        Variant(PLAIN, PLAIN, plain, _passes(plain, cycle(inner))),
    ]
    for name, settings in (
        ("agwm, forward scheme", {"scheme": "forward", "best_response": "optimizer"}),
        ("agwm, central scheme", {"scheme": "central", "best_response": "optimizer"}),
        ("agwm, first order", {"order": "first"}),
    ):
        model = size.model()
        mixup = agwm.inject(model, seed=0)
        engine = agwm.build_engine(
            mixup,
            inner,
            outer,
            torch.optim.AdamW(model.parameters(), lr=LR),
            torch.optim.AdamW(mixup.attention.parameters(), lr=OUTER_LR),
            train_iters=1,  # the steps are taken one by one, not by run()
            hypergradient=settings,
            progress=False,
        )
        variants.append(Variant(name, VANILLA, model, _iteration(engine)))
    for name, roll_back in (("stock Betty, darts", False), ("stock Betty, darts, roll-back", True)):
        model = size.model()
        with quiet_betty():
            engine = stock_engine(model, inner, outer, roll_back, LR, OUTER_LR)
        variants.append(Variant(name, VANILLA, model, _iteration(engine)))
    for formula in ("convex", "factored"):
        model = size.model()
        attention = agwm.inject(model, formula=formula, seed=0).attention
        step = _passes(model, cycle(inner), attention)
        variants.append(Variant(f"injected, {formula}, forward and backward", PLAIN, model, step))
    model = size.model()
    step = _passes(model, cycle(inner), mix_literally(model))
    variants.append(Variant("formula written out, forward and backward", PLAIN, model, step))
    return variants


def count_passes(variant: Variant) -> tuple[int, int]:
    """Do a variant once and count the forward and backward passes of its model.

    Returns:
        Number of forward passes and of backward passes.
    """
    counts = {"forward": 0, "backward": 0}

    def count_backward(_: Tensor) -> None:
        counts["backward"] += 1

    def count_forward(_: nn.Module, __: Any, output: Any) -> None:
        counts["forward"] += 1
        output.loss.register_hook(count_backward)

    handle = variant.model.register_forward_hook(count_forward)
    try:
        variant.step()
    finally:
        handle.remove()
    return counts["forward"], counts["backward"]
