"""Alpha is learned alone, on a finetuned model: by its gradient, and nothing else moves."""

from __future__ import annotations

import copy
import os

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, ViTConfig, ViTForImageClassification

import agwm
from agwm.checkpoints import Checkpoints
from agwm.errors import (
    AgwmWarning,
    ConfigError,
    DataError,
    DivergenceError,
    ModelError,
    SelectionError,
    ShapeError,
)
from agwm.testing import FAMILIES, examples, pretrained
from tests.several_processes import run_together

HERE = "tests.recipe.test_learned_alpha"
COLLATE = torch.utils.data.default_collate
OUTER = examples()[16:]


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def finetuned(family="bert", scale=0.05):
    """Return the pretrained model, and one whose weights went elsewhere."""
    start, model = pretrained(family).model, pretrained(family).model
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return start, model


def config(alpha="rank1", **given):
    settings = {"epochs": 2, "batch_size": 3, **given}
    mixing = {"alpha": alpha, **settings.pop("mixing", {})}
    return agwm.AlphaConfig(mixing=agwm.MixingConfig(**mixing), **settings)


def learn(model, start, settings=None, rows=OUTER, **given):
    settings = config() if settings is None else settings
    return agwm.learn_alpha(
        model, start, rows, **{"collate": COLLATE, "config": settings, "progress": False, **given}
    )


def state_of(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def mixed_by_hand(factors, tuned, starts):
    """Return the mixed weights of a written-out formula."""
    mixed = {}
    for name, (a, b) in factors.items():
        alpha = a.reshape(-1, 1) * b.reshape(1, -1)
        mixed[name] = alpha * tuned[name] + (1 - alpha) * starts[name]
    return mixed


def test_alpha_ends_where_a_written_out_loop_ends():
    """Another way: no hook, loader or loop of agwm; weights by the formula, functional calls, float64."""
    start, model = (without_dropout(part).double() for part in finetuned())
    for part in (start, model):
        part.train()
    tuned, starts = state_of(model), state_of(start)
    seen = []

    def loss(model, batch):
        seen.append(batch["input_ids"])
        return model(**batch).loss

    settings = config(seed=5, learning_rate=0.05, weight_decay=0.1)
    probe = agwm.inject(copy.deepcopy(model), seed=5)
    factors = {
        name: [f.detach().clone().requires_grad_() for f in alpha.factors()]
        for name, alpha in zip(probe.names, probe.attention.children(), strict=True)
    }
    result = learn(model, start, settings, loss=loss)

    flat = [f for pair in factors.values() for f in pair]
    optimizer = torch.optim.AdamW(flat, lr=0.05, weight_decay=0.1)
    other = without_dropout(pretrained("bert").model).double()
    rows = {tuple(row["input_ids"].tolist()): row for row in OUTER}
    for number, ids in enumerate(seen):
        rate = 0.05 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * number / len(seen))).item())
        optimizer.param_groups[0]["lr"] = rate
        batch = COLLATE([rows[tuple(row.tolist())] for row in ids])
        weights = {**tuned, **mixed_by_hand(factors, tuned, starts)}
        torch.func.functional_call(other, weights, kwargs=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for factor in flat:
                factor.clamp_(0, 1)
    assert len(seen) == 6
    for name, expected in mixed_by_hand(factors, tuned, starts).items():
        assert torch.linalg.norm(result.initial_alpha[name] - result.alpha[name]) > 1e-2
        torch.testing.assert_close(result.alpha[name], (factors[name][0] * factors[name][1]).detach())
        torch.testing.assert_close(model.state_dict()[name], expected.detach())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_learns_alpha_and_its_mixed_weights_are_written(family):
    start, model = finetuned(family)
    tuned, starts = state_of(model), state_of(start)
    result = learn(model, start, config(epochs=3))
    assert agwm.mixup_of(model) is None and result.model is model and not model.training
    for name, tensor in model.state_dict().items():
        if name in result.alpha:
            alpha = result.alpha[name]
            assert not torch.equal(alpha, result.initial_alpha[name])
            expected = alpha * tuned[name] + (1 - alpha) * starts[name]
            torch.testing.assert_close(tensor, expected)
        elif not any(name.startswith(known.rpartition(".")[0]) for known in result.alpha):
            assert torch.equal(tensor, tuned[name])  # ties of a mixed weight have other names


def test_what_is_not_mixed_stays_and_so_do_the_pretrained_model_flags_and_gradients():
    start, model = finetuned()
    model.classifier.bias.requires_grad_(False)
    gradient = model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    before, starts = state_of(model), state_of(start)
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    result = learn(model, start)
    assert flags == {name: p.requires_grad for name, p in model.named_parameters()}
    assert model.classifier.weight.grad is gradient and bool((gradient == 1).all())
    assert all(torch.equal(tensor, starts[name]) for name, tensor in start.state_dict().items())
    same = {name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])}
    assert same == set(before) - set(result.alpha)
    assert all(p.grad is None for name, p in model.named_parameters() if name != "classifier.weight")


