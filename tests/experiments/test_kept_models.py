"""Models that are to be kept: a failure of saving costs no score, and a missing one is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from agwm.experiments.experiment import run_experiment
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.execution import run_grid
from agwm.experiments.grid.work import Work
from agwm.experiments.kept_models import keep_model, lacking_line, lacks_model, model_folder
from agwm.experiments.record import fingerprint, read_record
from agwm.files import write_json
from agwm.methods import Outcome
from agwm.methods.plain_checkpoint import write_plain
from agwm.testing.tiny_models import pretrained
from agwm.testing.tokens import save_tokenizer
from tests.killed import operations


@pytest.fixture
def run(grid_file):
    """Run vanilla once, as a grid or as an experiment, and return the record and the lines."""

    def run(kind, **options):
        (cell,) = load_grid(
            grid_file(methods={"vanilla": {}}, seeds=1), assignments=["save_model=true"]
        ).cells
        lines = []
        if kind == "grid":
            records = run_grid(Work([cell], jobs=0, **options), report=lines.append, progress=False).records
        else:
            records = run_experiment(cell.config, report=lines.append, progress=False, **options)
        return *records, lines

    return run


@pytest.mark.parametrize("kind", ["grid", "experiment"])
def test_a_model_that_cannot_be_saved_costs_no_score(kind, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "models").write_text("not a folder")
    record, lines = run(kind)
    assert record.score is not None and record.failure is None
    assert "DataError: Output folder is not writable" in record.train_info.model_failure
    assert len(lines) == 1 and "accuracy" in lines[0] and "model not saved: DataError" in lines[0]
    (path,) = (out / "results").iterdir()
    assert read_record(path) == record


@pytest.mark.parametrize("kind", ["grid", "experiment"])
def test_a_finished_run_without_its_model_is_told(kind, run, tmp_path):
    record, lines = run(kind)
    assert record.train_info.model_failure is None and "model" not in lines[0]
    _, lines = run(kind)
    assert lines == ["1 of 1 runs are finished already."]
    shutil.rmtree(tmp_path / "out" / "models")
    _, lines = run(kind)
    assert lines[1:] == ["1 of the runs are finished, but no model is kept: --override runs them again."]
    _, lines = run(kind, override=True)
    assert len(lines) == 1 and len(list((tmp_path / "out" / "models").iterdir())) == 1


def test_a_failed_run_has_no_model_to_miss(grid_file):
    ruin = {"method": "vanilla", "vanilla": {"learning_rate": 1e9, "warmup_ratio": 0}}
    cells = load_grid(grid_file(methods={"ruin": ruin}, seeds=1), assignments=["save_model=true"]).cells
    assert run_grid(Work(cells, jobs=0), progress=False).num_failed == 1
    lines = []
    run_grid(Work(cells, jobs=0), progress=False, report=lines.append)
    assert lines == ["1 of 1 runs are finished already."]


def test_saving_shows_no_bar_of_a_library(run, capsys):
    run("experiment")
    assert capsys.readouterr().err == ""


def test_a_model_that_is_not_its_records_is_told(run, tmp_path):
    record, _ = run("experiment")
    (model,) = (tmp_path / "out" / "models").iterdir()
    assert record.train_info.model is not None
    link = json.loads((model / "agwm_record.json").read_text())
    assert link == {"record": fingerprint(record), "model": record.train_info.model}
    (path,) = (tmp_path / "out" / "results").iterdir()
    assert not lacks_model(path, read_record(path))
    for key in link:
        (model / "agwm_record.json").write_text(json.dumps({**link, key: "of another run"}))
        _, lines = run("experiment")
        assert lines[1:] == [lacking_line(1)]
    (model / "agwm_record.json").unlink()
    assert lacks_model(path, record)
    older = replace(record, train_info=replace(record.train_info, model=None))
    assert not lacks_model(path, older)  # before there were fingerprints


@pytest.mark.parametrize("is_all", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_override_killed_anywhere_leaves_no_old_record_beside_a_new_model(is_all, tmp_path):
    """Of two runs that differ, the record and the model that are there are of the same one."""
    loaded = pretrained("bert")
    save_tokenizer(tmp_path / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    path = tmp_path / "out" / "results" / "run.json"
    path.parent.mkdir(parents=True)
    template = next((Path(__file__).parents[2] / "docs" / "results").glob("*/results/*.json"))
    made = read_record(template)
    records = {seed: replace(made, run_info=replace(made.run_info, seed=seed)) for seed in (1, 2)}

    def keep(seed):
        with torch.no_grad():
            loaded.model.classifier.bias.fill_(seed)

        def write(folder, facts):
            write_plain(loaded.model, tokenizer, folder, facts)

        outcome = Outcome(loaded.model, 0, [], write)
        write_json(path, keep_model(outcome, path, records[seed]).to_dict())

    def found():
        weights = load_file(model_folder(path) / "model.safetensors")
        return read_record(path).seed if path.exists() else None, int(weights["classifier.bias"][0])

    keep(1)
    number = operations(lambda: keep(2))
    seen = []
    points = range(1, number + 1) if is_all else range(number - 24, number + 1, 2)
    for kill_at in points:
        keep(1)
        operations(lambda: keep(2), kill_at)
        seen.append(found())
    assert set(seen) <= {(1, 1), (None, 1), (None, 2), (2, 2)} and len(set(seen)) > 2
    keep(2)
    assert found() == (2, 2) and not lacks_model(path, read_record(path))
    assert [entry.name for entry in model_folder(path).parent.iterdir()] == ["run"]
