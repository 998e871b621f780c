"""R3F and R4F follow their formulas, and their traps are closed."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from agwm.errors import ConfigError
from agwm.methods.divergence import squared_distance, symmetric_kl
from agwm.methods.r3f import R3F, R4F, R3FSettings, draw_noise, noisy_embeddings, output_layer
from agwm.models.families import word_embeddings
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import batch, pretrained
from agwm.training.config import TrainingConfig
from tests.methods.exact import double, still


def by_hand(model, inputs, weight, scale, seed, regression=False):
    """The formula on BERT, with embeddings handed in."""
    table = model.get_input_embeddings().weight
    clean = model(**inputs)
    torch.manual_seed(seed)
    embedded = table[inputs["input_ids"]].detach()
    noise = torch.empty_like(embedded).uniform_(-scale, scale)
    noisy = model(inputs_embeds=embedded + noise, attention_mask=inputs["attention_mask"]).logits
    if regression:
        return clean.loss + weight * (clean.logits - noisy).square().mean()
    p, q = clean.logits.softmax(1), noisy.softmax(1)
    kl = (p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)
    return clean.loss + weight * kl.sum() / len(kl)


@pytest.mark.parametrize("num_labels", [2, 1])
def test_two_steps_by_hand(num_labels):
    loaded = still(num_labels=num_labels)
    ours, theirs = loaded.model, copy.deepcopy(loaded.model)
    method = R3F(R3FSettings(weight=3.0, noise_scale=0.3))
    method.initialize(loaded, 0)
    config = TrainingConfig(learning_rate=1e-2, weight_decay=0.0)
    first = method.make_optimizer(ours, config)
    second = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0)
    inputs = double(num_labels)
    for step in range(2):
        torch.manual_seed(step)
        loss = method.loss(ours, inputs)
        expected = by_hand(theirs, inputs, 3.0, 0.3, step, regression=num_labels == 1)
        assert (expected - theirs(**inputs).loss).item() > 1e-3  # the term that is added counts
        torch.testing.assert_close(loss, expected)
        for optimizer, value in ((first, loss), (second, expected)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if name.endswith("key.bias"):
            # softmax does not see it: its gradient is rounding, which Adam blows up
            continue
        torch.testing.assert_close(mine, other, msg=name)


def test_the_noisy_pass_gives_the_table_no_gradient():
    loaded = still()
    table = word_embeddings(loaded.model)[0]
    inputs = double()
    inputs.pop("labels")
    with noisy_embeddings(table, "uniform", 0.1):
        loaded.model(**inputs).logits.square().sum().backward()
    assert table.weight.grad is None
    assert loaded.model.classifier.weight.grad.abs().sum() > 0
    assert not table._forward_hooks


def test_noise_of_both_kinds():
    like = torch.zeros(2000, 10)
    torch.manual_seed(0)
    uniform, normal = draw_noise(like, "uniform", 0.5), draw_noise(like, "normal", 0.5)
    assert uniform.abs().max() <= 0.5 and abs(float(uniform.std()) - 0.5 / 3**0.5) < 0.01
    assert normal.abs().max() > 1 and abs(float(normal.std()) - 0.5) < 0.01


def test_of_bart_only_the_encoder_is_noisy_and_by_the_scaled_noise():
    model = still("bart").model
    encoder, decoder = word_embeddings(model)
    encoder.embed_scale = 4.0
    tokens = batch()["input_ids"]
    with noisy_embeddings(encoder, "uniform", 0.1):
        change = encoder(tokens) - 4.0 * torch.nn.functional.embedding(tokens, encoder.weight)
        assert 0.1 < change.abs().max() <= 0.4
        assert torch.equal(decoder(tokens), decoder(tokens))


def test_small_noise_survives_half_precision_autocast():
    loaded = pretrained("bert")
    loaded.model.eval()  # no dropout: what differs is the noise
    method, inputs = R3F(R3FSettings(weight=1e9)), batch()

    def loss(half):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=half), torch.no_grad():
            return method.loss(loaded.model, inputs)

    assert float(loss(True)) == float(loss(False))
    assert (loss(False) - loaded.model(**inputs).loss).item() > 0


def test_the_official_regression_is_vanilla():
    loaded = still(num_labels=1)
    inputs = double(1)
    method = R3F(R3FSettings(noise_scale=0.3, regression="none"))
    assert method.step_passes(is_regression=True) == 1 and method.step_passes(is_regression=False) == 2
    assert torch.equal(method.loss(loaded.model, inputs), loaded.model(**inputs).loss)


def test_divergences():
    torch.manual_seed(0)
    first, second = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    p, q = torch.distributions.Categorical(logits=first), torch.distributions.Categorical(logits=second)
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(symmetric_kl(first, second), (kl(p, q) + kl(q, p)).mean())
    torch.testing.assert_close(symmetric_kl(first, second, "sum"), 5 * symmetric_kl(first, second))
    assert symmetric_kl(first.half(), second.half()).dtype == torch.float32
    torch.testing.assert_close(squared_distance(first, second), F.mse_loss(first, second))


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("bert", "classifier"),
        ("roberta", "classifier.out_proj"),
        ("deberta", "classifier"),
        ("xlnet", "logits_proj"),
        ("bart", "classification_head.out_proj"),
        ("llama", "score"),
    ],
)
def test_r4f_holds_the_spectral_norm_of_the_last_map_alone(family, name):
    loaded = pretrained(family)
    plain = {key for key, _ in loaded.model.named_parameters()}
    method = R4F()
    assert output_layer(loaded.model) is loaded.model.get_submodule(name)
    model = method.reparametrize(loaded, FinetuneConfig(), 3)
    moved = {key for key, _ in model.named_parameters()} ^ plain
    assert moved == {f"{name}.weight", f"{name}.parametrizations.weight.original"}
    weight = model.get_submodule(name).weight
    assert float(torch.linalg.matrix_norm(weight.detach().double(), 2)) == pytest.approx(1.0, abs=1e-3)
    assert {key for key, _ in method.finish(model).named_parameters()} == plain


def test_r4f_takes_one_power_iteration_a_pass():
    loaded = still()
    method = R4F()
    model = method.reparametrize(loaded, FinetuneConfig(), 3).double()
    spectral = model.classifier.parametrizations.weight
    with torch.no_grad():  # a weight whose singular vectors are not found yet
        spectral.original.copy_(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    weight = spectral.original.detach()
    left, right = spectral[0]._u.clone(), spectral[0]._v.clone()
    largest = torch.linalg.matrix_norm(weight, 2)
    inputs, seen = double(), []
    hook = model.classifier.register_forward_hook(
        lambda module, args, output: seen.append(output.detach() - args[0].detach() @ weight.T / norm)
    )
    for _ in range(3):
        left = F.normalize(weight @ right, dim=0)
        right = F.normalize(weight.T @ left, dim=0)
        norm = left @ weight @ right
        model(**inputs)
        torch.testing.assert_close(spectral[0]._u, left)
        torch.testing.assert_close(spectral[0]._v, right)
        assert abs(norm / largest - 1) > 1e-6, "found already: more iterations would not be seen"
    bias = model.classifier.bias.detach()
    torch.testing.assert_close(torch.stack(seen), bias.expand(3, 8, 2))
    hook.remove()
    method.loss(model, inputs)  # two passes
    for _ in range(2):
        left = F.normalize(weight @ right, dim=0)
        right = F.normalize(weight.T @ left, dim=0)
    torch.testing.assert_close(spectral[0]._v, right)


def test_r4f_leaves_what_was_scored():
    job = job_of(pretrained("bert"), epochs=3)
    seen = []
    job = replace(job, evaluate=lambda model: seen.append(model(**batch()).logits) or {})
    outcome = R4F().run(job)
    torch.testing.assert_close(outcome.model(**batch()).logits, seen[-1])
    norm = torch.linalg.matrix_norm(outcome.model.classifier.weight.detach(), 2)
    assert float(norm) == pytest.approx(1.0, abs=0.05)
    assert outcome.passes == 2 * 9


@pytest.mark.parametrize("wrong", [{"noise": "cauchy"}, {"noise_scale": -1.0}, {"regression": "kl"}])
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError):
        R3FSettings(**wrong)
