"""A run of the recipe that is stopped anywhere goes on there, and ends with the bits of a whole one."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch

import agwm
from agwm import checkpoints
from agwm.checkpoints import Checkpoints
from agwm.errors import ConfigError, DataError
from agwm.files import load_tree, save_tree
from agwm.testing import examples, pretrained

COLLATE = torch.utils.data.default_collate


class Stop(BaseException):
    """What kills a run in the middle of a step."""


def config(**search):
    return agwm.FinetuneConfig(
        search=agwm.SearchConfig(epochs=2, num_resplits=2, batch_size=4, learning_rate=1e-3, **search),
        final=agwm.TrainingConfig(epochs=2, batch_size=8, learning_rate=1e-3),
    )


def problem(stop_at=None, act=None):
    """Return an inner problem whose loss acts, or raises, when it is called for the ``stop_at``-th time."""
    calls = [0]

    class Counting(agwm.TaskWeightProblem):
        def loss(self, batch):
            calls[0] += 1
            if calls[0] == stop_at:
                if act is None:
                    raise Stop
                act()
            return super().loss(batch)

    Counting.__qualname__ = Counting.__name__ = "Counting"
    return Counting, calls


def run(folder=None, stop_at=None, act=None, settings=None, **options):
    inner, calls = problem(stop_at, act)
    model = pretrained("bert").model
    scores = []

    def evaluate(model):
        scores.append(len(scores))
        return {"norm": float(next(model.parameters()).norm())}

    result = agwm.finetune(
        model,
        examples(),
        collate=COLLATE,
        config=settings or config(),
        progress=False,
        inner=inner,
        evaluate=evaluate,
        checkpoint_dir=folder,
        **options,
    )
    return result, calls[0]


def same(first, second):
    pairs = zip(first.model.state_dict().items(), second.model.state_dict().items(), strict=True)
    assert all(name == other and torch.equal(a, b) for (name, a), (other, b) in pairs)
    alphas = zip(first.attention.parameters(), second.attention.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in alphas)
    assert first.history == second.history and first.num_steps == second.num_steps


@pytest.fixture(scope="module")
def whole():
    return run()


SLOW = [pytest.param(part, marks=pytest.mark.slow) for part in (0.02, 0.2, 0.55, 0.9)]


@pytest.mark.parametrize("part", [0.4, 0.75, 0.99, *SLOW])
def test_a_run_that_was_cut_off_goes_on(tmp_path, whole, part):
    result, num_calls = whole
    stop_at = max(1, round(part * num_calls))
    with pytest.raises(Stop):
        run(tmp_path / "run", stop_at, checkpoint_step=1)
    again, left = run(tmp_path / "run", checkpoint_step=1)
    same(again, result)
    # at most a step is made again: an inner pass and those of the difference
    assert left <= num_calls - stop_at + 4
    assert not (tmp_path / "run").exists()  # the run is done


def test_without_a_number_of_steps_nothing_is_written_in_a_short_run(tmp_path, whole):
    with pytest.raises(Stop):
        run(tmp_path / "run", whole[1])
    assert not list((tmp_path / "run").glob("*.safetensors"))
    again, calls = run(tmp_path / "run")
    same(again, whole[0])
    assert calls == whole[1]


def test_a_run_knows_what_a_checkpoint_of_the_run_before_it_cost(tmp_path, monkeypatch):
    """Many short runs, as of a cross-validation, would each write one too many."""
    monkeypatch.setattr(Checkpoints, "cost", 0.0)
    monkeypatch.setattr(checkpoints, "_FIRST", 0.0)
    real, steps = checkpoints.save_tree, []

    def slow(path, tree):
        time.sleep(1.0)
        steps.append(path)
        real(path, tree)

    monkeypatch.setattr(checkpoints, "save_tree", slow)
    run(tmp_path / "first")
    assert len(steps) == 1 and Checkpoints.cost >= 1.0  # the next is due after thirty seconds
    run(tmp_path / "second")
    assert len(steps) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_writes_a_checkpoint_first(tmp_path, whole, number, capsys):
    def interrupted(*_):
        raise Stop

    before = signal.signal(number, interrupted)
    try:
        with pytest.raises(Stop):
            run(tmp_path / "run", whole[1] // 2, act=lambda: os.kill(os.getpid(), number))
        assert signal.getsignal(number) is interrupted  # it is the user's again
    finally:
        signal.signal(number, before)
    assert len(list((tmp_path / "run").glob("*.safetensors"))) == 1
    assert "Stopped after step" in capsys.readouterr().err
    again, calls = run(tmp_path / "run")
    same(again, whole[0])
    assert calls < whole[1] and "Going on from step" in capsys.readouterr().err


def test_other_settings_examples_and_weights_are_refused(tmp_path, whole):
    with pytest.raises(Stop):
        run(tmp_path / "run", whole[1] // 2, checkpoint_step=1)
    with pytest.raises(
        ConfigError, match=r"another run: expected search.attention_learning_rate 0.1, got 0.002"
    ):
        run(tmp_path / "run", settings=config(attention_learning_rate=0.1))
    model = pretrained("bert").model
    with pytest.raises(ConfigError, match="another run: expected train_dataset"):
        inner, _ = problem()
        agwm.finetune(
            model,
            examples()[:-2],
            collate=COLLATE,
            config=config(),
            inner=inner,
            checkpoint_dir=tmp_path / "run",
        )
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(ConfigError, match="another run: expected model"):
        agwm.finetune(
            model,
            examples(),
            collate=COLLATE,
            config=config(),
            inner=inner,
            checkpoint_dir=tmp_path / "run",
        )
    again, calls = run(tmp_path / "run", resume=False)
    same(again, whole[0])
    assert calls == whole[1]


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(tmp_path, whole, capsys):
    with pytest.raises(Stop):
        run(tmp_path / "run", whole[1] // 3, checkpoint_step=1)
    paths = sorted((tmp_path / "run").glob("*.safetensors"))
    assert len(paths) == 2
    content = bytearray(paths[-1].read_bytes())
    content[len(content) // 2] ^= 1
    paths[-1].write_bytes(content)
    again, calls = run(tmp_path / "run", checkpoint_step=1)
    same(again, whole[0])
    error = capsys.readouterr().err
    assert "one that was damaged" in error and "The checkpoint before it is used." in error
    assert calls < whole[1]


def stopped_with(folder, change, calls):
    """Stop a run, and write its newest checkpoint anew with another tree, whose checksum is right."""
    with pytest.raises(Stop):
        run(folder, calls // 3, checkpoint_step=1)
    path = sorted(folder.glob("*.safetensors"))[-1]
    save_tree(path, change(load_tree(path)))


@pytest.mark.parametrize("change", [lambda tree: None, lambda tree: "x", lambda tree: {"facts": {}}])
def test_a_whole_file_of_another_kind_is_told_and_the_one_before_is_used(tmp_path, whole, capsys, change):
    stopped_with(tmp_path / "run", change, whole[1])
    again, calls = run(tmp_path / "run", checkpoint_step=1)
    same(again, whole[0])
    assert "expected a checkpoint of a run, got a file of another kind" in capsys.readouterr().err
    assert calls < whole[1]


@pytest.mark.parametrize("state", [None, {}, [1], "x"])
def test_another_state_of_the_same_run_is_one_line(tmp_path, whole, state):
    stopped_with(tmp_path / "run", lambda tree: {**tree, "state": state}, whole[1])
    with pytest.raises(DataError, match="Cannot go on from .*: expected the state of this training, got"):
        run(tmp_path / "run", checkpoint_step=1)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    from agwm.checkpoints import Checkpoints

    with Checkpoints(tmp_path / "run", {}), pytest.raises(ConfigError, match="are in use"):
        run(tmp_path / "run")


def test_examples_without_bytes_of_their_own_are_refused(tmp_path):
    rows = [dict(row, other=object()) for row in examples()]
    with pytest.raises(DataError, match="Examples have no fingerprint"):
        agwm.finetune(pretrained("bert").model, rows, collate=COLLATE, checkpoint_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
