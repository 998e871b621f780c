"""The explicit part asks the outer backward for v by the mixed weights alone, unless clipping ties all."""

from __future__ import annotations

import pytest
import torch

import agwm
from agwm.forward_pass import ForwardPass
from agwm.hypergradient.search_step import SearchStep
from benchmarks import oracles
from tests.search_runs import Search
from tests.tiny_models import tiny_bert

WINDOW = {"unroll_steps": 2, "train_iters": 8}
CASES = {
    "unclipped": {},
    "far from clipping": {"gradient_clipping": 1e3},
    "clipped": {"gradient_clipping": 0.05},
    "window": WINDOW,
    "clipped window": {**WINDOW, "gradient_clipping": 0.05},
    "sgd": {"best_response": "sgd", "gradient_clipping": 0.05},
    "identity": {"best_response": "identity"},
}


def run(name: str, monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[list, set[str]]:
    """Search, and return the hypergradients and the names of the weights that v was asked by."""
    options = {"train_iters": 4, **CASES[name]}
    settings = {"scheme": "explicit", "best_response": options.pop("best_response", "optimizer")}
    torch.manual_seed(1)
    model = tiny_bert(dropout=0.1, dtype=torch.float64)
    search = Search(model, hypergradient=settings, **options)
    asked: set[str] = set()
    if monkeypatch is not None:
        own, names = ForwardPass.gradients, {id(p): n for n, p in model.named_parameters()}
        factors = set(map(id, search.mixup.attention.parameters()))

        def gradients(self, loss, tensors, leaves=()):
            if factors & set(map(id, tensors)):  # of the outer loss: direct term and v
                asked.update(names[id(t)] for t in tensors if id(t) in names)
            return own(self, loss, tensors, leaves)

        monkeypatch.setattr(ForwardPass, "gradients", gradients)
    return [moment.gradient for moment in search.run()], asked


def mixed_names() -> set[str]:
    return set(agwm.inject(tiny_bert(), seed=0).names)


@pytest.mark.parametrize("name", CASES)
def test_v_is_asked_by_what_the_term_depends_on(name, monkeypatch):
    with monkeypatch.context() as patch:
        found, asked = run(name, patch)
    is_whole = name in ("clipped", "clipped window")
    assert asked >= mixed_names() and (asked == mixed_names()) is not is_whole
    monkeypatch.setattr(
        SearchStep, "_asked", lambda self: [p for p in self.meta_trainable_parameters() if p.requires_grad]
    )
    expected, _ = run(name)
    assert len(found) == len(expected) >= 4
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_clipping_needs_v_by_all_weights(monkeypatch):
    """The case that must fail: v by the mixed weights alone where gradients were clipped."""
    expected, _ = run("clipped")

    def mixed_alone(self):
        return [w for w in self.meta_trainable_parameters() if w in self._recording.trace.slopes]

    monkeypatch.setattr(SearchStep, "_asked", mixed_alone)
    found, _ = run("clipped")
    assert oracles.relative_error(found[-1], expected[-1]) > 1e-6


class Apart(agwm.TaskWeightProblem):
    """An inner loss that depends on no mixed weight."""

    def loss(self, batch):
        return self.model.classifier.bias.square().sum() + self.model.classifier.bias.sum()


@pytest.mark.parametrize("best_response", ["optimizer", "sgd", "identity"])
@pytest.mark.parametrize("clipping", [0.0, 0.05])
def test_where_no_mixed_weight_is_reached_there_is_no_explicit_part(best_response, clipping):
    search = Search(
        hypergradient={"scheme": "explicit", "best_response": best_response},
        gradient_clipping=clipping,
        inner_problem=Apart,
        train_iters=2,
    )
    with torch.no_grad():  # at W0 alpha has no effect, and these weights stay where they are
        for candidate in search.mixup.candidates.values():
            candidate.task_weights.mul_(1.1)
    for moment in search.run():
        assert search.engine.outer.term_norms["indirect"] == 0.0
        direct = oracles.direct(search.loss, moment)
        assert oracles.relative_error(moment.gradient, direct) < 1e-10
