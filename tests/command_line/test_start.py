"""The command line answers at once, and every mistake in it is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from agwm._version import __version__
from agwm.command_line.main import COMMANDS, main
from tests.programs import ROOT

HEAVY = ("torch", "transformers", "datasets", "numpy", "scipy", "sklearn", "pandas", "betty", "yaml")
QUICK = [
    (["--help"], 0),
    ([], 0),
    (["--version"], 0),
    *([[name, "--help"], 0] for name in COMMANDS),
    (["ft"], 2),
    (["fit", "--txt", "a"], 2),
    (["compare", "--methood", "agwm"], 2),
    (["compare", "--jobs", "2"], 2),
    (["predict"], 2),
    (["report", "a"], 2),
]
# One process for all: what takes time is to start one.
PROGRAM = """
import json, sys
from agwm.command_line.main import main
codes = []
for argv in json.loads(sys.argv[1]):
    try:
        codes.append(main(argv))
    except SystemExit as stop:
        codes.append(stop.code or 0)
print(json.dumps([codes, [name for name in json.loads(sys.argv[2]) if name in sys.modules]]))
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def test_help_and_slips_import_no_heavy_library():
    arguments = [json.dumps([argv for argv, _ in QUICK]), json.dumps(HEAVY)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env=ENVIRONMENT, capture_output=True, text=True
    )
    codes, loaded = json.loads(done.stdout.splitlines()[-1])
    assert codes == [code for _, code in QUICK] and loaded == []
    lines = done.stderr.splitlines()
    assert len(lines) == sum(code == 2 for _, code in QUICK)
    assert all(line.startswith("error: ") for line in lines)


def test_as_a_module_and_as_a_script():
    command = [sys.executable, "-m", "agwm", "--version"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == (f"agwm {__version__}\n", "", 0)
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert "console_scripts =\n    agwm = agwm.command_line.main:main\n" in text


@pytest.fixture
def refused(capsys):
    def run(*argv):
        assert main(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
        return err.strip()

    return run


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["fti"], "expected a command of agwm, got 'fti'. Did you mean 'fit'? See agwm --help."),
        (
            ["fit", "a.csv", "--txt", "b"],
            "expected a flag of agwm fit, got '--txt'. Did you mean '--text'? See agwm fit --help.",
        ),
        (
            ["fit", "--epcohs=6"],
            "expected a flag of agwm fit, got '--epcohs'. Did you mean '--epochs'? See agwm fit --help.",
        ),
        (["--zzz", "1"], "expected a flag of agwm, got '--zzz'. See agwm --help."),
        (
            ["fit", "a.csv", "--label", "b"],
            "expected arguments as agwm fit --help lists them, got others (the following arguments are"
            " required: --text, --output-dir).",
        ),
        (
            ["compare", "--epochs"],
            "expected arguments as agwm compare --help lists them, got others (argument --epochs: expected"
            " one argument).",
        ),
        (
            ["predict", "a", "b", "c"],
            "expected arguments as agwm --help lists them, got others (unrecognized arguments: c).",
        ),
    ],
)
def test_a_slip_is_one_line(refused, argv, line):
    assert refused(*argv) == f"error: Cannot read the command line: {line}"


def test_flags_are_not_abbreviated(refused):
    assert "got '--tex'. Did you mean '--text'?" in refused("fit", "--tex", "a")


def test_the_value_of_a_flag_is_no_name(refused):
    # "-x y" and a negative number are values, and what follows two dashes is no flag
    assert "out of range: expected a number >= 0, got -1.0" in refused("compare", "--lr", "-1")
    assert "'--odd'" in refused("report", "--output-dir", "a", "--", "--odd")


def test_nobody_reads_the_help():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "agwm", "compare", "--help"]
    done = subprocess.run(command, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
