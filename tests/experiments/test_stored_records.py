"""What lies in a folder beside the runs to come: refused before the first run if they do not fit."""

from __future__ import annotations

import json

import pytest
import yaml

from agwm.errors import DataError
from agwm.experiments.reporting.rows import summarize
from tests.experiments.records import make_record
from tests.programs import main


@pytest.fixture
def command(tiny_model, own_files, tmp_path):
    """Return arguments of runs of vanilla of a moment each: as flags, or as a grid."""
    train, test = map(str, own_files)
    settings = {
        "data": {"train_file": train, "test_file": test, "text_columns": ["text"]},
        "device": "cpu",
        "vanilla": {"epochs": 1},
        "output_dir": str(tmp_path / "out"),
    }

    def make(kind, seeds, *more):
        path = tmp_path / "given.yaml"
        if kind == "grid":
            block = {
                "tasks": ["order"],
                "train_sizes": [20],
                "models": [str(tiny_model)],
                "methods": {"vanilla": {}},
            }
            path.write_text(yaml.safe_dump({"settings": settings, "grid": {**block, "seeds": [1]}}))
            return ["--grid", str(path), "--jobs", "0", "--seeds", seeds, *more]
        own = {"task": "order", "train_size": 20, "model": str(tiny_model), "methods": ["vanilla"]}
        path.write_text(yaml.safe_dump({**settings, **own}))
        return ["--config", str(path), "--seeds", seeds, *more]

    return make


@pytest.fixture
def refused(tmp_path, capsys):
    """Run the command, expect exit code 2, one line and nothing written; return the line."""

    def run(arguments):
        files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        capsys.readouterr()
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and err.count("\n") == 1
        now = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert now == files
        return err

    return run


@pytest.mark.parametrize("kind", ["config", "grid"])
def test_other_settings_on_other_seeds_are_refused_before_the_first_run(kind, command, refused, tmp_path):
    assert main(command(kind, "1,2")) == 0
    line = refused(command(kind, "3,", "--set", "vanilla.learning_rate=0.5"))
    assert "of label 'vanilla' do not belong together" in line and "vanilla.learning_rate = " in line
    assert "seed1.json" in line and "the run to come, vanilla--order--tiny--n20--seed3.json" in line
    # replacing some of the seeds mixes as well, replacing all of them does not
    assert "seed2.json" in refused(command(kind, "2,", "--override", "--set", "vanilla.learning_rate=0.5"))
    again = command(kind, "1,2", "--override", "--set", "vanilla.learning_rate=0.5")
    assert main(again) == 0
    assert main(command(kind, "1,2,3", "--set", "vanilla.learning_rate=0.5")) == 0


def test_other_data_on_other_seeds_are_refused_before_the_first_run(command, refused, own_files):
    assert main(command("config", "1,")) == 0
    own_files[0].write_text(own_files[0].read_text().replace("the bad man", "the big man", 1))
    assert "on task 'order' do not belong together: expected the same settings, got examples = " in refused(
        command("config", "2,")
    )


@pytest.mark.parametrize("kind", ["config", "grid"])
def test_a_broken_record_is_found_before_the_first_run(kind, command, refused, tmp_path):
    assert main(command(kind, "1,")) == 0
    (own,) = (tmp_path / "out" / "results").glob("*.json")
    whole = own.read_text()
    own.write_text(whole[:100])
    line = refused(command(kind, "1,"))
    assert f"Cannot read {str(own)!r}: expected a record" in line and "Remove it" in line
    record = json.loads(whole)
    del record["train_info"]["passes"]
    own.write_text(json.dumps(record))
    assert "train_info.passes" in refused(command(kind, "1,"))
    if kind == "grid":
        assert "train_info.passes" in refused(command(kind, "1,", "--dry-run"))
    assert main(command(kind, "1,", "--override")) == 0  # it was to be replaced anyway
    foreign = own.with_name("foreign.json")
    foreign.write_text("{")
    assert f"Cannot read {str(foreign)!r}: expected a record" in refused(command(kind, "1,2"))
    assert "foreign.json" in refused(command(kind, "1,", "--override"))


def test_broken_records_of_tuning_are_found_before_the_first_run(refused, tmp_path):
    results = tmp_path / "out" / "tuning" / "results"
    results.mkdir(parents=True)
    (results / "a.json").write_text("{}")
    arguments = ["--tune", "--output-dir", str(tmp_path / "out"), "--task", "stsb", "--data-dir", "none"]
    assert "its run_info is missing" in refused(arguments)
    assert "its run_info is missing" in refused([*arguments, "--dry-run"])


def test_means_over_several_settings_are_refused():
    settings = {"vanilla": {"learning_rate": 0.5}}
    records = [make_record("vanilla", 1), make_record("vanilla", 2, settings=settings)]
    with pytest.raises(DataError, match=r"rate = None and 0.5 in 'record 0 of vanilla, rte, seed 1"):
        summarize(records)
