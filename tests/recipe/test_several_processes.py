"""Finetuning in several processes makes the steps of one process on whole batches."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytest
import torch

import agwm
from agwm.command_line.main import main
from agwm.errors import ProcessError
from agwm.methods import METHODS
from agwm.processes import (
    average_,
    check_agreement,
    check_joined,
    num_processes,
    part_ways,
    process_number,
)
from agwm.rng import seed_everything
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import examples, pretrained
from agwm.training.parts import part_of
from tests.methods.cells import small_method
from tests.several_processes import run_together

HERE = "tests.recipe.test_several_processes"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
QUICK = ("vanilla", "child_d", "child_f", "mixout", "weight_average", "frozen", "agwm")
# What they draw at random is drawn in other shares: dropout, partners, masks that a step redraws.
DRAWS = {"lora", "setfit", "dps_dense", "r_drop"}
# Gradients next to nothing, which the first steps of Adam magnify.
LOOSE = {"r3f": 1e-5, "r4f": 1e-5, "prompt_tuning": 1e-5, "prefix_tuning": 1e-5}
NUM_EXAMPLES = 17  # batches of 8: of the last one a process has no example


def loaded_model(dropout: float = 0.0) -> Any:
    loaded = pretrained("bert")
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    loaded.model.double()
    return loaded


def trained(name: str) -> dict[str, torch.Tensor]:
    loaded = loaded_model(0.1 if name == "r_drop" else 0.0)
    if name == "r_drop":
        loaded.model.config.hidden_dropout_prob = 0.1
    job = job_of(loaded, epochs=2)
    outcome = small_method(name).run(dataclasses.replace(job, examples=job.examples[:NUM_EXAMPLES]))
    return {key: value.detach().clone() for key, value in outcome.model.state_dict().items()}


def work(folder: str, names: str) -> None:
    """Run methods as one of two processes; then what processes share and what they do not."""
    number = process_number()
    for name in names.split(","):
        torch.save(trained(name), f"{folder}/{name}.{number}.pt")
    seed_everything(3)
    part_ways(3)
    draws = [torch.zeros(5) for _ in range(num_processes())]
    torch.distributed.all_gather(draws, torch.rand(5))
    assert not torch.equal(draws[0], draws[1])
    with pytest.raises(ProcessError, match="'w' differs between processes at the end: expected the same"):
        check_agreement({"same": torch.ones(2), "w": torch.full((2,), float(number))}, " at the end")
    result = finetuned()
    result.save_pretrained(f"{folder}/model.{number}")
    if number == 1:
        torch.distributed.destroy_process_group()
        os._exit(0)
    with pytest.raises(ProcessError, match="Process 1 is lost: expected all 2 to exchange gradients"):
        for _ in range(3):
            average_([torch.ones(2)])
    torch.save({"loss": result.history[-1]["loss"]}, f"{folder}/history.pt")


def finetuned() -> Any:
    config = agwm.FinetuneConfig(
        search=agwm.SearchConfig(epochs=1, num_resplits=2, batch_size=8),
        final=agwm.TrainingConfig(epochs=1, batch_size=8),
    )
    rows = examples()[:NUM_EXAMPLES]
    model = loaded_model().model
    if process_number():  # the first one's weights are everybody's
        torch.nn.init.normal_(model.classifier.weight)
    collate = torch.utils.data.default_collate
    return agwm.finetune(model, rows, collate=collate, config=config, progress=False)


def compare(names: list[str], tmp_path: Any) -> None:
    run_together(f"{HERE}:work", 2, str(tmp_path), ",".join(names))
    for name in names:
        first, second = (torch.load(tmp_path / f"{name}.{n}.pt", weights_only=True) for n in (0, 1))
        one = trained(name)
        assert all(torch.equal(first[key], second[key]) for key in first), name
        if name not in DRAWS:
            limit = LOOSE.get(name, 1e-7)
            assert max(float((first[key] - one[key]).abs().max()) for key in one) < limit, name
        start = loaded_model().model.state_dict()
        if set(start) == set(first):
            assert any(not torch.equal(start[key], first[key]) for key in start), name


@needs_fork
def test_two_processes_finetune_as_one_does(tmp_path):
    compare(list(QUICK), tmp_path)
    one = finetuned()
    assert torch.load(tmp_path / "history.pt")["loss"] == pytest.approx(one.history[-1]["loss"], rel=1e-5)
    assert (tmp_path / "model.0" / "config.json").is_file()
    assert not (tmp_path / "model.1").exists()
    assert not (tmp_path / "checkpoints").exists()


@needs_fork
@pytest.mark.slow
def test_every_method_is_the_same_in_both_processes(tmp_path):
    compare([name for name in METHODS if name not in QUICK], tmp_path)


def test_parts_hold_every_example_once_and_shares_add_up():
    for count in (1, 2, 7, 8):
        batch = list(range(10, 10 + count))
        parts = [part_of(batch, number, 3) for number in range(3)]
        assert sum(part.share for part in parts) == pytest.approx(3)
        assert sorted(n for part in parts if part.share for n in part) == batch
        assert all(part for part in parts)
        assert all(part.share == pytest.approx(3 * len(part) / count) for part in parts if part.share)


def test_processes_that_are_not_joined_are_refused(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ProcessError, match="expected torch.distributed to be initialized in all 2 of them"):
        agwm.finetune(loaded_model().model, examples())
    check_joined({"WORLD_SIZE": "2"})  # a variable that a shell happens to have
    check_joined({"RANK": "0", "WORLD_SIZE": "1"})


def test_commands_are_one_process(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["compare"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: A command is one process: expected a start without torchrun")
