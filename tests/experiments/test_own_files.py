"""Own files are the task: they have a name of their own, and all their rows are used."""

from __future__ import annotations

import pytest
import yaml

from agwm.errors import ConfigError, DataError
from agwm.experiments.config import OWN_TASK, RunConfig, load_config
from agwm.experiments.examples import load_examples, num_train
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.tuning import load_tuning
from tests.programs import main

GRID = {"tasks": ["rte", "stsb"], "train_sizes": [300, 500], "models": ["minilm"], "seeds": 1}


@pytest.fixture
def data(own_files):
    return {"train_file": str(own_files[0]), "test_file": str(own_files[1]), "text_columns": ["text"]}


def grid_file(folder, *blocks, kind="grid", **settings):
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({"settings": settings, kind: list(blocks)}))
    return path


def test_a_name_and_all_rows_are_the_defaults(data):
    config = load_config(None, {"data": data})
    assert (config.task, config.train_size) == (OWN_TASK, "all")
    assert RunConfig.from_dict({"data": data}) == config
    assert RunConfig.from_dict(config.to_dict()) == config
    given = load_config(None, {"data": data, "task": "mails", "train_size": 20})
    assert (given.task, given.train_size) == ("mails", 20)
    assert (RunConfig().task, RunConfig().train_size) == ("acceptability", 300)


@pytest.mark.parametrize("task", ["cola", "similarity"])
def test_a_name_of_another_task_is_refused(data, task):
    with pytest.raises(ConfigError, match=f"Task '{task}' is no name for own files.*Pass --task"):
        load_config(None, {"data": data, "task": task})


def test_the_command_line_names_what_a_grid_runs_on(data, tmp_path):
    path = grid_file(tmp_path, {**GRID, "methods": {"vanilla": {}}})
    assert len(load_grid(path).cells) == 4
    (cell,) = load_grid(path, {"data": data}).cells
    assert (cell.config.task, cell.config.train_size) == (OWN_TASK, "all")
    (cell,) = load_grid(path, {"data": data, "task": "mails", "train_size": 20}).cells
    assert (cell.config.task, cell.config.train_size) == ("mails", 20)
    with pytest.raises(ConfigError, match="Task 'rte' is no name"):
        load_grid(path, {"data": data, "task": "rte"})
    path = grid_file(tmp_path, {**GRID, "seeds": [5], "methods": {"vanilla": [{}]}}, kind="tune")
    (cell,) = load_tuning(path, {"data": data}).cells
    assert (cell.config.task, cell.config.train_size, cell.seed) == (OWN_TASK, "all", 5)


def test_blocks_for_several_tasks_meet_no_own_files(data, tmp_path):
    block = {**GRID, "methods": {"vanilla": {}}}
    with pytest.raises(ConfigError, match="Own files are one task: .* one block .* got 2"):
        load_grid(grid_file(tmp_path, block, {**block, "tasks": ["mrpc"]}), {"data": data})
    named = {**block, "tasks": ["a", "b"]}
    with pytest.raises(ConfigError, match="Own files are one task: .* got a, b"):
        load_grid(grid_file(tmp_path, named, data=data))
    cells = load_grid(grid_file(tmp_path, {**named, "tasks": ["a"]}, data=data)).cells
    assert [cell.config.task for cell in cells] == ["a", "a"]
    with pytest.raises(ConfigError, match="Task 'rte' is no name"):
        load_grid(grid_file(tmp_path, block, data=data))


def test_the_size_may_be_a_number_all_or_whole(data):
    sizes = {"all": 35, "whole": 40, 20: 20}  # of forty rows
    for size, expected in sizes.items():
        config = load_config(None, {"data": data, "train_size": size})
        assert num_train(config, load_examples(config)) == expected
    config = load_config(None, {"data": data, "train_size": 300})
    with pytest.raises(ConfigError, match="Not enough data: .* got 40. Pass .* --train-size all"):
        num_train(config, load_examples(config))


def test_a_wrong_size_names_the_flag(capsys):
    assert main(["--train-size", "most"]) == 2
    assert "--train-size: expected an integer, all or whole, got 'most'" in capsys.readouterr().err


def test_a_remedy_names_what_the_command_line_has(data, tmp_path):
    (tmp_path / "one.csv").write_text("text,label\na,yes\nb,yes\n", encoding="utf-8")
    config = load_config(None, {"data": {**data, "train_file": str(tmp_path / "one.csv")}})
    with pytest.raises(
        DataError, match=r"Pass --set data.label_names=\[...\] or --set data.regression=true"
    ):
        load_examples(config)


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_methods_are_compared_by_scores_of_predictions(data, metric):
    config = load_config(None, {"data": {**data, "metric": metric}})
    with pytest.raises(
        ConfigError, match=f"'{metric}' does not compare methods: .*macro_f1.*Set data.metric"
    ):
        load_examples(config)
    assert (
        load_examples(load_config(None, {"data": {**data, "metric": "macro_f1"}})).task.metric == "macro_f1"
    )
