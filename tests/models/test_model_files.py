"""A run is known again by its model's name and by what the model's files hold, not by where they lie."""

from __future__ import annotations

import json
import shutil

import pytest

from agwm.experiments.config import RunConfig
from agwm.experiments.records import changed_settings, run_settings
from agwm.models.files import model_files, model_name
from tests.programs import main


def copy_of(tiny_model, folder):
    return shutil.copytree(tiny_model, folder / "tiny")


def other_weights(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_fingerprint_is_of_names_and_bytes(tiny_model, tmp_path):
    own = model_files(str(tiny_model))
    twin = copy_of(tiny_model, tmp_path)
    assert model_files(str(twin)) == own
    (twin / "notes.md").write_text("not read by a model")
    assert model_files(str(twin)) == own
    other_weights(twin)
    assert model_files(str(twin)) != own
    assert model_files("minilm") is None and model_files("owner/name") is None


def test_names(tiny_model, tmp_path, monkeypatch):
    assert model_name("owner/name") == "name" and model_name("minilm") == "minilm"
    assert model_name(str(tiny_model)) == "tiny"
    monkeypatch.chdir(tiny_model)
    assert model_name(".") == "tiny"


def test_settings_hold_no_path(tiny_model):
    settings = run_settings(RunConfig(model=str(tiny_model)), "vanilla", 1)
    assert (settings["model"], settings["model_files"]) == ("tiny", model_files(str(tiny_model)))
    assert "model_files" not in run_settings(RunConfig(model="owner/name"), "vanilla", 1)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({"model": "a/bert"}, {"model": "bert", "model_files": "1"}, []),
        ({"model": "a/bert"}, {"model": "b/bert"}, ["model"]),
        ({"model": "bert"}, {"model": "roberta"}, ["model"]),
        ({"model": "bert", "model_files": "1"}, {"model": "bert", "model_files": "2"}, ["model_files"]),
        ({"model": "bert", "model_files": "1"}, {"model": "bert", "model_files": "1"}, []),
        ({"model": "bert", "epochs": 1}, {"model": "bert"}, ["epochs"]),
    ],
)
def test_what_makes_another_run(old, new, changed):
    assert changed_settings(old, new) == changed_settings(new, old) == changed


def test_a_moved_model_goes_on_and_other_weights_are_refused(arguments, tiny_model, tmp_path, capsys):
    arguments = [*arguments, "--method", "vanilla"]
    assert main(arguments) == 0
    (record,) = (tmp_path / "out" / "results").iterdir()
    before = record.read_bytes()
    twin = copy_of(tiny_model, tmp_path / "elsewhere")
    moved = [str(twin) if part == str(tiny_model) else part for part in arguments]
    assert main(moved) == 0 and record.read_bytes() == before
    capsys.readouterr()
    other_weights(twin)
    assert main(moved) == 2
    assert "is of another config: expected model_files" in capsys.readouterr().err
    assert record.read_bytes() == before


def test_a_grid_goes_on_with_its_model_in_a_folder(grid_file, tiny_model, tmp_path, capsys):
    options = ["--grid", str(grid_file(methods={"vanilla": {}}, seeds=1)), "--jobs", "0"]
    assert main(options) == 0
    (record,) = (tmp_path / "out" / "results").glob("*.json")
    info = json.loads(record.read_text())["run_info"]
    assert (info["model"], info["settings"]["model"]) == ("tiny", "tiny")
    before = record.read_bytes()
    twin = copy_of(tiny_model, tmp_path / "elsewhere")
    assert main([*options, "--local-model", f"{tiny_model}={twin}"]) == 0
    assert record.read_bytes() == before
