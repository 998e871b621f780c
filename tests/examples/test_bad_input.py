"""Bad input on the command line: one clear line, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import agwm
from agwm.errors import ModelError
from tests.programs import FAST, GLUE_LOWRES, main


@pytest.fixture
def options(tiny_model, tmp_path):
    """Options of a good run on an embedded task; a test spoils one."""
    return {
        "--task": "acceptability",
        "--model": str(tiny_model),
        "--train-size": "20",
        "--seeds": "1",
        "--output-dir": str(tmp_path / "out"),
    }


@pytest.fixture
def refused(options, tmp_path, capsys):
    """Run with changed options, check the form of the refusal, and return its line."""

    def run(*more, **changes):
        spoiled = {
            **options,
            **{"--" + key.replace("_", "-"): str(value) for key, value in changes.items()},
        }
        flat = [part for pair in spoiled.items() for part in pair]
        settings = [part for text in FAST for part in ("--set", text)]
        assert main([*flat, *settings, *more]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
        assert "Traceback" not in err
        written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert written == []
        return err

    return run


def glue_folder(tmp_path, name, header, *rows):
    """A GLUE folder with one task whose training file has the given lines."""
    folder = tmp_path / "glue" / name
    folder.mkdir(parents=True)
    good = ["\t".join(header)] if header else []
    for file in ("train.tsv", "dev.tsv"):
        (folder / file).write_text("\n".join([*good, *rows]) + "\n")
    return tmp_path / "glue"


SST2 = ("sentence", "label")


def sst2_rows(count=40):
    return [f"the man is good {index}\t{index % 2}" for index in range(count)]


def stsb_rows(count=40, bad=None):
    rows = [f"{index}\ta man {index}\ta dog\t{index / 10}" for index in range(count)]
    return [row if index != 5 or bad is None else f"5\ta\tb\t{bad}" for index, row in enumerate(rows)]


def test_unknown_task(refused):
    assert "Unknown task 'acceptabilty'" in refused(task="acceptabilty")


def test_model_path_without_a_config(refused, tmp_path):
    assert "expected a config.json" in refused(model=tmp_path)


def test_model_path_that_is_not_there(refused, tmp_path):
    assert "nothing there" in refused(model=tmp_path / "nowhere")


def test_data_folder_missing(refused, tmp_path):
    assert "Data folder missing" in refused(task="rte", data_dir=tmp_path / "nowhere")


def test_data_folder_without_the_task(refused, tmp_path):
    folder = glue_folder(tmp_path, "SST-2", SST2, *sst2_rows())
    assert "No data of task 'rte'" in refused(task="rte", data_dir=folder)


def test_row_short_of_columns(refused, tmp_path):
    folder = glue_folder(tmp_path, "SST-2", SST2, *sst2_rows(), "no label here")
    line = refused(task="sst2", data_dir=folder)
    assert "expected 2, got 1" in line and "row 42" in line


def test_label_outside_the_set(refused, tmp_path):
    folder = glue_folder(tmp_path, "SST-2", SST2, *sst2_rows(), "the man\t2")
    assert "expected one of '0', '1', got '2'" in refused(task="sst2", data_dir=folder)


@pytest.mark.parametrize("bad", ["nan", "inf", "high"])
def test_label_of_regression_that_is_no_finite_number(refused, tmp_path, bad):
    header = ("index", "sentence1", "sentence2", "score")
    folder = glue_folder(tmp_path, "STS-B", header, *stsb_rows(bad=bad))
    line = refused(task="stsb", data_dir=folder)
    assert bad in line and "row 7" in line


def test_own_label_of_regression_that_is_nan(refused, tmp_path):
    rows = ["text,label", *(f"the man {index},{index / 7}" for index in range(30)), "the dog,nan"]
    (tmp_path / "own.csv").write_text("\n".join(rows) + "\n")
    own = tmp_path / "own.csv"
    line = refused(
        "--set", "data.metric=spearman", task="own", train_file=own, test_file=own, text_columns="text"
    )
    assert "nan" in line.lower()


def test_own_file_without_the_column(refused, own_files):
    train, test = own_files
    line = refused(task="own", train_file=train, test_file=test, text_columns="txt")
    assert "'txt'" in line and "'text'" in line


def test_train_size_above_the_data(refused, own_files):
    train, test = own_files
    line = refused(task="own", train_file=train, test_file=test, text_columns="text", train_size=41)
    assert "41" in line and "40" in line


@pytest.mark.parametrize("size", ["9", "0", "-3", "many"])
def test_train_size_below_ten(refused, size):
    assert size in refused(train_size=size)


def test_no_resplit(refused):
    assert "is out of range: expected an integer >= 1, got 0" in refused("--set", "search.num_resplits=0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("search: {num_resplit: 5}", "Did you mean 'search.num_resplits'"),
        ("train_size: many", "expected an integer >= 10 or one of all, whole, got 'many'"),
        ("search: [", "lines of YAML"),
    ],
)
def test_yaml(refused, tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    line = refused(config=tmp_path / "bad.yaml")
    assert message in line and "bad.yaml" in line


def test_output_folder_not_writable(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "Output folder is not writable" in refused(output_dir=tmp_path / "file" / "out")


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_pattern_that_matches_nothing(refused, key):
    line = refused("--set", f"mixing.{key}=['*.qurey.weight']")
    assert "*.qurey.weight" in line


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("mixing.alpha=rank2", "'mixing.alpha' in --set mixing.alpha=rank2 is unknown"),
        ("mixing.formula=konvex", "Did you mean 'convex'?"),
        ("device=gpux", "Device is not usable"),
        ("final.precision=fp16", "needs gradient scaling"),
        ("data.metric=f2", "f2"),
    ],
)
def test_settings_that_only_the_parts_know(refused, own_files, setting, message):
    train, test = own_files
    line = refused("--set", setting, task="own", train_file=train, test_file=test, text_columns="text")
    assert message in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methood", "agwm"], "got '--methood'. Did you mean '--method'?"),
        (["--seeds", "1", "stray"], "unrecognized arguments: stray"),
        (["--lr", "fast"], "Cannot read --lr: expected a number, got 'fast'"),
        (["--lr", "-1"], "--lr is out of range: expected a number >= 0, got -1.0"),
        (["--epochs", "0"], "--epochs is out of range: expected an integer >= 1, got 0"),
        (["--max-length", "4"], "--max-length is out of range: expected an integer >= 8, got 4"),
        (["--device", ""], "--device is wrong"),
        (["--config", "demmo.yaml"], "Did you mean 'demo.yaml'"),
        (["--method"], "expected one argument"),
        (["--method", "agw"], "Did you mean 'agwm'"),
        (["--seeds", "three"], "Cannot read --seeds"),
        (["--set", "epochs"], "expected key=value"),
        (["--method", ""], "Empty flag"),
        (["--output-dir", ""], "--output-dir is wrong: expected a text that can be a path"),
        (["--dry-run"], "Flag --dry-run is of grids alone"),
        (["--jobs", "2"], "Flag --jobs is of grids alone"),
        (["--local-model", "a=b"], "Flag --local-model is of grids alone"),
    ],
)
def test_command_line(refused, more, message):
    assert message in refused(*more)


def test_as_a_process_it_is_the_same():
    """A mistake that is found with all libraries imported is in ``test_new_method``, as a process too."""
    done = subprocess.run(
        [sys.executable, str(GLUE_LOWRES), "--tsak", "nli"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "got '--tsak'. Did you mean '--task'?" in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_weights_on_the_meta_device():
    with torch.device("meta"):
        config = BertConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        model = BertForSequenceClassification(config)
    with pytest.raises(ModelError, match="meta"):
        agwm.inject(model)
