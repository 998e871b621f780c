"""The command line from end to end on a tiny model: records, table, pictures, repeatability."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from agwm.experiments.config import load_config
from agwm.methods.two_level import Frozen
from agwm.recipe.passes import finetune_passes, outer_step_passes, same_passes, training_passes
from tests.programs import FAST, main


def records(folder):
    return {path.name: json.loads(path.read_text()) for path in sorted((folder / "results").iterdir())}


def without_times(record):
    train = {key: value for key, value in record["train_info"].items() if "seconds" not in key}
    history = [{k: v for k, v in entry.items() if "second" not in k} for entry in train.pop("history")]
    return {**record, "train_info": {**train, "history": history}}


def test_four_methods_two_seeds(arguments, tmp_path, capsys):
    methods = ["--method", "vanilla,vanilla_long", "--method", "frozen", "--method", "agwm"]
    assert main([*arguments, *methods, "--seeds", "1017,5"]) == 0
    out = capsys.readouterr().out
    stored = records(tmp_path / "out")
    assert len(stored) == 8
    record = stored["agwm--order--tiny--n20--seed5.json"]
    info, train, scores = record["run_info"], record["train_info"], record["scores"]
    assert (info["method"], info["task"], info["model"], info["train_size"]) == (
        "agwm",
        "order",
        "tiny",
        20,
    )
    assert info["seed"] == 5 and info["settings"]["search"]["epochs"] == 1
    assert {"agwm", "torch", "transformers", "betty-ml", "python", "processor"} <= set(info["versions"])
    assert info["versions"]["torch"] == torch.__version__
    assert scores["metric"] == "accuracy" and 0 <= scores["test"] <= 1 and 0 <= scores["dev"] <= 1
    assert scores["constant"] == 0.5
    assert scores["is_degenerate"] == (scores["test"] <= 0.5)
    assert (train["num_train"], train["num_dev"], train["num_test"]) == (20, 3, 20)
    assert train["history"] and train["total_seconds"] > 0 and train["failure"] is None
    alpha = train["alpha"]
    assert "bert.encoder.layer.0.attention.self.query.weight" in alpha and len(alpha) == 13
    assert all(0 <= numbers["min"] <= numbers["mean"] <= numbers["max"] <= 1 for numbers in alpha.values())
    assert min(numbers["mean"] for numbers in alpha.values()) < 1
    assert all(0 <= numbers["from_start"] < 1 for numbers in alpha.values())
    frozen = stored["frozen--order--tiny--n20--seed5.json"]["train_info"]
    assert all((numbers["mean"], numbers["from_start"]) == (1, 0) for numbers in frozen["alpha"].values())
    assert not stored["vanilla--order--tiny--n20--seed5.json"]["train_info"]["alpha"]
    long = stored["vanilla_long--order--tiny--n20--seed5.json"]["train_info"]["passes"]
    assert train["passes"] <= long < train["passes"] + 2
    table = (tmp_path / "out" / "table.md").read_text()
    assert table in out
    assert [line.split("|")[5].strip() for line in table.splitlines()[2:6]] == [
        "vanilla",
        "vanilla_long",
        "frozen",
        "agwm",
    ]
    assert table.count("±") >= 4


def test_pictures(arguments, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for name in ("scores.png", "alpha.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
        assert str(tmp_path / "out" / name) in out


def test_without_matplotlib_everything_else_is_there(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*arguments, "--method", "vanilla"]) == 0
    assert "pip install 'agwm[plot]'" in capsys.readouterr().out
    assert (tmp_path / "out" / "table.md").exists() and not (tmp_path / "out" / "scores.png").exists()


def test_a_seed_repeats_bit_for_bit_and_finished_runs_are_not_run_again(arguments, tmp_path, capsys):
    assert main(arguments) == 0
    first = records(tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
    capsys.readouterr()
    assert main(arguments) == 0
    assert "2 of 2 runs are finished already" in capsys.readouterr().out
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
    assert main([*arguments, "--override"]) == 0
    second = records(tmp_path / "out")
    assert {k: without_times(v) for k, v in first.items()} == {
        k: without_times(v) for k, v in second.items()
    }
    assert any(path.stat().st_mtime_ns != stamps[path] for path in (tmp_path / "out" / "results").iterdir())


def test_an_interrupted_experiment_goes_on(arguments, tmp_path, capsys):
    assert main([*arguments, "--method", "vanilla"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--method", "vanilla", "--method", "agwm"]) == 0
    assert "1 of 2 runs are finished already" in capsys.readouterr().out
    assert len(records(tmp_path / "out")) == 2


def test_another_config_in_the_same_folder_is_refused(arguments, tmp_path, capsys):
    assert main([*arguments, "--method", "vanilla"]) == 0
    before = records(tmp_path / "out")
    capsys.readouterr()
    assert main([*arguments, "--method", "vanilla", "--set", "vanilla.epochs=2"]) == 2
    err = capsys.readouterr().err
    assert "expected vanilla.epochs = 2, got 1" in err and "--override" in err
    assert records(tmp_path / "out") == before
    # a setting of another method does not matter to this one
    assert main([*arguments, "--method", "vanilla", "--set", "search.epochs=2"]) == 0


def test_other_data_under_the_same_name_is_refused(arguments, own_files, capsys):
    assert main([*arguments, "--method", "vanilla"]) == 0
    train = own_files[0]
    train.write_text(train.read_text().replace("the bad man", "the big man", 1))
    assert main([*arguments, "--method", "vanilla"]) == 2
    assert "data_fingerprint" in capsys.readouterr().err


def test_a_run_that_diverges_is_recorded_as_failed(arguments, tmp_path, capsys):
    ruin = ["--set", "vanilla.learning_rate=1e9", "--set", "vanilla.warmup_ratio=0"]
    assert main([*arguments, "--method", "vanilla", *ruin]) == 1
    (record,) = records(tmp_path / "out").values()
    assert record["scores"]["test"] is None and "not finite" in record["train_info"]["failure"]
    assert "failed" in capsys.readouterr().out
    line = (tmp_path / "out" / "table.md").read_text().splitlines()[2]
    assert [cell.strip() for cell in line.split("|")][6:11] == ["-", "0", "0", "0", "1"]


@pytest.mark.parametrize("method", ["vanilla", "agwm"])
def test_a_saved_model_is_a_plain_checkpoint_that_scores_the_same(arguments, own_files, tmp_path, method):
    assert main([*arguments, "--method", method, "--set", "save_model=true"]) == 0
    (folder,) = (tmp_path / "out" / "models").iterdir()
    (record,) = records(tmp_path / "out").values()
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [line.rsplit(",", 1) for line in own_files[1].read_text().splitlines()[1:]]
    batch = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
    with torch.no_grad():
        answers = model.eval()(**batch).logits.argmax(-1).tolist()
    right = sum(str(answer) == label for answer, (_, label) in zip(answers, rows, strict=True))
    assert right / len(rows) == pytest.approx(record["scores"]["test"])


def test_vanilla_learns_what_can_be_learned(arguments, tmp_path):
    """Not a random guess: which word comes first is easy for a model that is trained."""
    better = ["--train-size", "30", "--set", "vanilla.epochs=60", "--set", "vanilla.learning_rate=1e-2"]
    assert main([*arguments, "--method", "vanilla", *better]) == 0
    (record,) = records(tmp_path / "out").values()
    assert record["scores"]["test"] > 0.8


def test_an_embedded_task_of_regression(tiny_model, tmp_path):
    options = ["--task", "similarity", "--model", str(tiny_model), "--train-size", "20", "--seeds", "1"]
    settings = [part for text in (*FAST, "test_limit=30") for part in ("--set", text)]
    assert main([*options, "--output-dir", str(tmp_path), *settings]) == 0
    for record in records(tmp_path).values():
        assert record["scores"]["metric"] == "spearman" and record["scores"]["constant"] == 0
        assert record["train_info"]["num_test"] == 30


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "--set KEY=VALUE" in capsys.readouterr().out


def test_pass_counts():
    given = ["search.num_resplits=5", "search.roll_back=true", "hypergradient.scheme=central"]
    config = load_config(assignments=given)
    settings = config.finetune_config(1)
    # n = 300: 240 inner examples are 15 steps an epoch, 45 in all; each 2 inner + 1 outer + 2 differences
    assert finetune_passes(settings, 300) == 5 * 45 * 5 + 57
    assert finetune_passes(Frozen().recipe(config.finetune_config(1)), 300) == 5 * 45 + 57
    assert training_passes(config.vanilla, 300) == 57
    long = same_passes(config.vanilla, 1182, 300)
    assert training_passes(long, 300) >= 1182 > training_passes(long, 300) - 19
    hyper = settings.hypergradient
    assert outer_step_passes(hyper) == 3
    assert outer_step_passes(type(hyper)(scheme="forward")) == 2
    assert outer_step_passes(type(hyper)(order="first")) == 1
