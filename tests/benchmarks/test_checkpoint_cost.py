"""The program that measures checkpoints: the run is the same with and without, and is compared in turns."""

from __future__ import annotations

from agwm.experiments.config import load_config
from benchmarks.checkpoint_cost import DEFAULT, KINDS, WITHOUT, measure_checkpoints, render


def test_runs_take_turns_and_files_are_counted(tiny_model, own_files):
    train, test = map(str, own_files)
    stage = {"epochs": 2, "batch_size": 4}
    values = {
        "model": str(tiny_model),
        "train_size": 20,
        "device": "cpu",
        "data": {"train_file": train, "test_file": test, "text_columns": ["text"]},
        "search": {**stage, "num_resplits": 1, "evaluations": 0},
        "final": stage,
    }
    records = measure_checkpoints(load_config(None, values), 1)
    found = {record["name"]: record for record in records}
    assert list(found) == list(KINDS)
    for record in records:
        assert len(record["turns"]) == 1 and record["share"]["median"] < 1
    # two epochs of five steps of the final stage, and what the search and it end with
    assert found[WITHOUT]["files"]["median"] == 0 and found["checkpoint_step=10"]["files"]["median"] >= 3
    assert found[WITHOUT]["seconds_ratio"]["median"] == found[WITHOUT]["processor_ratio"]["median"] == 1
    shared = {"command": "x", "versions": {"agwm": "1"}, "threads": 1, "examples": 20, "repeats": 1}
    page = render({**shared, "minutes": 1.0, "records": records})
    more = found[DEFAULT]["processor_ratio"]["median"] - 1
    assert f"{more:.1%} more of the processor's time" in page and page.count("\n| ") == 5
