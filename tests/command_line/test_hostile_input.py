"""Whatever a file or a flag holds, a command goes on or ends in one line: no traceback, no hang."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.hostile import judgement
from benchmarks.hostile.cases import KINDS
from benchmarks.hostile.count import count
from benchmarks.hostile.judgement import Case, examine
from benchmarks.hostile.place import RUN, make_place

pytestmark = pytest.mark.skipif(os.name != "posix", reason="alarms")
FEW, MANY = 20, 1250  # inputs of a kind; of all kinds together MANY are 10,000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("place"))


def check(kind, place, tries):
    found = count(kind, KINDS[kind](place), place, tries)
    assert not found.faults, found.faults[0]
    assert found.tried == found.accepted + found.refused and min(found.accepted, found.refused) > 0


@pytest.mark.filterwarnings("default")  # a warning is no end
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_input_is_one_line(kind, place):
    check(kind, place, FEW)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", KINDS)
def test_much_hostile_input_is_one_line(kind, place):
    check(kind, place, MANY)


LONG = "x" * 300
FIT, PREDICT = ["fit", "train.csv", "--text", "text", "--label", "label"], ["predict", "saved", "new.csv"]


@pytest.mark.parametrize(
    "name", [LONG, f"{LONG}.csv", "a" * 5000, "字" * 90], ids=["300", "csv", "5000", "wide"]
)
@pytest.mark.parametrize(
    "argv",
    [
        ["fit", "{}", *FIT[2:], "--output-dir", "out"],
        [*FIT, "--output-dir", "out", "--test", "{}"],
        [*FIT, "--output-dir", "out", "--model", "{}"],
        [*FIT, "--output-dir", "{}"],
        ["predict", "{}", "new.csv"],
        ["predict", "saved", "{}"],
        [*PREDICT, "-o", "{}"],
        ["report", "{}", "--output-dir", "out"],
        ["report", "runs", "--output-dir", "{}"],
        *([*RUN, flag, "{}"] for flag in ("--model", "--output-dir", "--data-dir", "--train-file")),
        *(["compare", flag, "{}"] for flag in ("--config", "--grid", "--tune")),
    ],
    ids=lambda argv: f"{argv[0]} {argv[argv.index('{}') - 1]}",
)
def test_names_that_are_longer_than_those_of_files_are_one_line(argv, name, place):
    parts = ("train.csv", "test.csv", "new.csv", "tiny", "saved", "runs", "config.yaml")
    found = examine(Case([word.replace("{}", name) for word in argv], parts), place)
    assert found.end == "refused", found.words


def end_of(monkeypatch, place, main):
    monkeypatch.setattr(judgement, "main", main)
    return examine(Case(RUN), place).end


def said(line, code=2):
    def main(argv):
        sys.stderr.write(line)
        return code

    return main


def raising(error):
    def main(argv):
        raise error

    return main


def hanging(argv):
    while True:
        pass


def test_what_counts_as_a_fault(monkeypatch, place):
    """The harness itself: it sees a traceback, a hang, a line of another form and another exit code."""
    monkeypatch.setattr(judgement, "TIMEOUT", 1)
    good = "error: Cannot read 'a': expected YAML, got none. Correct it.\n"
    assert end_of(monkeypatch, place, said("", 0)) == "accepted"
    assert end_of(monkeypatch, place, said(f"a notice\n{good}")) == "refused"
    for main in (
        said("error: it does not work\n"),
        said("Traceback (most recent call last):\n" + good),
        said(good + good),
        said(good, 3),
        said(good[:-1] + "\x1b\n"),
        said("error: a: expected b" + "c" * 700),
        raising(ValueError("x")),
        hanging,
    ):
        assert end_of(monkeypatch, place, main) == "fault"


def test_a_traceback_in_a_file_is_a_fault(monkeypatch, place):
    """The guard of the commands writes it into a file, and says one line; that is no refusal."""
    case = Case(RUN, ("config.yaml", "train.csv", "test.csv", "tiny"))
    assert examine(case, place).end == "accepted"
    monkeypatch.setattr("agwm.experiments.run.check_device", raising(RuntimeError("x")))
    found = examine(case, place)
    assert found.end == "fault" and "Traceback" in found.words
