"""How good the default epsilon is for weights that say little of their scale.

``python -m benchmarks.epsilon`` prints the table for regressions, for biases and for the B of LoRA, the
inner loss with a weight for each example, which are what is learned above. The same of mixing a BERT is
the fidelity of the main benchmark, such as
``python -m benchmarks --parts fidelity --layers 3 --hidden 96 --heads 12 --length 128``.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from agwm.hypergradient.best_response import response_vector
from agwm.hypergradient.finite_difference import (
    Scheme,
    default_epsilon,
    global_norm,
    mixed_derivative,
    relative_epsilon,
)
from agwm.hypergradient.inner_step import inner_step
from benchmarks.models import PRECISIONS, Machine, Size

__all__ = ["PROGRAMS", "errors", "main"]

SCHEMES: tuple[Scheme, ...] = ("central", "forward")
STEPS = (2, 4, 6)
SMALL = Size(layers=3, hidden=96, heads=12, length=32)


class _Linear(nn.Module):
    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        labels = labels.to(x.dtype)
        return nn.functional.binary_cross_entropy_with_logits(x @ self.weights, labels, reduction="none")


class _Classifier(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, labels: Tensor, **batch: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.model(**batch).logits, labels, reduction="none")


def _regression(norm: float, features: int = 20) -> tuple[nn.Module, Any, Any]:
    generator = torch.Generator().manual_seed(0)
    truth, start = (torch.randn(features, generator=generator) for _ in range(2))
    sets = []
    for count in (200, 100):
        x = torch.randn(count, features, generator=generator)
        sets.append({"x": x, "labels": x @ truth > 0})
    return _Linear(norm * start / start.norm()), *sets


def _bert(kind: str) -> tuple[nn.Module, Any, Any]:
    model = SMALL.model(Machine(), "eager").eval()
    if kind == "lora":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_B" in name if kind == "lora" else name.endswith("bias"))
    return _Classifier(model.eval()), SMALL.examples(16, 1), SMALL.examples(16, 2)


PROGRAMS: dict[str, tuple[Callable[[], tuple[nn.Module, Any, Any]], Any]] = {
    "regression of 20 weights from zero": (lambda: _regression(0.0), "sgd"),
    "the same from norm 1": (lambda: _regression(1.0), "sgd"),
    "the same from norm 100": (lambda: _regression(100.0), "sgd"),
    "the same from zero, AdamW": (lambda: _regression(0.0), "adam"),
    "regression of 2000 weights from zero": (lambda: _regression(0.0, 2000), "sgd"),
    "biases of BERT 3 x 96 from zero": (lambda: _bert("bias"), "adam"),
    "B of LoRA on BERT 3 x 96": (lambda: _bert("lora"), "adam"),
}


def _called(model: nn.Module, weights: dict[str, Tensor], **batch: Tensor) -> Tensor:
    return functional_call(model, weights, (), batch)


def _before(scheme: Scheme, dtype: torch.dtype, weights: list[Tensor], direction: list[Tensor]) -> float:
    """Return a fraction of the norm of W alone, for comparison."""
    return relative_epsilon(scheme, dtype) * float(global_norm(weights))


RULES = {"norm of W alone": _before, "default": default_epsilon}


def errors(name: str, machine: Machine) -> dict[tuple[str, Scheme], float]:
    """Return the worst relative error of the mixed derivative along u over steps 2, 4 and 6.

    Args:
        name: Of ``PROGRAMS``.
        machine: Gives the precision.

    Returns:
        The error by the rule for epsilon and the scheme.
    """
    build, kind = PROGRAMS[name]
    torch.manual_seed(0)
    model, inner, outer = build()
    wide = copy.deepcopy(model).double()
    double = {k: v.double() if v.is_floating_point() else v for k, v in inner.items()}
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    weights = list(learned.values())
    make: Any = torch.optim.SGD if kind == "sgd" else torch.optim.AdamW
    optimizer = make(weights, lr=0.1 if kind == "sgd" else 1e-3)
    rates = torch.randn(len(inner["labels"]), generator=torch.Generator().manual_seed(1)).requires_grad_()

    def loss(call: Callable[..., Tensor], batch: Any, shares: Tensor | None) -> Tensor:
        losses = call(**batch)
        return losses.mean() if shares is None else (losses * torch.sigmoid(shares)).mean()

    def gradient() -> list[Tensor]:
        with torch.enable_grad(), machine.autocast():
            value = loss(model, inner, rates)
        return list(torch.autograd.grad(value, [rates]))

    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    worst: dict[tuple[str, Scheme], float] = {}
    for number in range(1, max(STEPS) + 1):
        before = [w.detach().clone() for w in weights]
        optimizer.zero_grad()
        with machine.autocast():
            value = loss(model, inner, rates.detach())
        value.backward()
        step = inner_step(optimizer, weights, before, 0.0, 0.0)
        optimizer.step()
        step.take_states(optimizer, weights)
        if number not in STEPS:
            continue
        with machine.autocast():
            value = loss(model, outer, None)
        direction = response_vector("optimizer", list(torch.autograd.grad(value, weights)), step)
        at = {n: b.double().requires_grad_() for n, b in zip(learned, before, strict=True)}
        shares = rates.detach().double().requires_grad_()
        value = loss(partial(_called, wide, at), double, shares)
        slopes = torch.autograd.grad(value, list(at.values()), create_graph=True)
        along = sum((s * u.double()).sum() for s, u in zip(slopes, direction, strict=True))
        (exact,) = torch.autograd.grad(along, [shares])
        for rule, choose in RULES.items():
            for scheme in SCHEMES:
                size = choose(scheme, dtype, weights, direction) / float(global_norm(direction))
                base = [b.clone() for b in before]
                (found,) = mixed_derivative(gradient, weights, direction, size, scheme, base)
                error = float((found.double() - exact).norm() / exact.norm())
                worst[rule, scheme] = max(error, worst.get((rule, scheme), 0.0))
    return worst


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epsilon", description=__doc__)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: fp32")
    machine = Machine("cpu", parser.parse_args().precision)
    columns = [(rule, scheme) for scheme in SCHEMES for rule in RULES]
    print("| weights |", " | ".join(f"{scheme}, {rule}" for rule, scheme in columns), "|")
    print("| --- |", " | ".join("---" for _ in columns), "|")
    for name in PROGRAMS:
        found = errors(name, machine)
        print(f"| {name} |", " | ".join(f"{found[column]:.1e}" for column in columns), "|")


if __name__ == "__main__":
    main()
