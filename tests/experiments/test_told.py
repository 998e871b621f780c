"""What a run is made of is said before it on standard error, and stands in its record."""

from __future__ import annotations

import csv
import json
import os
import sys
import threading

import pytest
from safetensors.torch import load_file

from tests.programs import main


@pytest.fixture
def mails(tmp_path):
    """Two files: three long training texts, one empty one, one repeated, two of the test set."""
    rows = [(f"word {number} and more", "bug" if number % 3 else "Praise") for number in range(40)]
    rows[1] = (" ".join(["word"] * 30), "bug")
    rows[2] = ("", "bug")
    rows[4] = rows[5]
    test = [
        rows[7],
        rows[8],
        *[(f"other {number}", "bug" if number % 3 else "Praise") for number in range(28)],
    ]
    for name, content in (("train.csv", rows), ("test.csv", test)):
        with open(tmp_path / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *content])
    return tmp_path


def run(folder, model, *options):
    flags = ["--train-file", str(folder / "train.csv"), "--test-file", str(folder / "test.csv")]
    flags += ["--text-columns", "text", "--model", str(model), "--seeds", "1", "--set", "max_length=16"]
    flags += ["--set", "device=cpu", "--output-dir", str(folder / "out"), "--set", "vanilla.epochs=1"]
    return main([*flags, *options])


def told(folder):
    (path,) = (folder / "out" / "results").glob("*.json")
    return json.loads(path.read_text(encoding="utf-8"))["run_info"]["told"]


def test_three_lines_come_before_the_first_run(mails, tiny_model, capsys):
    assert run(mails, tiny_model, "--task", "mails", "--method", "vanilla") == 0
    captured = capsys.readouterr()
    lines = [
        line for line in captured.err.splitlines() if line.startswith(("train.csv", "test.csv", "tiny"))
    ]
    assert lines[0] == (
        "train.csv: 40 examples, 2 classes: bug 26, Praise 14; 1 text cut at 16 tokens; 1 empty; 2 also in"
        " test.csv; 1 repeated."
    )
    assert lines[1] == "test.csv: 30 examples, 2 classes: bug 20, Praise 10; 2 also in train.csv."
    assert lines[2].startswith("tiny: ") and "tensors from the checkpoint; new: " in lines[2]
    assert lines == told(mails) and "cut at" not in captured.out
    # a second call has nothing to run, and so nothing to say
    assert run(mails, tiny_model, "--task", "mails", "--method", "vanilla") == 0
    assert "train.csv: 40" not in capsys.readouterr().err


def test_a_grid_says_them_once(mails, tiny_model, tmp_path, capsys):
    path = tmp_path / "grid.yaml"
    block = "{tasks: [rte], train_sizes: [300], models: [MODEL], seeds: 1, methods: {vanilla: {}, r3f: {}}}"
    path.write_text(f"grid: {block}".replace("MODEL", str(tiny_model)), encoding="utf-8")
    flags = ["--grid", str(path), "--jobs", "0", "--train-file", str(mails / "train.csv"), "--test-file"]
    flags += [str(mails / "test.csv"), "--text-columns", "text", "--output-dir", str(mails / "out")]
    assert main([*flags, "--set", "device=cpu", "--set", "vanilla.epochs=1"]) == 0
    assert capsys.readouterr().err.count("train.csv: 40 examples") == 1
    for record in (mails / "out" / "results").glob("*.json"):
        assert json.loads(record.read_text(encoding="utf-8"))["run_info"]["told"][0].startswith("train.csv")


def test_f1_names_its_class(mails, tiny_model, capsys):
    options = ["--method", "vanilla", "--set", "data.metric=f1", "--set", "data.positive=Praise"]
    assert run(mails, tiny_model, *options) == 0
    captured = capsys.readouterr()
    assert captured.err.count("f1 is that of class 'Praise'") == 1 and "| f1 of Praise |" in captured.out
    (path,) = (mails / "out" / "results").glob("*.json")
    assert json.loads(path.read_text(encoding="utf-8"))["scores"]["positive"] == "Praise"


def test_runs_go_on_where_nobody_reads(mails, tiny_model, monkeypatch):
    """As with ``2>&1 | head -1``."""
    read, write = os.pipe()
    first = []

    def read_one_line():
        with os.fdopen(read, encoding="utf-8") as pipe:
            first.append(pipe.readline())

    reader = threading.Thread(target=read_one_line)
    reader.start()
    with os.fdopen(write, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(sys, "stderr", pipe)
        assert run(mails, tiny_model, "--method", "vanilla", "--seeds", "2") == 0
        # the pipe was found broken, and what came later was sent nowhere
        assert os.path.samestat(os.fstat(write), os.stat(os.devnull))
    reader.join()
    assert first[0].startswith("train.csv: 40 examples")
    assert len(list((mails / "out" / "results").glob("*.json"))) == 2


@pytest.mark.parametrize("starts", [False, True])
def test_a_regression_starts_at_the_mean_of_its_scores_where_that_is_asked_for(
    tmp_path, tiny_model, capsys, starts
):
    for name, count in (("train.csv", 40), ("test.csv", 20)):
        with open(tmp_path / name, "w", newline="", encoding="utf-8") as file:
            rows = [(f"{name} word {number}", 50.5 + number % 7) for number in range(count)]
            csv.writer(file).writerows([("text", "label"), *rows])
    flags = ["--set", f"start_head={str(starts).lower()}", "--set", "data.regression=true"]
    flags += ["--set", "vanilla.learning_rate=1e-12", "--set", "save_model=true"]
    assert run(tmp_path, tiny_model, "--method", "vanilla", *flags) == 0
    is_told = "A new head starts at the constant answer of least loss." in told(tmp_path)
    assert is_told == starts
    (path,) = (tmp_path / "out" / "models").rglob("model.safetensors")
    bias = float(load_file(path)["classifier.bias"])
    assert (50.5 < bias < 57.5) if starts else abs(bias) < 1e-6
