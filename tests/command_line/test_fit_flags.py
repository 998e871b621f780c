"""Flags of ``agwm fit`` and ``agwm predict``, read into what the functions behind them take.

A stand-in takes the place of those functions: they train, and have tests of their own.
"""

from __future__ import annotations

import inspect

import pytest

from agwm.command_line import fit, predict
from agwm.command_line.flags import Parser
from agwm.command_line.guard import notice, report, run_command
from agwm.command_line.main import main
from agwm.model_selection.options import FitOptions

NEEDED = ["train.csv", "--text", "body", "--label", "stars", "--output-dir", "out"]


def called(command, *argv):
    """Return the arguments with which a command calls the function behind it."""
    calls = []
    parser = Parser(prog="agwm")
    command.add_flags(parser)

    def stand_in(*values, **names):
        calls.append((values, names))

    assert run_command(lambda arguments: command.run(arguments, stand_in), parser, argv) == 0
    (call,) = calls
    return call


def test_fit_with_nothing_but_what_it_needs():
    values, names = called(fit, *NEEDED)
    assert values == ("train.csv", ["body"], ["stars"], None, "out", FitOptions())
    files = dict.fromkeys(("encoding", "separator", "sheet", "positive", "multi_label", "regression"))
    assert names == {**files, "report": report, "notice": notice}


def test_fit_with_every_flag():
    flags = (
        "--test test.csv --model dir --methods probe,lora --methods agwm --budget large --metric macro_f1"
    )
    flags += " --class-weight balanced --lr 1e-4 --epochs 7 --max-length 64 --seeds 4 --seed 5"
    flags += " --device cpu --jobs 2 --positive yes --encoding latin-1 --separator ; --sheet rows"
    flags += " --trust-remote-code"
    values, names = called(fit, *NEEDED, *flags.split())
    assert values[3] == "test.csv"
    assert values[5] == FitOptions(
        model="dir",
        methods=["probe", "lora", "agwm"],
        budget="large",
        metric="macro_f1",
        class_weight="balanced",
        learning_rate=1e-4,
        epochs=7,
        max_length=64,
        seeds=4,
        seed=5,
        device="cpu",
        jobs=2,
        trust_remote_code=True,
    )
    assert (names["encoding"], names["separator"], names["sheet"]) == ("latin-1", ";", "rows")
    assert names["positive"] == "yes"


def test_every_option_has_a_flag():
    parser = Parser()
    fit.add_flags(parser)
    names = set(inspect.signature(FitOptions).parameters)
    assert names <= {action.dest for action in parser._actions}


@pytest.mark.parametrize("flags", [["--text", "a,b"], ["--text", "a", "--text", "b"]])
def test_two_columns(flags):
    needed = [*NEEDED[:1], *NEEDED[3:], *flags]
    assert called(fit, *needed)[0][1] == ["a", "b"]
    assert called(predict, "folder", *flags)[0][2] == ["a", "b"]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--epochs many", "Cannot read --epochs: expected an integer, got 'many'"),
        ("--epochs 0", "--epochs is out of range: expected an integer >= 1 or null, got 0"),
        ("--max-length 4", "--max-length is out of range: expected an integer >= 8, got 4"),
        ("--lr nan", "--lr is out of range: expected a number >= 0 or null, got nan"),
        ("--budget medum", "--budget is unknown: expected one of small, normal, large, got 'medum'"),
        ("--class-weight even", "--class-weight is unknown: expected one of balanced or null, got 'even'"),
        ("--seed -1", "--seed is out of range"),
        ("--methods ,", "Empty flag"),
    ],
)
def test_a_wrong_value_names_its_flag(flags, line, capsys):
    assert main(["fit", *NEEDED, *flags.split()]) == 2
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1


def test_predict_with_nothing_but_the_folder():
    values = ("folder", None, None, None, "auto", None, None, None)
    assert called(predict, "folder") == (values, {"trust_remote_code": False})
    assert called(predict, "folder", "-")[0][1] is None


def test_predict_with_every_flag():
    flags = "new.csv --text a -o out.csv --device cpu --encoding latin-1 --separator ; --sheet rows"
    flags += " --trust-remote-code"
    assert called(predict, "folder", *flags.split()) == (
        ("folder", "new.csv", ["a"], "out.csv", "cpu", "latin-1", ";", "rows"),
        {"trust_remote_code": True},
    )


def test_predict_does_not_go_on(capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    parser = Parser()
    predict.add_flags(parser)
    assert run_command(lambda arguments: predict.run(arguments, stop), parser, ["folder"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"
