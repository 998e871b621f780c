"""load_task: the hub that cannot be reached, and the embedded tasks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agwm.data import EMBEDDED_TASKS, Task, load_task
from agwm.data.tasks import TASKS
from agwm.errors import DataError

# Libraries read these at their import: one child for each, of a process that has imported the others.
SETTINGS = [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}]
PROGRAM = f"""
import os, sys
import agwm.data.tasks
for settings in {SETTINGS}:
    if os.fork() == 0:
        os.environ.update(settings)
        from agwm.data import load_task
        from agwm.errors import DataError
        try:
            load_task("rte")
        except DataError as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
assert not {{"datasets", "huggingface_hub"}} & set(sys.modules)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
def test_hub_out_of_reach_is_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(tmp_path)}
    environment.pop("HF_DATASETS_CACHE", None)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert time.monotonic() - start < 60, "the hub is asked once, without minutes of retries"
    lines = done.stdout.strip().splitlines()
    assert len(lines) == len(SETTINGS)
    for line in lines:
        assert line.startswith("Cannot load nyu-mll/glue (rte) from the Hugging Face hub: ")
        assert "--data-dir" in line and "local model" in line


@pytest.mark.network
@pytest.mark.parametrize("task", ["rte", "mnli"])
def test_hub(task: str) -> None:
    data = load_task(task)
    assert data.train.column_names == [*data.task.text_columns, "label"]
    assert len(data.test) == {"rte": 277, "mnli": 9815}[task]


@pytest.mark.parametrize("name", EMBEDDED_TASKS)
def test_embedded_tasks_need_nothing(name: str) -> None:
    data = load_task(name)
    assert (len(data.train), len(data.test)) == (2000, 500)
    assert data.sources == (f"{name} (train)", f"{name} (test)") and data.notes == ()
    assert data.train.column_names == [*data.task.text_columns, "label"]
    assert data.train.features["label"].dtype == ("float64" if name == "similarity" else "int64")


def test_sizes_and_seed_of_embedded_tasks() -> None:
    data = load_task("entailment", train_size=30, test_size=20, data_seed=5)
    assert (len(data.train), len(data.test)) == (30, 20)
    other = load_task("entailment", train_size=30, test_size=20, data_seed=6)
    assert data.train["sentence1"][:] != other.train["sentence1"][:]


def test_wrong_uses(tmp_path: object) -> None:
    with pytest.raises(DataError, match="'similarity' is embedded: expected no data folder"):
        load_task("similarity", str(tmp_path))
    with pytest.raises(DataError, match="Use load_files"):
        load_task(Task("mine", ("sentence1",), ("a", "b")))
    with pytest.raises(DataError, match="Unknown task 'wnli'"):
        load_task("wnli")
    assert load_task(TASKS["similarity"], train_size=1, test_size=1).task.name == "similarity"
