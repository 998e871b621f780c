"""Flags of ``agwm compare`` become settings, and say what they set."""

from __future__ import annotations

import argparse

import pytest

from agwm.command_line.compare_flags import add_flags
from agwm.command_line.compare_settings import assignments_of, config_of, notes_of
from agwm.command_line.flags import Parser
from agwm.command_line.main import main
from agwm.experiments.grid.cells import Cell

FOUR = ["--lr", "1e-4", "--epochs", "7", "--max-length", "64", "--device", "cuda:1"]


def parsed(*argv) -> argparse.Namespace:
    parser = Parser()
    add_flags(parser)
    return parser.parse_args(argv)


def cells_of(config):
    return [Cell(name, name, seed, config) for seed in config.seed_list for name in config.methods]


def test_four_flags_set_all_stages():
    config = config_of(parsed(*FOUR))
    for stage in (config.vanilla, config.search, config.final):
        assert (stage.learning_rate, stage.epochs) == (1e-4, 7)
    assert (config.max_length, config.device) == (64, "cuda:1")
    untouched = config_of(parsed()).rivals
    assert config.rivals == untouched and untouched.lora.learning_rate == 3e-4


def test_set_goes_before_a_flag_and_a_flag_before_a_file(tmp_path):
    (tmp_path / "own.yaml").write_text("vanilla: {learning_rate: 0.5, epochs: 2}\nmax_length: 16\n")
    flags = ["--config", str(tmp_path / "own.yaml"), *FOUR, "--set", "vanilla.learning_rate=0.25"]
    config = config_of(parsed(*flags))
    assert (config.vanilla.learning_rate, config.vanilla.epochs, config.max_length) == (0.25, 7, 64)
    assert config.search.learning_rate == 1e-4
    assert config_of(parsed(*flags[:2])).vanilla.learning_rate == 0.5


def test_nothing_given_is_nothing_set():
    assert assignments_of(parsed()) == [] and notes_of(parsed(), cells_of(config_of(parsed()))) == []
    assert assignments_of(parsed("--set", "device=cpu")) == ["device=cpu"]


def test_what_a_flag_leaves_alone_is_said():
    arguments = parsed("--lr", "1e-4", "--epochs", "7", "--method", "vanilla,lora,prompt_tuning")
    assert notes_of(arguments, cells_of(config_of(arguments))) == [
        "--lr 1e-4 is the learning rate of vanilla, search, final; lora keeps its own, 0.0003;"
        " prompt_tuning keeps its own, 0.01 (--set rivals.lora.learning_rate=1e-4 changes it).",
        "--epochs 7 is the number of epochs of vanilla, search, final; lora keeps its own, 20;"
        " prompt_tuning keeps its own, 20 (--set rivals.lora.epochs=7 changes it).",
    ]
    arguments = parsed("--lr", "1e-4", "--method", "vanilla,mixout")
    assert notes_of(arguments, cells_of(config_of(arguments))) == [
        "--lr 1e-4 is the learning rate of vanilla, search, final."
    ]


def test_a_config_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_of(parsed("--config", "paper/glue_lowres")).model == "bert-large-cased"
    assert config_of(parsed("--config", "configs/minilm.yaml")).vanilla.epochs == 6


def test_a_grid_of_the_package_and_the_flags_over_its_cells(tmp_path, capsys):
    flags = ["--grid", "grids/minilm", "--method", "vanilla,lora", "--task", "sst2", "--seeds", "1"]
    flags += ["--dry-run", "--output-dir", str(tmp_path / "out")]
    assert main(["compare", *flags]) == 0
    before = capsys.readouterr()
    assert main(["compare", *flags, "--epochs", "1"]) == 0
    after = capsys.readouterr()
    assert before.err == "" and "--epochs 1 is the number of epochs of vanilla, search, final" in after.err
    lines = [line for text in (before.out, after.out) for line in text.splitlines()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    passes = [int(row[6]) for row in rows if row[:2] == ["vanilla", "sst2"]]
    assert passes == [3 * 19, 19]


def test_rates_are_what_tuning_compares(capsys):
    assert main(["compare", "--tune", "--lr", "1e-4"]) == 2
    assert "error: Flag --lr is not of --tune" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--config", "--grid", "--tune"])
def test_a_file_that_is_not_there(flag, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", flag, "nowhere.yaml"]) == 2
    err = capsys.readouterr().err
    assert "Cannot read config 'nowhere.yaml'" in err and err.count("\n") == 1


def test_a_missing_column_names_the_flags_of_the_command(tmp_path, capsys):
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(40)))
    given = ["--output-dir", str(tmp_path / "out")]
    compare = ["compare", "--task", "own", "--train-file", str(rows), "--test-file", str(rows), *given]
    assert main(compare) == 2
    words = "lacks column 'sentence1': expected it once, got 'text', 'label'."
    assert f"{words} Correct --text-columns or --label-column." in capsys.readouterr().err
    assert main(["fit", str(rows), "--text", "texts", "--label", "label", *given]) == 2
    assert "Did you mean 'text'? Correct --text or --label." in capsys.readouterr().err
