"""Micro-batches: every method makes the steps of whole batches, in float64, in one process and in two."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytest
import torch

import agwm
from agwm.batch_rows import micro_batches
from agwm.errors import ConfigError, DataError
from agwm.methods import METHODS
from agwm.methods.r_drop import RDrop, RDropSettings
from agwm.processes import process_number
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import examples
from agwm.training.loop import train
from tests.methods.cells import small_method
from tests.recipe.test_several_processes import loaded_model
from tests.several_processes import run_together

HERE = "tests.training.test_gradient_accumulation"
NUM_EXAMPLES = 19  # batches of 8, the last of 3: micro-batches of different size
# What they draw is drawn in other shares: noise of inputs, dropout, masks by next to equal gradients; and
# the largest singular value is estimated by one iteration a pass.
DRAWS = ("r3f", "r4f", "r_drop", "lora", "dps_dense")
# Gradients next to nothing, which the first steps of Adam magnify.
LOOSE = {"prompt_tuning": 1e-5, "prefix_tuning": 1e-5}
WITHOUT_STEPS = ("probe",)


def trained(name: str, count: int) -> dict[str, torch.Tensor]:
    job = job_of(loaded_model(), epochs=2)
    cut = 1 if name.startswith("vanilla") else count  # it would decide how long vanilla_long is
    recipe = dataclasses.replace(
        job.recipe,
        search=dataclasses.replace(job.recipe.search, gradient_accumulation=cut, num_resplits=2),
        final=dataclasses.replace(job.recipe.final, gradient_accumulation=count),
    )
    training = dataclasses.replace(job.training, gradient_accumulation=count)
    given = {"examples": job.examples[:NUM_EXAMPLES], "training": training, "recipe": recipe}
    outcome = small_method(name, 2).run(dataclasses.replace(job, **given))
    return {key: value.detach().clone() for key, value in outcome.model.state_dict().items()}


def check_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], bound: float) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=bound, atol=bound, msg=key)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in DRAWS])
def test_every_method_makes_the_steps_of_whole_batches(name):
    start = loaded_model().model.state_dict()
    whole = trained(name, 1)
    moved = any(key in whole and not torch.equal(whole[key], value) for key, value in start.items())
    assert moved or name in ("prompt_tuning", "prefix_tuning", *WITHOUT_STEPS)
    # alpha is float32, which two-level methods average over searches
    bound = LOOSE.get(name, 1e-6 if METHODS[name].learns_alpha else 1e-9)
    check_same(trained(name, 3), whole, bound)


@pytest.mark.parametrize("name", DRAWS)
def test_methods_that_draw_in_a_pass_learn(name):
    losses = {}
    for count in (1, 3):
        job = job_of(loaded_model(0.1), epochs=4)
        job.loaded.model.config.hidden_dropout_prob = 0.1
        training = dataclasses.replace(job.training, gradient_accumulation=count)
        outcome = small_method(name, 4).run(dataclasses.replace(job, training=training))
        losses[count] = [record["loss"] for record in outcome.history if "loss" in record]
    assert losses[3][-1] < losses[3][0]
    assert losses[3][0] == pytest.approx(losses[1][0], rel=0.25) and losses[3] != losses[1]


def test_micro_batches_count_by_their_examples(monkeypatch):
    """The case that must fail: micro-batches that weigh alike."""

    def alike(batch, count):
        parts = micro_batches(batch, count)
        return [(part, 1 / len(parts)) for part, _ in parts]

    monkeypatch.setattr("agwm.training.loop.micro_batches", alike)
    with pytest.raises(AssertionError):
        check_same(trained("vanilla", 3), trained("vanilla", 1), 1e-3)


@pytest.mark.parametrize("size", [1, 2])
def test_a_loss_that_is_no_mean_is_refused(size, tmp_path):
    if size == 1:
        refuse_sum(2)
    else:
        run_together(f"{HERE}:refuse_in_processes", 2)


def refuse_in_processes() -> None:
    refuse_sum(1)


def refuse_sum(count: int) -> None:
    job = job_of(loaded_model(0.1))
    job.loaded.model.config.hidden_dropout_prob = 0.1
    training = dataclasses.replace(job.training, gradient_accumulation=count)
    with pytest.raises(ConfigError, match="Loss of 'r_drop' is no mean over examples: expected whole"):
        RDrop(RDropSettings(reduction="sum")).run(dataclasses.replace(job, training=training))


def finetuned(count: int, **options: Any) -> agwm.FinetuneResult:
    stage: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3}
    config = agwm.FinetuneConfig(
        search=agwm.SearchConfig(**stage, gradient_accumulation=count, attention_learning_rate=0.05),
        final=agwm.TrainingConfig(**stage, gradient_accumulation=count),
    )
    rows = examples()[:NUM_EXAMPLES]
    collate = torch.utils.data.default_collate
    return agwm.finetune(
        loaded_model().model, rows, collate=collate, config=config, progress=False, **options
    )


def work(folder: str) -> None:
    result = finetuned(3)
    if process_number() == 0:
        torch.save(result.model.state_dict(), f"{folder}/model.pt")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
def test_two_processes_make_the_steps_of_one(tmp_path):
    run_together(f"{HERE}:work", 2, str(tmp_path))
    found = torch.load(tmp_path / "model.pt", weights_only=True)
    check_same(found, dict(finetuned(1).model.state_dict()), 1e-6)


def test_alpha_after_the_fact():
    rows = examples()
    found = []
    for count in (1, 3):
        start, model = loaded_model().model, finetuned(1).model
        config = agwm.AlphaConfig(epochs=3, batch_size=8, gradient_accumulation=count)
        collate = torch.utils.data.default_collate
        learned = agwm.learn_alpha(model, start, rows, collate=collate, config=config, progress=False)
        found.append(dict(learned.model.state_dict()))
    check_same(found[1], found[0], 1e-6)


def test_loss_of_the_record_is_that_of_whole_batches():
    losses = []
    for count in (1, 3):
        config = agwm.TrainingConfig(
            epochs=2, batch_size=8, learning_rate=5e-3, gradient_accumulation=count
        )
        history = train(
            loaded_model().model,
            examples()[:NUM_EXAMPLES],
            collate=torch.utils.data.default_collate,
            config=config,
            seed=1,
            progress=False,
        )
        losses.append([record["loss"] for record in history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-9) and losses[0][0] != losses[0][1]


def test_batch_that_cannot_be_cut_is_one_line():
    def collate(rows):
        return {**torch.utils.data.default_collate(rows), "return_dict": True}

    config = agwm.TrainingConfig(batch_size=8, gradient_accumulation=2)
    with pytest.raises(DataError, match=r"got bool\. Set gradient_accumulation to 1\."):
        train(loaded_model().model, examples(), collate=collate, config=config, seed=1, progress=False)
