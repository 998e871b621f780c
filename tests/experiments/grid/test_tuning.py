"""Settings are chosen by dev score alone, of as many candidates for every method."""

from __future__ import annotations

import json

import pytest
import yaml

from agwm.errors import ConfigError
from agwm.experiments.config import OFFICIAL_SEEDS
from agwm.experiments.grid.candidates import choose, tuned_yaml, tuning_table
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.tuning import TUNING_SEEDS, load_tuning
from agwm.methods import METHODS
from tests.experiments.grid.test_grid import NOT_IN_GRIDS
from tests.experiments.records import make_record
from tests.programs import ROOT, main

TUNING = ROOT / "agwm" / "configs" / "grids" / "tuning.yaml"


def rates(*values):
    return [{"vanilla": {"learning_rate": value}} for value in values]


@pytest.fixture
def tuning_file(tmp_path):
    def write(methods=None, **changes):
        methods = methods or {
            "vanilla": rates(1e-4, 2e-4),
            "long": [{"method": "vanilla_long", **one} for one in rates(1e-4, 2e-4)],
        }
        block = {"tasks": ["rte", "stsb"], "train_sizes": [300], "models": ["minilm"], "methods": methods}
        path = tmp_path / "tuning.yaml"
        path.write_text(yaml.safe_dump({"tune": {**block, **changes}}))
        return path

    return write


def record(label, task, seed, dev, passes=57):
    failure = "not finite" if dev is None else None
    scores = {"test": None, "dev": dev, "failure": failure}
    return make_record("vanilla", seed, task=task, model="minilm", label=label, passes=passes, **scores)


def records(label, scores, passes=57):
    """Of both tasks, one score a seed."""
    return [
        record(label, task, seed, score, passes)
        for task, row in zip(("rte", "stsb"), scores, strict=True)
        for seed, score in zip(TUNING_SEEDS, row, strict=True)
    ]


def test_the_best_mean_over_tasks_is_chosen(tuning_file):
    tuning = load_tuning(tuning_file())
    runs = [
        *records("vanilla.1", [(0.5, 0.6, 0.7), (0.9, 0.9, 0.9)]),
        *records("vanilla.2", [(0.6, 0.6, 0.6), (0.8, 0.8, 0.95)]),
        *records("long.1", [(0.5, 0.5, 0.5), (0.5, 0.5, 0.5)], passes=200),
        *records("long.2", [(0.5, 0.5, 0.5), (0.5, 0.5, 0.5)], passes=100),
    ]
    chosen, candidates = choose(tuning, runs)
    assert chosen["vanilla"].number == 1 and chosen["vanilla"].mean == pytest.approx((0.6 + 0.9) / 2)
    assert chosen["long"].number == 2  # the cheaper of equal ones
    table = tuning_table(chosen, candidates)
    row = next(line for line in table.splitlines() if "| vanilla | 1 |" in line)
    assert "| 75.00 ± 4.08 | 6 | 0 | 57 | yes |" in row and "vanilla.learning_rate=0.0001" in row
    assert table.count("yes |") == 2


def test_tasks_count_the_same_whatever_their_numbers_of_seeds(tuning_file):
    tuning = load_tuning(tuning_file())
    runs = [
        *records("vanilla.1", [(0.9, 0.9, 0.9), (0.5, 0.5, None)]),
        *records("vanilla.2", [(0.7, 0.7, 0.7), (0.72, 0.72, None)]),
        *records("long.1", [(0.5, None, None), (0.9, 0.9, 0.9)]),
        *records("long.2", [(0.9, None, None), (0.7, 0.7, 0.7)]),
    ]
    chosen, candidates = choose(tuning, runs)
    # of all scores taken together the others would be better: 0.74 to 0.708, and 0.8 to 0.75
    assert {label: one.number for label, one in chosen.items()} == {"vanilla": 2, "long": 2}
    means = {f"{one.label}.{one.number}": one.mean for one in candidates}
    assert means == pytest.approx({"vanilla.1": 0.7, "vanilla.2": 0.71, "long.1": 0.7, "long.2": 0.8})


