"""What is wrong with a grid's cells: found before the first run, or where another process made it so."""

from __future__ import annotations

import pytest
import yaml

from agwm.errors import ConfigError, MethodError
from agwm.experiments.grid import execution, worker
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.tickets import make_tickets
from agwm.experiments.grid.tuning import load_tuning
from agwm.experiments.grid.work import Work
from tests.programs import main


def test_a_record_that_another_process_makes_with_other_settings_is_no_result(grid_file, monkeypatch):
    """The other one starts when this one has checked that there is no record."""
    path = grid_file(methods={"vanilla": {}}, seeds=2)
    work = Work(load_grid(path).cells, jobs=0)
    others = make_tickets(Work(load_grid(path, assignments=["vanilla.epochs=2"]).cells))
    real = execution.run_loops

    def after_the_other(tickets, *rest):
        real(others[:1], work)
        return real(tickets, *rest)

    monkeypatch.setattr(execution, "run_loops", after_the_other)
    with pytest.raises(ConfigError, match=r"expected vanilla.epochs = 1, got 2"):
        execution.run_grid(work, progress=False)


def test_a_precision_that_a_label_cannot_have_is_found_before_the_first_run(grid_file, tmp_path):
    methods = {"vanilla": {}, "frozen": {"final": {"precision": "fp16"}}}
    with pytest.raises(ConfigError, match=r"Cell 'frozen--.*needs gradient scaling"):
        execution.run_grid(
            Work(load_grid(grid_file(methods=methods, seeds=1)).cells, jobs=0), progress=False
        )
    assert not (tmp_path / "out").exists()


def blocks(path, *changes):
    """Turn a grid file of one block into one of several that differ."""
    content = yaml.safe_load(path.read_text())
    content["grid"] = [{**content["grid"], **change} for change in changes]
    path.write_text(yaml.safe_dump(content))
    return path


def top_k(num_blocks):
    return {"top": {"method": "top_k", "rivals": {"top_k": {"num_blocks": num_blocks}}}}


@pytest.mark.parametrize("good_first", [True, False])
def test_a_refusal_is_of_one_block_s_settings(grid_file, tmp_path, good_first):
    good, bad = {"train_sizes": [20], "methods": top_k(1)}, {"train_sizes": [24], "methods": top_k(99)}
    path = blocks(grid_file(seeds=1), *((good, bad) if good_first else (bad, good)))
    result = execution.run_grid(Work(load_grid(path).cells, jobs=0), progress=False)
    (refusal,) = result.refused
    assert refusal.label == "top" and "99" in refusal.reason
    assert [(r.train_size, r.failure) for r in result.records] == [(20, None)]


def test_a_finished_run_is_a_result_though_its_like_is_refused_now(grid_file, monkeypatch):
    path = grid_file(methods={"vanilla": {}}, seeds=2)
    execution.run_grid(Work(load_grid(path).cells[:1], jobs=0), progress=False)

    def refuse(*_):
        raise MethodError("not any more")

    monkeypatch.setattr("agwm.experiments.grid.tickets.check_method", refuse)
    result = execution.run_grid(Work(load_grid(path).cells, jobs=0), progress=False)
    assert len(result.records) == 1 and len(result.refused) == 1


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("task=rte", "--task"),
        ("model=x", "--model"),
        ("train_size=20", "--train-size"),
        ("seeds=1", "--seeds"),
        ("methods=[agwm]", "--method"),
    ],
)
def test_what_names_a_cell_is_no_setting_of_a_grid(grid_file, tmp_path, text, flag):
    message = rf"'{text.partition('=')[0]}' cannot be set .* Pass {flag}\b"
    with pytest.raises(ConfigError, match=message):
        load_grid(grid_file(), assignments=[text])
    content = yaml.safe_load(grid_file().read_text())["grid"]
    tuning = tmp_path / "tuning.yaml"
    tuning.write_text(yaml.safe_dump({"tune": {**content, "seeds": [7], "methods": {"vanilla": [{}]}}}))
    with pytest.raises(ConfigError, match=message):
        load_tuning(tuning, assignments=[text])


def test_a_grid_has_one_output_folder(grid_file):
    with pytest.raises(ConfigError, match=r"'grid.settings.output_dir' .* one folder .* --output-dir"):
        load_grid(grid_file(settings={"output_dir": "elsewhere"}))
    with pytest.raises(ConfigError, match=r"'vanilla.output_dir'"):
        load_grid(grid_file(methods={"vanilla": {"output_dir": "elsewhere"}}))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0, -1.0, {"minilm": float("inf")}])
def test_seconds_of_a_pass_are_positive_and_finite(grid_file, value):
    path = grid_file(models=["minilm"])
    path.write_text(path.read_text() + yaml.safe_dump({"seconds_per_pass": value}))
    with pytest.raises(
        ConfigError, match=r"'seconds_per_pass' in .*is out of range: expected a number > 0"
    ):
        load_grid(path)


def test_seconds_of_a_pass_are_those_of_models_of_the_grid(grid_file):
    path = grid_file(models=["minilm"])
    path.write_text(path.read_text() + yaml.safe_dump({"seconds_per_pass": {"minilm": 1, "minilmm": 2}}))
    with pytest.raises(ConfigError, match=r"'seconds_per_pass.minilmm' .*Did you mean 'minilm'"):
        load_grid(path)


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf"])
def test_seconds_of_a_pass_on_the_command_line(grid_file, capsys, value):
    assert main(["--grid", str(grid_file()), "--dry-run", "--seconds-per-pass", value]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "--seconds-per-pass is out of range: expected a number > 0" in err


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--jobs", "-1"], "--jobs is out of range"),
        (["--threads", "0"], "--threads is out of range"),
        (["--backend", "dask"], "--backend is unknown: expected one of threading, ray, got 'dask'"),
    ],
)
def test_workers_that_cannot_be_are_told_before_the_plan(grid_file, capsys, wrong, message, more):
    assert main(["--grid", str(grid_file()), *wrong, *more]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err


def test_a_full_disk_ends_the_command_with_one_line(grid_file, tmp_path, monkeypatch, capsys):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    real = worker.write_json

    def without_room(*arguments):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            return real(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(worker, "write_json", without_room)
    assert main(["--grid", str(grid_file(seeds=1)), "--jobs", "0"]) == 2
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if "error" in line] == err.splitlines()[-1:]
    assert f"Cannot write '{tmp_path}/out/results/" in err
    assert list((tmp_path / "out" / "claims").iterdir()) == []


def test_seeds_without_a_value_are_refused(grid_file):
    with pytest.raises(ConfigError, match=r"Wrong key 'grid.seeds' in .*: expected a number of seeds"):
        load_grid(grid_file(methods={"vanilla": {}}, seeds=None))
