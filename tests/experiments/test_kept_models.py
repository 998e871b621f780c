"""Models that are to be kept: a failure of saving costs no score, and a missing one is told."""

from __future__ import annotations

import shutil

import pytest

from agwm.experiments.experiment import run_experiment
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.execution import run_grid
from agwm.experiments.record import read_record


@pytest.fixture
def run(grid_file):
    """Run vanilla once, as a grid or as an experiment, and return the record and the lines."""

    def run(kind, **options):
        (cell,) = load_grid(
            grid_file(methods={"vanilla": {}}, seeds=1), assignments=["save_model=true"]
        ).cells
        lines = []
        if kind == "grid":
            records = run_grid([cell], jobs=0, report=lines.append, progress=False, **options).records
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
    assert run_grid(cells, jobs=0, progress=False).num_failed == 1
    lines = []
    run_grid(cells, jobs=0, progress=False, report=lines.append)
    assert lines == ["1 of 1 runs are finished already."]


def test_saving_shows_no_bar_of_a_library(run, capsys):
    run("experiment")
    assert capsys.readouterr().err == ""