def test_the_loss_on_the_outer_examples_falls_and_alpha_stays_within_its_bounds():
    start, model = finetuned(scale=0.3)
    batch = COLLATE(OUTER)
    with torch.no_grad():
        before = float(model(**batch).loss)
    result = learn(model, start, config(epochs=20, learning_rate=0.1))
    with torch.no_grad():
        assert float(model(**batch).loss) < before - 0.05
    assert all(0 <= float(a.min()) and float(a.max()) <= 1 for a in result.alpha.values())
    assert min(float(a.min()) for a in result.alpha.values()) < 0.9


def test_rate_zero_leaves_alpha_as_drawn():
    start, model = finetuned()
    result = learn(model, start, config(learning_rate=0.0))
    assert all(torch.equal(result.alpha[name], first) for name, first in result.initial_alpha.items())


def test_pretrained_weights_may_be_a_mapping_or_a_model_without_head():
    start, model = finetuned()
    base = AutoModel.from_config(start.config)
    base.load_state_dict(start.base_model.state_dict())
    results = [learn(copy.deepcopy(model), given) for given in (start, start.state_dict(), base)]
    for result in results[1:]:
        assert all(torch.equal(result.alpha[name], a) for name, a in results[0].alpha.items())


def test_scores_are_recorded_after_each_epoch():
    start, model = finetuned()
    result = learn(model, start, evaluate=lambda model: {"accuracy": 0.5})
    assert [record["accuracy"] for record in result.history] == [0.5, 0.5]
    assert result.num_steps == {"alpha": 6} and list(result.seconds) == ["alpha"]


def test_a_saved_result_is_a_plain_model_whose_card_tells_how_it_was_made(tmp_path):
    start, model = finetuned()
    result = learn(model, start)
    with pytest.warns(AgwmWarning, match="no tokenizer|tokenizer"):
        result.save_pretrained(tmp_path / "model")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in loaded.state_dict().items())
    card = (tmp_path / "model" / "README.md").read_text()
    assert "6 steps on `alpha` alone" in card and "search" not in card
    assert (tmp_path / "model" / "alpha.safetensors").exists()


def loss_of_nothing(model, batch):
    return torch.tensor(1.0)


def infinite_loss(model, batch):
    return model(**batch).loss * float("inf")


def other_width(start):
    return {name: tensor[:1] for name, tensor in start.state_dict().items()}


def broken(start):
    weights = state_of(start)
    next(tensor for name, tensor in weights.items() if "query.weight" in name)[0, 0] = float("nan")
    return weights


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"settings": agwm.FinetuneConfig()}, ConfigError, "expected AlphaConfig, got FinetuneConfig"),
        (
            {"settings": config("frozen")},
            ConfigError,
            "Nothing would be learned.*got mixing.alpha 'frozen'",
        ),
        ({"rows": []}, DataError, "expected at least one in outer_dataset, got none"),
        ({"start": lambda start: "folder"}, ConfigError, "expected the pretrained model.*got a str"),
        ({"start": lambda start: {}}, ModelError, "Pretrained weights lack one to mix: expected 'bert"),
        ({"start": other_width}, ShapeError, "expected pretrained weights of"),
        ({"start": broken}, DivergenceError, "query.weight' is not finite in the pretrained weights"),
        ({"settings": config(mixing={"include": ["nothing*"]})}, SelectionError, "nothing"),
        ({"loss": loss_of_nothing}, ConfigError, "Loss gives alpha no gradient.*without a graph"),
        ({"loss": lambda model, batch: 3}, ConfigError, "Loss gives alpha no gradient.*got 3"),
        ({"loss": lambda model, batch: model(**batch).logits}, ConfigError, r"Tensor of shape \(3, 2\)"),
        ({"loss": infinite_loss}, DivergenceError, "phase 'alpha' at step 1.*Lower config.learning_rate"),
        ({"collate": None}, ConfigError, "expected collate, or a tokenizer"),
    ],
)
def test_what_cannot_be_right_is_refused_and_the_model_is_as_it_was(given, error, words):
    start, model = finetuned()
    before, flags = state_of(model), [p.requires_grad for p in model.parameters()]
    start = given.pop("start", lambda start: start)(start)
    with pytest.raises(error, match=words) as caught:
        learn(model, start, **given)
    assert "\n" not in str(caught.value)
    assert agwm.mixup_of(model) is None and not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags


def test_a_model_that_was_not_finetuned_is_refused():
    start = pretrained("bert").model
    for model in (start, pretrained("bert").model):
        with pytest.raises(ModelError, match="Model is not finetuned: expected weights other than"):
            learn(model, start)