def test_failed_runs_come_last_and_missing_ones_leave_no_choice(tuning_file):
    tuning = load_tuning(tuning_file())
    runs = [
        *records("vanilla.1", [(0.9, 0.9, None), (0.9, 0.9, 0.9)]),
        *records("vanilla.2", [(0.5, 0.5, 0.5), (0.5, 0.5, 0.5)]),
        *records("long.1", [(0.5, 0.5, 0.5), (0.5, 0.5, 0.5)])[:-1],
        *records("long.2", [(0.5, 0.5, 0.5), (0.5, 0.5, 0.5)]),
    ]
    chosen, candidates = choose(tuning, runs)
    assert chosen["vanilla"].number == 2 and set(chosen) == {"vanilla"}
    assert next(c for c in candidates if (c.label, c.number) == ("vanilla", 1)).num_failed == 1


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (
            {"vanilla": rates(1e-4), "agwm": [{}, {"search": {"epochs": 1}}]},
            {},
            "Budgets in .* differ.*agwm: 2",
        ),
        ({"vanilla": []}, {}, "Budgets"),
        ({"vanilla": {}}, {}, "Wrong candidates of 'vanilla'"),
        ({"vanilla": rates(1e-4, 1e-4)}, {}, "repeat"),
        ({"vanila": rates(1e-4)}, {}, "Did you mean 'vanilla'"),
        ({"vanilla": [{"search": {"epochs": 1}}]}, {}, "does nothing"),
        (None, {"seeds": 3}, "expected a list of seeds"),
        (None, {"train_sizes": ["whole"]}, "no dev set"),
        (None, {"sizes": [300]}, "'tune.sizes' in .* is unknown: .* Did you mean 'tune.train_sizes'"),
    ],
)
def test_mistakes_in_a_tuning_file(tuning_file, methods, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_tuning(tuning_file(methods, **changes))


def test_tuning_seeds_are_not_those_of_the_report(tuning_file):
    assert not set(TUNING_SEEDS) & set(OFFICIAL_SEEDS)
    assert load_tuning(tuning_file()).seeds_of_report == []
    assert load_tuning(tuning_file(), seeds=[1017]).seeds_of_report == [1017]
    assert {cell.seed for cell in load_tuning(tuning_file(), seeds=2).cells} == set(TUNING_SEEDS[:2])
    with pytest.raises(ConfigError, match="expected 1 to 3, got 5"):
        load_tuning(tuning_file(), seeds=5)


def test_a_setting_laid_over_all_candidates_is_not_one_of_theirs(tuning_file):
    with pytest.raises(ConfigError, match=r"'vanilla.learning_rate' of --set .* candidates of 'long'"):
        load_tuning(tuning_file(), assignments=["vanilla.learning_rate=2e-4"])
    cells = load_tuning(tuning_file(), assignments=["vanilla.epochs=1"]).cells
    assert {cell.config.vanilla.epochs for cell in cells} == {1}
    assert {cell.config.vanilla.learning_rate for cell in cells} == {1e-4, 2e-4}


def test_blocks_have_settings_of_their_own_and_the_same_candidates(tuning_file):
    path = tuning_file()
    block = yaml.safe_load(path.read_text())["tune"]
    blocks = [
        {**block, "tasks": ["stsb"], "settings": {"vanilla": {"epochs": 10}}},
        {**block, "tasks": ["rte"]},
    ]
    path.write_text(yaml.safe_dump({"tune": blocks}))
    tuning = load_tuning(path)
    assert {(c.config.task, c.config.vanilla.epochs) for c in tuning.cells} == {("stsb", 10), ("rte", 3)}
    assert set(tuning.candidates) == {"vanilla", "long"}
    runs = records("vanilla.1", [(0.5, 0.6, 0.7), (0.9, 0.9, 0.9)])
    runs += records("vanilla.2", [(0.6, 0.6, 0.6), (0.8, 0.8, 0.95)])
    assert choose(tuning, runs)[0]["vanilla"].number == 1
    blocks[1]["methods"] = {"vanilla": rates(1e-4, 3e-4)}
    path.write_text(yaml.safe_dump({"tune": blocks}))
    with pytest.raises(ConfigError, match="have different candidates"):
        load_tuning(path)
    path.write_text(yaml.safe_dump({"tune": [blocks[0], blocks[0]]}))
    with pytest.raises(ConfigError, match="have one record"):
        load_tuning(path)


def test_seconds_of_a_pass_are_assumed_as_in_a_grid(tuning_file):
    path = tuning_file()
    path.write_text(path.read_text() + "seconds_per_pass: {minilm: 2}\n")
    assert load_tuning(path).seconds_per_pass == {"minilm": 2.0}
    path.write_text(path.read_text().replace("minilm: 2", "other: 2"))
    with pytest.raises(ConfigError, match="'seconds_per_pass.other' .* expected a model of the grid"):
        load_tuning(path)


def test_the_project_s_file_is_fair():
    tuning = load_tuning(TUNING)
    assert {len(several) for several in tuning.candidates.values()} == {6}
    assert {cell.method for cell in tuning.cells} == set(METHODS) - NOT_IN_GRIDS
    assert tuning.seeds_of_report == []
    # what is written is what a grid takes
    first = {label: one for label, one in tuning.candidates.items()}
    assert list(first) == [name for name in METHODS if name in first]


def test_agwm_and_its_controls_have_as_many_candidates():
    tuning = load_tuning(TUNING.parent / "alpha_tuning.yaml")
    assert {len(several) for several in tuning.candidates.values()} == {6}
    controls = {
        "vanilla",
        "vanilla_long",
        "vanilla_steps",
        "wise_ft",
        "weight_average",
        "frozen",
        "as_drawn",
    }
    assert set(tuning.candidates) == controls | {"lora", "agwm", "agwm_lr1e-2"}


def test_tune_from_the_command_line(tiny_model, own_files, tmp_path, capsys):
    block = {
        "tasks": ["order"],
        "train_sizes": [20],
        "models": [str(tiny_model)],
        "seeds": [11],
        "methods": {
            "vanilla": rates(1e-4, 1e-3),
            "frozen": [{"search": {"epochs": 1}}, {"search": {"epochs": 2}}],
        },
    }
    settings = {
        "vanilla": {"epochs": 1},
        "final": {"epochs": 1},
        "search": {"evaluations": 0},
        "device": "cpu",
    }
    path = tmp_path / "tuning.yaml"
    path.write_text(yaml.safe_dump({"settings": settings, "tune": block}))
    train, test = map(str, own_files)
    out = tmp_path / "out"
    options = ["--tune", str(path), "--jobs", "0", "--output-dir", str(out), "--train-file", train]
    options += ["--test-file", test, "--text-columns", "text", "--task", "order", "--train-size", "20"]
    assert main([*options, "--method", "vanilla"]) == 0
    assert set(yaml.safe_load((out / "tuned.yaml").read_text())) == {"vanilla"}
    assert main(options) == 0
    assert "No test example was scored" in capsys.readouterr().out
    stored = [json.loads(file.read_text()) for file in (out / "tuning" / "results").iterdir()]
    assert len(stored) == 4 and not (out / "results").exists()
    for run in stored:
        assert run["scores"]["test"] is None and run["scores"]["dev"] is not None
        assert run["train_info"]["num_test"] == 0 and run["run_info"]["label"].count(".") == 1
    tuned = yaml.safe_load((out / "tuned.yaml").read_text())
    assert tuned["vanilla"] in block["methods"]["vanilla"] and set(tuned) == {"vanilla", "frozen"}
    (out / "grid.yaml").write_text(yaml.safe_dump({"grid": {**block, "seeds": 1, "methods": "tuned.yaml"}}))
    assert {cell.label for cell in load_grid(out / "grid.yaml").cells} == {"vanilla", "frozen"}
    assert (out / "tuning.md").read_text().count("yes |") == 2
    # what is run later of some labels, or chosen for one model, takes nothing away
    assert main([*options, "--method", "vanilla"]) == 0
    assert yaml.safe_load((out / "tuned.yaml").read_text()) == tuned
    assert main([*options, "--model", str(tiny_model)]) == 0
    assert yaml.safe_load((out / f"tuned--{tiny_model.name}.yaml").read_text()) == tuned
    capsys.readouterr()
    assert main([*options, "--set", "output_dir=elsewhere"]) == 2
    assert "Pass --output-dir" in capsys.readouterr().err
    assert tuned_yaml({}) == "{}\n"
