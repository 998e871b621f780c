"""Grid files: what they expand to, what they may hold, and what their cells will cost."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
import yaml
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers.models.bert.modeling_bert import BertEncoder

from agwm.data import GLUE_TASKS
from agwm.errors import ConfigError
from agwm.experiments.config import OFFICIAL_SEEDS, RunConfig, load_config
from agwm.experiments.examples import load_examples
from agwm.experiments.grid.cells import load_grid, select_cells
from agwm.experiments.grid.estimate import evaluation_passes, planned_passes
from agwm.experiments.grid.plan import pass_times, plan_rows, plan_summary, plan_table
from agwm.experiments.grid.work import Work
from agwm.experiments.record import failed_record, record_of
from agwm.experiments.records import record_path, run_info, run_settings
from agwm.experiments.run import run_one
from agwm.files import write_json
from agwm.methods import METHODS
from agwm.nested import flat_settings
from tests.programs import ROOT, main

GRIDS = ROOT / "agwm" / "configs" / "grids"
FILES = [path for path in sorted(GRIDS.glob("*.yaml")) if not path.name.endswith("tuning.yaml")]


# The committed results have no run of these; `agwm fit` tries them.
NOT_IN_GRIDS = {"probe", "setfit", "wise_ft", "weight_average", "vanilla_steps", "as_drawn"}


def write(tmp_path, **changes):
    block = {
        "tasks": ["stsb", "mrpc"],
        "train_sizes": [300],
        "models": ["minilm"],
        "seeds": 5,
        "methods": {"vanilla": {}, "agwm_k5": {"method": "agwm", "search": {"num_resplits": 5}}},
    }
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({"grid": {**block, **changes}}), encoding="utf-8")
    return path


def test_every_combination_is_one_cell(tmp_path):
    path = write(tmp_path, train_sizes=[300, "all"], models=["minilm", "owner/other"], seeds=[7, 5])
    cells = load_grid(path).cells
    found = {(c.label, c.config.task, c.config.train_size, c.config.model, c.seed) for c in cells}
    assert len(cells) == len(found) == 2 * 2 * 2 * 2 * 2
    assert ("agwm_k5", "mrpc", "all", "owner/other", 7) in found
    assert [cell.seed for cell in cells] == [7] * 16 + [5] * 16  # seed by seed
    (cell,) = [
        c
        for c in cells
        if (c.label, c.config.task, c.config.train_size, c.config.model, c.seed)
        == ("agwm_k5", "stsb", 300, "minilm", 5)
    ]
    assert cell.method == "agwm" and cell.config.search.num_resplits == 5
    assert (cell.config.methods, cell.config.seed_list) == (["agwm"], [7, 5])
    assert cell.path.name == "agwm_k5--stsb--minilm--n300--seed5.json"
    assert {c.config.search.num_resplits for c in cells if c.label == "vanilla"} == {1}


def test_base_then_settings_then_method_then_flags(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "max_length: 64\nvanilla: {epochs: 7, learning_rate: 1e-4, batch_size: 8}\n"
        "final: {epochs: 7}\nsearch: {epochs: 7}\n"
    )
    content = yaml.safe_load(write(tmp_path).read_text())
    content["base"] = "base.yaml"
    content["settings"] = {"vanilla": {"epochs": 6}, "final": {"epochs": 6}}
    content["grid"]["methods"] = {"vanilla": {"vanilla": {"epochs": 5, "learning_rate": 2e-4}}, "agwm": {}}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    cells = load_grid(path, {"output_dir": "there"}, ["vanilla.learning_rate=3e-4"], seeds=1).cells
    first, second = (next(c.config for c in cells if c.method == m) for m in ("vanilla", "agwm"))
    assert (first.max_length, first.output_dir, len(cells)) == (64, "there", 4)
    assert first.vanilla == load_config().vanilla.__class__(epochs=5, learning_rate=3e-4, batch_size=8)
    assert (second.vanilla.epochs, second.final.epochs, second.search.epochs) == (6, 6, 7)


def test_a_block_has_settings_of_its_own(tmp_path):
    content = yaml.safe_load(write(tmp_path).read_text())
    block = {**content["grid"], "methods": {"vanilla": {}, "long": {"method": "vanilla_long"}}}
    content["settings"] = {"vanilla": {"epochs": 6, "learning_rate": 1e-4}}
    content["grid"] = [
        {**block, "tasks": ["sst2"], "settings": {"vanilla": {"epochs": 3}}},
        {**block, "tasks": ["stsb"], "methods": {"vanilla": {"vanilla": {"epochs": 9}}}},
        {**block, "tasks": ["rte"], "settings": None},
    ]
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(content))
    cells = load_grid(path, seeds=1).cells
    epochs = {c.config.task: c.config.vanilla.epochs for c in cells}
    assert epochs == {"sst2": 3, "stsb": 9, "rte": 6}
    assert {c.config.vanilla.learning_rate for c in cells} == {1e-4}
    cells = load_grid(path, assignments=["vanilla.epochs=1"], seeds=1).cells
    assert {c.config.vanilla.epochs for c in cells} == {1}


def test_methods_may_stand_in_a_file_of_their_own(tmp_path):
    (tmp_path / "tuned.yaml").write_text("vanilla:\n  vanilla: {learning_rate: 3.0e-5}\n")
    cells = load_grid(write(tmp_path, methods="tuned.yaml")).cells
    assert {cell.config.vanilla.learning_rate for cell in cells} == {3e-5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": {}}, r"'grid.method' .* is unknown: .* Did you mean 'grid.methods'"),
        ({"methods": {"vanila": {}}}, r"Unknown method 'vanila' .* Did you mean 'vanilla'"),
        ({"methods": {"mine": {"method": "agwn"}}}, r"Unknown method 'agwn' of 'mine'.* 'agwm'"),
        (
            {"methods": {"vanilla": {"vanila": {}}}},
            r"'vanila' in 'vanilla' of .* is unknown: .* Did you mean 'vanilla'",
        ),
        ({"methods": {"vanilla": {"vanilla": {"epoch": 1}}}}, r"'vanilla.epoch' in .*'vanilla.epochs'"),
        ({"methods": {"vanilla": {"search": {"epochs": 1}}}}, "'vanilla.search' in .* does nothing"),
        (
            {"methods": {"agwm": {"rivals": {"joint_alpha": {}}}}},
            r"'agwm.rivals.joint_alpha' .* does nothing",
        ),
        ({"methods": {"frozen": {"mixing": {"alpha": "full"}}}}, r"'frozen.mixing' .* does nothing"),
        (
            {"methods": {"frozen": {"search": {"attention_learning_rate": 0.1}}}},
            r"'frozen.search.attention_learning_rate' .* does nothing",
        ),
        (
            {"methods": {"random_alpha": {"mixing": {"init_std": 0.4}}}},
            r"'random_alpha.mixing.init_std' .* does nothing",
        ),
        ({"methods": {"lora": {"vanilla": {"epochs": 1}}}}, r"'lora.vanilla.epochs' .* does nothing"),
        (
            {"methods": {"r3f": {"vanilla": {"precision": "bf16"}}}},
            r"'r3f.vanilla.precision' .* does nothing",
        ),
        (
            {"methods": {"vanilla_long": {"search": {"learning_rate": 0.1}}}},
            r"'vanilla_long.search.learning_rate' .* does nothing",
        ),
        (
            {"methods": {"joint_alpha": {"rivals": {"random_alpha": {}}}}},
            r"rivals.random_alpha' .* does nothing",
        ),
        ({"methods": {"a/b": {"method": "agwm"}}}, "Wrong label 'a/b'"),
        ({"methods": {"a--b": {"method": "agwm"}}}, "Wrong label"),
        ({"methods": {}}, "Wrong key 'methods'"),
        ({"methods": {"vanilla": 3}}, "Wrong settings of 'vanilla'"),
        ({"tasks": []}, "'grid.tasks' in .* is wrong: expected a list of one or more different values"),
        ({"tasks": "stsb"}, "'grid.tasks' in .* is wrong"),
        ({"tasks": ["stsb", "stsb"]}, "'grid.tasks' in .* is wrong"),
        ({"train_sizes": [5]}, "'train_size' in .* is out of range"),
        ({"seeds": 11}, "'seeds' in .* is out of range"),
        ({"settings": 3}, "'grid.settings' in .*: expected a section"),
        ({"settings": {"seeds": 3}}, "Wrong key 'grid.settings.seeds'"),
        ({"settings": {"vanilla": {"epoch": 3}}}, "'vanilla.epoch' in .*'vanilla.epochs'"),
        ({"models": ["a/x", "b/x"]}, "have one record"),
    ],
)
def test_mistakes_are_found_in_the_file(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_grid(write(tmp_path, **changes))


@pytest.mark.parametrize(
    "methods",
    [
        # its own epochs are given up, so vanilla's count
        {"lora": {"vanilla": {"epochs": 1}, "rivals": {"lora": {"epochs": None}}}},
        {"lora": {"vanilla": {"batch_size": 4}}},
        {"vanilla_long": {"mixing": {"alpha": "frozen"}, "search": {"num_resplits": 2}}},
        {"frozen": {"search": {"learning_rate": 0.1}}},
    ],
)
def test_settings_that_act_are_taken(tmp_path, methods):
    assert load_grid(write(tmp_path, methods=methods)).cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gird: {}", "has no cells: expected a section 'grid'"),
        ("grid: {}\nbas: x", "'bas' in .* is unknown: .* Did you mean 'base'"),
        ("settings: {}", "has no cells"),
        ("grid: [1]", "has no cells"),
        ("base: 3\ngrid: {}", "'base' in .* is wrong: expected a text that can be a path"),
        ("settings: {seeds: 3}\ngrid: {}", "Wrong key 'settings.seeds'"),
        ("settings: {epochs: 3}\ngrid: {}", "Config key 'epochs' in 'settings' of .* is unknown"),
        ("base: nowhere.yaml\ngrid: {}", "Cannot read config"),
    ],
)
def test_mistakes_at_the_top(tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError, match=message):
        load_grid(path)


@pytest.mark.parametrize("value", [0, "fast", True, {"minilm": -1}])
def test_seconds_per_pass_are_positive(tmp_path, value):
    path = write(tmp_path)
    path.write_text(path.read_text() + yaml.safe_dump({"seconds_per_pass": value}))
    with pytest.raises(ConfigError, match="seconds_per_pass"):
        load_grid(path)


def test_a_part_of_a_grid(tmp_path):
    cells = load_grid(write(tmp_path, train_sizes=[300, "all"])).cells
    part = select_cells(cells, label=["agwm_k5"], task=["stsb"], model=None, train_size=["all"])
    assert len(part) == 5 and {(c.label, c.config.task, c.config.train_size) for c in part} == {
        ("agwm_k5", "stsb", "all")
    }
    with pytest.raises(ConfigError, match=r"label 'agwm_k'.*Did you mean 'agwm_k5'"):
        select_cells(cells, label=["agwm_k"])


def test_a_record_without_a_label_is_named_by_its_method(tmp_path):
    config = RunConfig(task="rte", model="tiny", train_size="all")
    assert record_path(tmp_path, config, "agwm", 5).name == "agwm--rte--tiny--nall--seed5.json"
    assert record_path(tmp_path, config, "agwm", 5, "k5").name == "k5--rte--tiny--nall--seed5.json"


# Methods with epochs of their own: twenty, if nothing is said.
OWN_EPOCHS = ("lora", "prompt_tuning", "prefix_tuning")


@contextmanager
def counted_rows():
    """Count the rows that a BERT encoder reads in passes with gradient."""
    rows = [0]

    def count(module, inputs):
        if isinstance(module, BertEncoder) and torch.is_grad_enabled():
            rows[0] += len(inputs[0])

    handle = register_module_forward_pre_hook(count)
    try:
        yield rows
    finally:
        handle.remove()


@pytest.mark.parametrize("method", METHODS)
def test_passes_are_those_that_a_run_makes(method, tiny_model, own_files):
    data = {"train_file": str(own_files[0]), "test_file": str(own_files[1]), "text_columns": ["text"]}
    fast = {"epochs": 1, "batch_size": 4}
    config = RunConfig.from_dict(
        {
            "task": "order",
            "model": str(tiny_model),
            "train_size": "whole",
            "device": "cpu",
            "data": data,
            "vanilla": fast,
            "rivals": {"top_k": {"num_blocks": 1}, **{name: {"epochs": 2} for name in OWN_EPOCHS}},
            "final": fast,
            "hypergradient": {"scheme": "central"},
            "search": {**fast, "num_resplits": 2, "evaluations": 0},
        }
    )
    with counted_rows() as rows:
        record, _ = run_one(config, method, 1, load_examples(config), progress=False)
    planned = planned_passes(config, method, 40)
    assert record.train_info.passes == planned
    # Where a warm-up begins, at a rate of 0, a search takes no difference: two passes less in each of two.
    less = 2 * 2 if method == "agwm" else 0
    # Looks without gradient: coefficients on two batches of held-out examples, the head's on all ten.
    less = {"wise_ft": 11 * 2 / 3, "setfit": 10 / 3}.get(method, less)
    if method == "probe":  # it takes no gradient: a third of a pass for each of ten batches
        assert rows[0] == 0 and planned == 10 / 3
    else:
        assert rows[0] / 4 == pytest.approx(planned - less)
    # all examples, no dev set, and the label of a run without one
    assert record.train_size == record.train_info.num_train == 40
    assert record.scores.dev is None and record.score is not None
    assert record.label == method and record_of(record.to_dict(), "a.json") == record


def test_the_plan_counts_what_is_left_and_says_what_it_assumes(tmp_path):
    path = write(tmp_path, tasks=["mrpc"])
    path.write_text(path.read_text() + yaml.safe_dump({"seconds_per_pass": 0.5}))
    grid = load_grid(path, {"output_dir": str(tmp_path / "out")})
    one = next(cell for cell in grid.cells if cell.label == "vanilla")
    done = one.path
    done.parent.mkdir(parents=True)
    info = run_info(one.config, one.method, one.seed, "data", 300, one.label)
    write_json(done, failed_record(info, "f1", "a reason", 1.0).to_dict())
    agwm, vanilla = sorted(plan_rows(Work(grid.cells)), key=lambda row: row.cell.label)
    test = 408 / 16 / 3
    assert evaluation_passes(grid.cells[0].config) == pytest.approx(test)
    assert (vanilla.num_cells, vanilla.num_finished, vanilla.passes) == (5, 1, 57)
    assert vanilla.passes_left == pytest.approx(4 * (57 + test))
    assert agwm.passes == 5 * 45 * 2 + 57  # K searches of 45 steps of 1 + 1 + 2 passes
    done.unlink()
    rows = plan_rows(Work(grid.cells))
    times = pass_times(rows, grid.cells, grid.seconds_per_pass)
    hours = 0.5 * 5 * (57 + agwm.passes + 2 * test) / 3600
    assert f"{hours:.1f} hours of one device" in plan_summary(rows, times)
    assert "an assumption of the grid file, not measured" in plan_summary(rows, times)
    assert "| vanilla | mrpc | minilm | 300 | 5 | 0 | 57 |" in " ".join(plan_table(rows, times).split())
    given = pass_times(rows, grid.cells, grid.seconds_per_pass, 2.0)
    assert given["minilm"].seconds == 2 and "--seconds-per-pass" in given["minilm"].source
    assert "No estimate of the time for minilm" in plan_summary(rows, pass_times(rows, grid.cells, {}))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_grids_of_the_project_load(path):
    cells = load_grid(path).cells
    every = {"agwm", "frozen"} if path.name == "agwm_search.yaml" else set(METHODS) - NOT_IN_GRIDS
    assert cells and {cell.method for cell in cells} == every
    for cell in cells:  # whatever stands in a grid can be planned
        assert planned_passes(cell.config, cell.method, 300) > 0


def test_labels_of_the_search_differ_from_minilm_s_in_what_they_are_named_for():
    def settings(name):
        cells = load_grid(GRIDS / name).cells
        return {
            (c.label, c.config.task, c.seed): flat_settings(run_settings(c.config, c.method, c.seed))
            for c in cells
        }

    other, own = settings("minilm.yaml"), settings("agwm_search.yaml")
    assert len(own) == 75 and not other.keys() & own.keys()
    named = {
        "agwm_k1_sgd": ("agwm_k1", {"hypergradient.best_response"}),
        "agwm_k1_identity": ("agwm_k1", {"hypergradient.best_response"}),
        "frozen_2x": ("frozen", {"search.epochs"}),
        "agwm_2x_lr0": ("agwm_k1_lr0", {"search.epochs"}),
        "agwm_2x": ("agwm_k1", {"search.epochs"}),
    }
    for (label, *place), found in own.items():
        reference, keys = named[label]
        expected = other[(reference, *place)]
        assert {k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k)} == keys


def test_grids_of_the_paper_are_the_paper_s():
    low = load_grid(GRIDS / "paper_lowres.yaml")
    bert = [cell for cell in low.cells if cell.config.model == "bert-large-cased"]
    assert {cell.config.task for cell in bert} == set(GLUE_TASKS)
    assert {cell.config.train_size for cell in bert} == {300, 500, 1000}
    assert {cell.seed for cell in bert} == set(OFFICIAL_SEEDS)
    full = load_grid(GRIDS / "paper_table.yaml")
    assert {cell.config.task for cell in full.cells} == {"cola", "mrpc", "rte", "stsb"}
    assert {cell.config.train_size for cell in full.cells} == {"whole"}
    families = {cell.config.model for cell in full.cells if cell.method == "agwm"}
    assert len(families) == 5 and "bert-large-cased" in families
    for grid in (low, full):
        assert {c.config.mixing.formula for c in grid.cells if c.method == "agwm"} == {"factored"}
        assert grid.seconds_per_pass


def test_dry_run_loads_no_model_and_no_data(tmp_path, capsys):
    options = [
        "--grid",
        str(GRIDS / "paper_table.yaml"),
        "--dry-run",
        "--output-dir",
        str(tmp_path / "out"),
    ]
    assert main(options) == 0
    out = capsys.readouterr().out
    assert "hours of one device" in out and "an assumption" in out
    assert main([*options, "--seconds-per-pass", "1.5", "--method", "vanilla", "--task", "rte"]) == 0
    out = capsys.readouterr().out
    assert "1.5 s a pass, as given by --seconds-per-pass" in out and "mrpc" not in out
    assert not (tmp_path / "out").exists()
    assert main([*options, "--config", "x.yaml"]) == 2
    assert "expected one of --config, --grid and --tune" in capsys.readouterr().err
