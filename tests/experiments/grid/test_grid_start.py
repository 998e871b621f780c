"""What the start of a grid costs in a folder of many records: counted, since seconds differ."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from agwm.experiments import record
from agwm.experiments.grid import stores
from tests.programs import main


@pytest.fixture
def command(grid_file, tmp_path):
    """A grid of two labels, of which all cells are finished, and its arguments."""
    methods = {"vanilla": {}, "short": {"method": "vanilla", "vanilla": {"warmup_ratio": 0}}}
    arguments = ["--grid", str(grid_file(methods=methods)), "--jobs", "0"]
    assert main(arguments) == 0
    return arguments


@pytest.fixture
def work(monkeypatch, command):
    """Run the command; return how often each record is read, and how many settings are made."""

    def run(*more):
        reads, settings = Counter(), []
        read_json, run_settings = record.read_json, stores.run_settings

        def read(path, *rest, **named):
            reads[path.rpartition("/")[2]] += 1
            return read_json(path, *rest, **named)

        def make(*given):
            settings.append(given)
            return run_settings(*given)

        record._read.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(record, "read_json", read)
            patched.setattr(stores, "run_settings", make)
            assert main([*command, *more]) == 0
        return reads, len(settings)

    return run


def copy_records(folder, seeds, change=lambda values: None):
    """Lay records of other seeds beside those of the first."""
    for path in sorted(folder.glob("*--seed1017.json")):
        values = json.loads(path.read_text())
        for seed in seeds:
            values["run_info"]["seed"] = values["run_info"]["settings"]["seed"] = seed
            change(values)
            name = f"{values['run_info']['label']}--order--tiny--n20--seed{seed}.json"
            path.with_name(name).write_text(json.dumps(values, indent=2) + "\n")


def test_a_record_is_read_once(work, tmp_path):
    results = tmp_path / "out" / "results"
    own = {path.name: 1 for path in results.iterdir()}
    assert len(own) == 4 and work("--dry-run") == (own, 2) and work() == (own, 2)
    copy_records(results, range(10))
    every = {path.name: 1 for path in results.iterdir()}
    assert len(every) == 24 and work()[0] == every  # the table at the end is of all


def test_the_start_does_not_grow_with_records_that_are_not_the_grid_s(work, tmp_path):
    results = tmp_path / "out" / "results"

    def label(values):
        values["run_info"]["label"] = f"other{values['run_info']['seed']}"

    copy_records(results, [0])
    expected, num_settings = work("--dry-run")
    assert sum(expected.values()) == 4 + 2  # its own, and another seed of each row
    copy_records(results, range(1, 30))
    assert work("--dry-run") == (expected, num_settings)
    copy_records(results, range(30, 60), label)
    found = work("--dry-run")[0]
    assert found.total() == expected.total() + 1  # the task and model are those of other labels as well
    for path in sorted(results.glob("vanilla--*")):
        path.with_name(path.name.replace("order", "another")).write_text(path.read_text())
    assert work("--dry-run")[0] == found


def test_what_is_wrong_beside_the_grid_is_found_where_it_would_be_mixed(command, tmp_path, capsys):
    results = tmp_path / "out" / "results"

    def other_settings(values):
        values["run_info"]["settings"]["vanilla"]["epochs"] = 3

    copy_records(results, [5, 6])
    (results / "vanilla--order--tiny--n20--seed6.json").write_text('{"run_info": ')
    for more in ([], ["--dry-run"]):
        assert main([*command, *more]) == 2
        assert "seed6.json': expected a record" in capsys.readouterr().err
    copy_records(results, [5, 6], other_settings)
    assert main([*command, "--override"]) == 2
    assert "of label 'vanilla' do not belong together" in capsys.readouterr().err.replace(
        "short", "vanilla"
    )


@pytest.mark.parametrize("content", ["", "[]", "{}\n"])
def test_a_planned_record_that_was_read_is_read_again_when_it_has_changed(
    content, command, tmp_path, capsys
):
    (path,) = (tmp_path / "out" / "results").glob("vanilla--*--seed1017.json")
    assert main([*command, "--dry-run"]) == 0
    path.write_text(content)
    assert main([*command, "--dry-run"]) == 2
    assert "seed1017.json" in capsys.readouterr().err
