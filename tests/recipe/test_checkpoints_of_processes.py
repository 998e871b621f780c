"""Checkpoints of a run in several processes: it goes on from the newest that all of them have."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import agwm
from agwm.checkpoints import Checkpoints
from agwm.errors import ConfigError
from agwm.processes import process_number
from agwm.resumable import Resumable
from agwm.search.engine import MixupEngine
from agwm.testing.tiny_models import examples, pretrained
from agwm.training.loop import TrainingState
from tests.several_processes import run_together

HERE = "tests.recipe.test_checkpoints_of_processes"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
NUM_EXAMPLES = 17


def finetuned(folder: Any, **settings: Any) -> dict[str, torch.Tensor]:
    """Finetune with dropout: each process has random states of its own."""
    config = agwm.FinetuneConfig(
        search=agwm.SearchConfig(epochs=1, num_resplits=2, batch_size=8),
        final=agwm.TrainingConfig(epochs=2, batch_size=8),
    )
    result = agwm.finetune(
        pretrained("bert").model,
        examples()[:NUM_EXAMPLES],
        collate=torch.utils.data.default_collate,
        config=config,
        progress=False,
        checkpoint_dir=folder,
        checkpoint_step=1,
        **settings,
    )
    return dict(result.model.state_dict())


def run(folder: str, name: str) -> None:
    """Finetune, and keep what came out."""
    torch.save(finetuned(f"{folder}/{name}"), f"{folder}/{name}.{process_number()}.pt")


def stopping(folder: str, name: str, phase: str, step: str, how: str) -> None:
    """Finetune, and end in the middle: the second process by a signal, or both without another word."""
    own = {kind: kind.to_tree for kind in (MixupEngine, TrainingState)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def noted(state: Resumable) -> Any:
        is_there = isinstance(state, MixupEngine) == phase.startswith("search")
        tree = own[type(state)](state)
        if is_there and state.step == int(step) and process_number() == 1:
            if how == "signal":
                os.kill(os.getpid(), signal.SIGTERM)  # noted, and passed on after the next step
            else:
                os._exit(1)  # before its own checkpoint is written; the other one writes one
        return tree

    for kind in own:
        kind.to_tree = noted
    run(folder, name)


def refused(folder: str) -> None:
    """What was written by two processes, or by one, is no run of another number."""
    for place in (f"{folder}/killed", f"{folder}/alone"):
        with pytest.raises(ConfigError, match="are of another run: expected 2 processes, got [13]"):
            finetuned(place)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[dict[str, torch.Tensor]]:
    """What two processes make that nobody stops."""
    folder = tmp_path_factory.mktemp("whole")
    run_together(f"{HERE}:run", 2, str(folder), "whole")
    assert not (folder / "whole").exists()  # the run is done
    return [torch.load(folder / f"whole.{number}.pt") for number in range(2)]


@pytest.mark.parametrize(
    ("phase", "step", "how"),
    [("final", "3", "exit"), pytest.param("search", "2", "signal", marks=pytest.mark.slow)],
)
def test_several_processes_go_on_where_they_were_stopped(tmp_path, whole, phase, step, how):
    assert all(torch.equal(whole[0][name], whole[1][name]) for name in whole[0])
    with pytest.raises(AssertionError):
        run_together(f"{HERE}:stopping", 2, str(tmp_path), "run", phase, step, how)
    parts = sorted((tmp_path / "run").iterdir())
    assert [part.name for part in parts] == ["process-1-of-2", "process-2-of-2"]
    first, second = ({path.name for path in part.glob("*.safetensors")} for part in parts)
    assert first & second and (how == "signal") == (first == second)
    run_together(f"{HERE}:run", 2, str(tmp_path), "run")
    for number in range(2):
        again = torch.load(tmp_path / f"run.{number}.pt")
        assert all(torch.equal(again[key], whole[number][key]) for key in again)
    assert not (tmp_path / "run").exists()


def test_another_number_of_processes_is_another_run(tmp_path):
    for folder in ("killed/process-1-of-3", "alone"):
        Path(tmp_path, folder).mkdir(parents=True)
        Path(tmp_path, folder, "01-00000001.safetensors").write_bytes(b"")
    run_together(f"{HERE}:refused", 2, str(tmp_path))
    with pytest.raises(ConfigError, match="are of another run: expected 1 processes, got 3. Pass another"):
        finetuned(tmp_path / "killed")
    finetuned(tmp_path / "killed", resume=False)
    assert not list((tmp_path / "killed").rglob("*.safetensors"))


def test_one_process_exchanges_nothing(tmp_path):
    with Checkpoints(tmp_path / "own", {}) as checkpoints:
        assert checkpoints.share(True) and not checkpoints.share(False)
