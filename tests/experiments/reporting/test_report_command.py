"""The command: strict input, one line for a mistake, every file whole."""

from __future__ import annotations

import json
import re

import pytest

from agwm.errors import DataError
from agwm.experiments.reporting.page import report_files
from agwm.experiments.reporting.runs import load_runs
from tests.experiments.records import changed
from tests.experiments.reporting.synthetic import make_records, write_records
from tests.programs import load_program

main = load_program("report").main


@pytest.fixture
def failing(capsys):
    """Run the command, expect the exit code 2 and one line; return the line."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
        return err

    return run


def test_the_whole_report(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    folder = write_records(tmp_path / "runs", make_records())
    out = tmp_path / "deep" / "report"
    assert main([str(folder), "--output-dir", str(out)]) == 0
    page = (out / "report.md").read_text(encoding="utf-8")
    files = {path.name for path in out.iterdir()}
    linked = set(re.findall(r"\]\(([^)]+)\)", page))
    assert files == linked | {"report.md"} and len(files) == 8
    assert {
        "scores--tiny--n300.png",
        "alpha--agwm_k5--tiny--n300.png",
        "alpha_effect--tiny--n300.png",
    } <= files
    assert f"python examples/report.py {folder} --output-dir {out}" in page
    assert "Made from 23 records (1 failed, 11 degenerate, 0 not above chance)" in page
    assert re.search(r"### Failed runs\n\n.*\n.*\n\| agwm +\| rte +\| +6 \| not finite \|\n", page)
    assert "`frozen` is not the exact control of `agwm_k5`: `search.num_resplits` differ" in page
    # the published numbers stand apart, after all that was measured
    assert page.index("## Published numbers") > page.index("### Cost, and runs counted")
    assert "68.97" not in page[: page.index("## Published numbers")]
    assert (
        "| vanilla " in (out / "tables.md").read_text()
        and r"\begin{tabular}" in (out / "tables.tex").read_text()
    )
    assert "begin with report.md" in capsys.readouterr().out
    # the same records give the same page
    first = page
    assert main([str(folder), "--output-dir", str(out)]) == 0
    assert (out / "report.md").read_text(encoding="utf-8") == first


def test_failed_runs_have_their_reasons(tmp_path):
    records = make_records(
        {"vanilla": {"stsb": (None, 0.5, None), "rte": (None,)}, "agwm": {"rte": (0.6,)}}
    )
    reasons = iter(("a worker was ended by SIGKILL", "OSError: disk | full", "not finite"))
    records = [changed(r, failure=next(reasons)) if r.failure else r for r in records]
    page = report_files(load_runs([write_records(tmp_path / "runs", records)]), "command")["report.md"]
    lines = page[page.index("### Failed runs") :].splitlines()[4:7]
    assert [" ".join(line.split()) for line in lines] == [
        "| vanilla | rte | 5 | not finite |",
        "| vanilla | stsb | 5 | a worker was ended by SIGKILL |",
        "| vanilla | stsb | 7 | OSError: disk \\| full |",
    ]
    # a table does not say why, since it does not know
    assert "Failed: gave no score" in page and "Failed: not finite" not in page
    whole = [record for record in records if not record.failure]
    page = report_files(load_runs([write_records(tmp_path / "whole", whole)]), "command")["report.md"]
    assert "### Failed runs" not in page


def test_several_folders_with_or_without_results(tmp_path):
    records = make_records()
    first = write_records(tmp_path / "a", records[:10])
    second = write_records(tmp_path / "b", records[10:])
    runs = load_runs([first, second / "results"])
    assert len(runs) == len(records) and {run.label for run in runs} == {
        "vanilla",
        "frozen",
        "agwm",
        "agwm_k5",
    }


def test_no_records(tmp_path, failing):
    assert "No records: expected JSON files" in failing(tmp_path, "--output-dir", tmp_path / "out")
    assert "No records" in failing(tmp_path / "missing", "--output-dir", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "--output-dir" in failing(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a record, got JSONDecodeError"),
        ("[1]", "is no record"),
        ('{"run_info": {}, "train_info": {}, "scores": {"test": 1}}', "its run_info.method is missing"),
        (None, "expected a record, got ValueError: NaN, which is no finite number"),
    ],
)
def test_something_else_is_no_record(tmp_path, failing, content, message):
    record = make_records()[0].to_dict()
    record["scores"]["test"] = float("nan")
    folder = tmp_path / "runs"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "a.json").write_text(content or json.dumps(record))
    line = failing(folder, "--output-dir", tmp_path / "out")
    assert message in line and str(folder / "results" / "a.json") in line and "Remove it" in line


def test_records_of_tuning_are_refused(tmp_path, failing):
    records = [changed(record, test=None) for record in make_records()]
    line = failing(write_records(tmp_path / "runs", records), "--output-dir", tmp_path / "out")
    assert "Records of tuning make no table: expected a test score" in line and "tuning.md" in line
    assert not (tmp_path / "out").exists()


def test_other_settings_of_one_label_are_refused(tmp_path, failing):
    records = make_records()
    records[1] = changed(records[1], settings={**records[1].settings, "vanilla": {"epochs": 5}})
    folder = write_records(tmp_path / "runs", records)
    line = failing(folder, "--output-dir", tmp_path / "out")
    assert "of label 'vanilla'" in line and "vanilla.epochs = 3 and 5" in line
    assert "000.json" in line and "001.json" in line


def test_other_settings_with_a_label_of_their_own_are_taken(tmp_path):
    records = make_records()
    other = {**records[1].settings, "vanilla": {"epochs": 5}}
    records[1] = changed(records[1], settings=other, label="vanilla_5")
    assert len(load_runs([write_records(tmp_path / "runs", records)])) == len(records)


@pytest.mark.parametrize("key", ["data", "metric", "settings"])
def test_methods_on_other_data_are_refused(tmp_path, key):
    records = []
    for record in make_records():
        own = {"data": "1", "metric": "f1", "settings": {**record.settings, "max_length": 64}}
        is_other = record.method == "agwm" and record.task == "rte"
        records.append(changed(record, **{key: own[key]}) if is_other else record)
    with pytest.raises(
        DataError, match="on task 'rte' do not belong together: .*(examples|metric|max_length) = "
    ):
        load_runs([write_records(tmp_path / "runs", records)])


def test_a_run_that_is_there_twice_is_refused(tmp_path):
    folders = [write_records(tmp_path / name, make_records()[:2]) for name in "ab"]
    with pytest.raises(DataError, match=r"A run is there twice: .*seed 5, got .*a.results.000.json"):
        load_runs(folders)


def test_without_vanilla_and_control_there_are_no_tests(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    records = [r for r in make_records() if r.method == "agwm"]
    out = tmp_path / "out"
    assert main([str(write_records(tmp_path / "runs", records)), "--output-dir", str(out)]) == 0
    page = (out / "report.md").read_text(encoding="utf-8")
    assert "No tests: there are no records of `vanilla`" in page
    assert "No tests: there are no records of `frozen`" in page
    assert not list(out.glob("alpha_effect*"))


def test_settings_that_differ_between_tasks_are_shown(tmp_path):
    records = [
        changed(r, settings={**r.settings, "vanilla": {"epochs": 10}})
        if (r.method, r.task) == ("vanilla", "stsb")
        else r
        for r in make_records()
    ]
    page = report_files(load_runs([write_records(tmp_path / "runs", records)]), "command")["report.md"]
    assert re.search(r"\| vanilla \| `vanilla.epochs` \| rte: 3, stsb: 10 +\|", page)
