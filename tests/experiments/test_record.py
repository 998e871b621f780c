"""A record is read whole or not at all, and written as it was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agwm.errors import DataError
from agwm.experiments.record import read_record, record_of
from agwm.files import write_json
from tests.experiments.records import changed, make_record

ROOT = Path(__file__).resolve().parents[2]
STORED = sorted((ROOT / "docs" / "results").glob("*/results/*.json"))


def reason(content):
    """Read content that is no record; return what is said between its file's name and the remedy."""
    with pytest.raises(DataError) as stop:
        record_of(content, "a.json")
    start, end = "'a.json' is no record: ", " Remove it, and its run is made again."
    text = str(stop.value)
    assert text.startswith(start) and text.endswith(end) and "\n" not in text
    return text[len(start) : -len(end)]


@pytest.mark.skipif(not STORED, reason="no records in docs/results")
def test_committed_records_are_written_as_they_are_read(tmp_path):
    for path in STORED:
        write_json(tmp_path / "a.json", read_record(path).to_dict())
        assert (tmp_path / "a.json").read_bytes() == path.read_bytes(), path.name


def test_numbers_keep_their_type():
    scores = {"passes": 57, "total_seconds": 1, "test": 1, "dev": 0.5}
    text = json.dumps(make_record(**scores).to_dict())
    assert '"passes": 57,' in text and '"total_seconds": 1,' in text and '"test": 1,' in text
    assert '"passes": 57.5,' in json.dumps(make_record(passes=57.5).to_dict())


def test_a_model_failure_is_written_only_where_there_is_one(tmp_path):
    content = make_record().to_dict()
    assert "model_failure" not in content["train_info"]
    content["train_info"]["model_failure"] = "disk full"
    record = record_of(content, "a.json")
    assert record.train_info.model_failure == "disk full" and record.to_dict() == content


SECTION = "of the wrong type: expected a section"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("run_info", [], f"its run_info is {SECTION}, got []."),
        ("run_info.seed", True, "its run_info.seed is out of range: expected an integer"),
        ("run_info.train_size", 0, "its run_info.train_size is out of range: expected an integer >= 1"),
        ("run_info.method", 3, "its run_info.method is wrong: expected a text"),
        ("run_info.method", "VANILLA", "expected run_info.method to be one of vanilla, "),
        ("run_info.label", "", "its run_info.label is wrong: expected a text that is not empty"),
        ("run_info.settings", 3, f"its run_info.settings is {SECTION}, got 3."),
        ("run_info.settings", {"search": 3}, "expected run_info.settings.search to be a section, got 3."),
        ("run_info.versions", {"torch": 2}, f"its run_info.versions is {SECTION}, each a text"),
        (
            "train_info.passes",
            None,
            "its train_info.passes is out of range: expected a number >= 0",
        ),
        ("train_info.passes", -1, "its train_info.passes is out of range"),
        ("train_info.total_seconds", "1.5", "its train_info.total_seconds is out of range"),
        ("train_info.seconds", {"search": -1}, f"its train_info.seconds is {SECTION}, each a number >= 0"),
        ("train_info.alpha", {"w": {"mean": "1"}}, f"its train_info.alpha is {SECTION}, each a section"),
        ("train_info.alpha", {"w": {"mean": 1.0}}, "expected train_info.alpha.w.min, got no such key."),
        ("train_info.failure", 3, "its train_info.failure is wrong: expected a text"),
        ("train_info.failure", "why", "expected a score, or the reason of a failure, got both."),
        ("train_info.history", [1], "its train_info.history is of the wrong type: expected a list"),
        ("scores.test", float("nan"), "its scores.test is of the wrong type: expected a number or null"),
        ("scores.test", "0.6", "its scores.test is of the wrong type: expected a number or null"),
        ("scores.is_degenerate", None, "its scores.is_degenerate is of the wrong type: expected true or"),
    ],
)
def test_a_wrong_value_is_named(name, value, expected):
    content = make_record().to_dict()
    section, _, key = name.partition(".")
    if key:
        content[section][key] = value
    else:
        content[section] = value
    assert reason(content).startswith(expected)


@pytest.mark.parametrize("content", [[1], None, "run_info", 3])
def test_other_json_is_no_record(content):
    assert reason(content).startswith(f"its content is {SECTION}, got ")


def test_every_key_is_missed():
    whole = make_record().to_dict()
    for section, values in whole.items():
        others = {name: one for name, one in whole.items() if name != section}
        assert reason(others).startswith(f"its {section} is missing: ")
        for key in values:
            content = {**whole, section: {k: v for k, v in values.items() if k != key}}
            assert reason(content).startswith(f"its {section}.{key} is missing: ")


@pytest.mark.parametrize("section", ["", "run_info", "train_info", "scores"])
def test_an_unknown_key_is_refused(section):
    content = make_record().to_dict()
    (content[section] if section else content)["note"] = 1
    assert reason(content).startswith(f"its {section}{'.' * bool(section)}note is unknown: expected one of")


def test_versions_may_grow():
    record = make_record(versions={"torch": "2.4", "of tomorrow": "1"})
    assert record.run_info.versions["of tomorrow"] == "1"


def test_a_run_without_a_score_says_why():
    failed = make_record(test=None)
    assert reason(failed.to_dict() | {"scores": make_record().to_dict()["scores"]}).endswith("got both.")
    content = failed.to_dict()
    content["train_info"]["failure"] = None
    assert reason(content).endswith("got neither.")
    assert changed(make_record(), test=None).scores.dev == 0.6  # a run of tuning


def test_what_cannot_be_read_is_not_to_be_removed(tmp_path):
    with pytest.raises(
        DataError, match=r"expected a record, got a folder, pipe or device. Make it readable"
    ):
        read_record(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a.json': expected a record, got JSONDec.*Remove"):
        read_record(tmp_path / "a.json")