def test_injected_models_are_refused():
    start, model = finetuned()
    agwm.inject(start)
    with pytest.raises(ModelError, match="injected already"):
        learn(model, start)
    with pytest.raises(ModelError, match="injected already"):
        learn(start, pretrained("bert").model)


def checkpointing(model, is_reentrant):
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": is_reentrant})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_gradient_checkpointing_gives_the_same_alpha():
    found = []
    for is_reentrant in (None, False, True):
        start, model = finetuned()
        if is_reentrant is not None:
            checkpointing(model, is_reentrant)
        found.append(learn(model, start).alpha)
    for alpha in found[1:]:
        assert all(torch.equal(found[0][name], one) for name, one in alpha.items())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_checkpointing_that_keeps_the_gradient_from_alpha_is_refused():
    """Transformers lets the inputs take gradient where they are tokens. Of pixels it does not."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    start = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_labels=2, **sizes)).eval()
    rows = [{"pixel_values": torch.randn(3, 8, 8), "labels": torch.tensor(i % 2)} for i in range(4)]
    include = {"include": ["*q_proj*", "classifier.weight"]}
    for is_reentrant in (False, True):
        model = copy.deepcopy(start)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1
        checkpointing(model, is_reentrant)
        if is_reentrant:
            with pytest.raises(ConfigError, match="one for all 3 mixed weights, got none for 2. Set"):
                learn(model, start, config(mixing=include), rows=rows)
        else:
            learn(model, start, config(mixing=include), rows=rows)


def test_weights_that_the_loss_does_not_reach_are_told():
    def loss(model, batch):
        return model.bert(batch["input_ids"]).last_hidden_state.square().mean()

    start, model = finetuned()
    with pytest.warns(AgwmWarning, match="Alpha of 1 of 19 weights was not learned.*'bert.pooler.dense"):
        result = learn(model, start, loss=loss)
    moved = [not torch.equal(result.alpha[name], first) for name, first in result.initial_alpha.items()]
    assert sum(moved) == 18


def test_outer_examples_of_one_class_are_told():
    start, model = finetuned()
    with pytest.warns(AgwmWarning, match="outer_dataset has 4 examples, all of class 'class 0'"):
        learn(model, start, rows=[row for row in OUTER if row["labels"] == 0])


class Stop(BaseException):
    """What kills a run in the middle of a step."""


def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(tmp_path):
    start, model = finetuned()
    whole = learn(model, start)
    calls = [0]

    def loss(model, batch):
        calls[0] += 1
        if calls[0] == 5:
            raise Stop
        return model(**batch).loss

    loss.__qualname__ = "loss"
    places = {"checkpoint_dir": tmp_path / "points", "checkpoint_step": 2}
    start, model = finetuned()
    before = state_of(model)
    with pytest.raises(Stop):
        learn(model, start, loss=loss, **places)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ConfigError, match=r"expected learning_rate 0\.2, got 0\.1"):
        learn(model, start, config(learning_rate=0.2), loss=loss, **places)
    with pytest.raises(ConfigError, match="pretrained"):
        learn(model, broken_by_a_bit(start), loss=loss, **places)
    result = learn(model, start, loss=loss, **places)
    assert calls[0] == 5 + 2  # four steps are kept
    assert all(torch.equal(result.alpha[name], alpha) for name, alpha in whole.alpha.items())
    same = whole.model.state_dict()
    assert all(torch.equal(tensor, same[name]) for name, tensor in model.state_dict().items())
    assert [r["loss"] for r in result.history] == [r["loss"] for r in whole.history]
    assert not (tmp_path / "points").exists()


def broken_by_a_bit(start):
    return {name: tensor + 1e-6 for name, tensor in start.state_dict().items()}


def work(folder: str) -> None:
    """Learn alpha as one of several processes."""
    start, model = (without_dropout(part).double() for part in finetuned())
    result = learn(model, start, config(batch_size=4, epochs=3), rows=examples()[17:])
    if torch.distributed.get_rank() == 0:
        torch.save(result.alpha, f"{folder}/alpha.pt")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
def test_two_processes_learn_the_alpha_of_one(tmp_path):
    run_together(f"{HERE}:work", 2, str(tmp_path))
    start, model = (without_dropout(part).double() for part in finetuned())
    result = learn(model, start, config(batch_size=4, epochs=3), rows=examples()[17:])
    found = torch.load(tmp_path / "alpha.pt", weights_only=True)
    for name, alpha in result.alpha.items():
        assert (found[name] - alpha).abs().max() < 1e-5  # float32 factors
        assert (alpha - result.initial_alpha[name]).abs().max() > 1e-2


def test_checkpoints_of_a_caller_have_the_stage_alpha(tmp_path):
    start, model = finetuned()
    with Checkpoints(tmp_path / "points", {"run": 1}, step=1, resume=True, tell=print) as points:
        learn(model, start, checkpoint_dir=points)
        assert any((tmp_path / "points").iterdir())
