"""What a method refuses is kept beside the records, counts as ended in a tuning, and is in the report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from agwm.errors import DataError
from agwm.experiments.grid.candidates import choose, tuning_table
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.execution import run_grid
from agwm.experiments.grid.tuning import load_tuning
from agwm.experiments.grid.work import Work
from agwm.experiments.refusals import (
    REFUSED,
    Refusal,
    load_refusals,
    read_refusals,
    refusal_of,
    store_refusals,
)
from agwm.experiments.reporting.page import report_files
from agwm.experiments.reporting.runs import load_runs
from tests.experiments.records import make_record
from tests.programs import load_program, main

ONE = Refusal("a", "a", "t", "m", 3, "r", "s").__dict__


def top_k(num_blocks):
    return {"method": "top_k", "rivals": {"top_k": {"num_blocks": num_blocks}}}


@pytest.fixture
def tune(one_block, own_files, tmp_path):
    """Tune vanilla and top_k; ``tune(1, 2)`` gives top_k candidates of one and of two blocks."""

    def run(*num_blocks, options=()):
        block = {
            "tasks": ["order"],
            "train_sizes": [20],
            "models": [str(one_block)],
            "seeds": [11],
            "methods": {
                "vanilla": [{"vanilla": {"learning_rate": rate}} for rate in (1e-4, 1e-3)],
                "top_k": [{"rivals": {"top_k": {"num_blocks": number}}} for number in num_blocks],
            },
        }
        settings = {"vanilla": {"epochs": 1}, "device": "cpu"}
        path = tmp_path / "tuning.yaml"
        path.write_text(yaml.safe_dump({"settings": settings, "tune": block}))
        train, test = map(str, own_files)
        given = ["--tune", str(path), "--jobs", "0", "--output-dir", str(tmp_path / "out")]
        given += ["--train-file", train, "--test-file", test, "--text-columns", "text", *options]
        given += ["--task", "order", "--train-size", "20"]
        assert main(given) == 0
        table = (tmp_path / "out" / "tuning.md").read_text(encoding="utf-8")
        return yaml.safe_load((tmp_path / "out" / "tuned.yaml").read_text()), table

    return run


def line(table, start):
    return next(text for text in table.splitlines() if text.startswith(start))


def test_a_refused_candidate_counts_as_ended(tune, tmp_path):
    tuned, table = tune(1, 2)
    assert tuned["top_k"] == {"rivals": {"top_k": {"num_blocks": 1}}} and "vanilla" in tuned
    assert line(table, "| top_k | 1 |").endswith("| 1 | 0 | 2 | yes |")
    assert line(table, "| top_k | 2 |").endswith("| - | 0 | 0 | 0 | refused |")
    assert "Refused: top_k 2 (Method 'top_k' does not fit BertFor" in table and "No choice" not in table
    # what is run later of other labels takes nothing away
    assert tune(1, 2, options=["--method", "vanilla"])[0] == tuned
    # a refusal is of the settings it was made with: of a candidate that is another now, the run is missing
    later, table = tune(1, 0, options=["--method", "vanilla"])
    assert "top_k" not in later and "No choice: top_k (runs are missing)" in table
    assert line(table, "| top_k | 2 |").endswith("| - | 0 | 0 | 0 | 1 missing |")
    tuned, table = tune(1, 0)
    assert "top_k" in tuned and "Refused:" not in table and "No choice" not in table
    assert json.loads((tmp_path / "out" / "tuning" / REFUSED).read_text()) == []


def test_a_label_of_which_all_candidates_are_refused_gets_no_choice(tune):
    tuned, table = tune(3, 2)
    assert set(tuned) == {"vanilla"}
    assert (
        "No choice: top_k (Method 'top_k' does not fit" in table and "got 3." in table and "got 2." in table
    )


def test_candidates_with_refused_runs_come_after_those_without(tmp_path):
    path = tmp_path / "tuning.yaml"
    block = {"tasks": ["rte", "stsb"], "train_sizes": [300], "models": ["minilm"], "seeds": [11]}
    rates = [{"vanilla": {"learning_rate": rate}} for rate in (1e-4, 2e-4)]
    path.write_text(yaml.safe_dump({"tune": {**block, "methods": {"vanilla": rates}}}))
    tuning = load_tuning(path)
    refused = [
        refusal_of(cell.config, "vanilla", cell.label, 300, "no.")
        for cell in tuning.cells
        if cell.config.task == "stsb"
    ]

    def record(number, task, dev):
        scores = {"test": None, "dev": dev, "failure": None, "passes": 1}
        return make_record("vanilla", 11, task=task, model="minilm", label=f"vanilla.{number}", **scores)

    whole = [record(1, "rte", 0.9), record(2, "rte", 0.5), record(2, "stsb", 0.5)]
    chosen, candidates = choose(tuning, whole, refused)  # a run that is there counts, whatever was refused
    assert chosen["vanilla"].number == 2 and not chosen["vanilla"].refusals
    table = tuning_table(chosen, candidates)
    assert line(table, "| vanilla | 1 |").endswith("| 90.00 | 1 | 0 | 1 | 1 refused |")
    assert "Refused: vanilla 1 (no.)" in table
    # where all are refused on the same task, the others decide
    chosen, candidates = choose(tuning, whole[:2], refused)
    assert chosen["vanilla"].number == 1
    assert line(tuning_table(chosen, candidates), "| vanilla | 1 |").endswith("| yes, 1 refused |")
    # a refused candidate does not stand for one that was not run
    chosen, candidates = choose(tuning, [], [one for one in refused if one.label == "vanilla.1"])
    assert chosen == {} and "No choice: vanilla (runs are missing)" in tuning_table(chosen, candidates)
    assert choose(tuning, whole[:2], [])[0] == {}
    # a refusal of other settings is of another run
    moved = [replace(one, settings="0") for one in refused]
    assert choose(tuning, whole[:2], moved)[0] == {}


def test_a_grid_keeps_its_refusals_until_they_are_none(grid_file, tmp_path, tiny_model):
    out = tmp_path / "out"
    methods = {"vanilla": {}, "top_9": top_k(9), "top_8": top_k(8)}
    run_grid(Work(load_grid(grid_file(methods=methods)).cells, jobs=0), progress=False)
    text = (out / REFUSED).read_text(encoding="utf-8")
    found = json.loads(text)
    assert [
        (one["label"], one["method"], one["task"], one["model"], one["train_size"]) for one in found
    ] == [(label, "top_k", "order", "tiny", 20) for label in ("top_8", "top_9")]
    assert "got 8" in found[0]["reason"] and str(tiny_model.parent) not in text and "seed" not in found[0]
    # another part of the grid leaves them, a repetition changes nothing
    stamp = (out / REFUSED).stat().st_mtime_ns
    run_grid(Work(load_grid(grid_file(methods={"vanilla": {}})).cells, jobs=0), progress=False)
    run_grid(Work(load_grid(grid_file(methods=methods)).cells, jobs=0), progress=False)
    assert (out / REFUSED).stat().st_mtime_ns == stamp
    # one that can be run now drops out
    run_grid(Work(load_grid(grid_file(methods={"top_9": top_k(1)})).cells, jobs=0), progress=False)
    assert [one.label for one in read_refusals(out)] == ["top_8"]


def test_the_report_tells_refused_from_not_run(grid_file, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    out, methods = tmp_path / "out", {"vanilla": {}, "top_9": top_k(9), "recadam": {}}
    for task in ("order", "other"):
        cells = load_grid(grid_file(methods=methods, tasks=[task], seeds=1)).cells
        run_grid(Work([cell for cell in cells if cell.method != "recadam"], jobs=0), progress=False)
    runs = load_runs([out])
    for folder in (out, out / "results"):
        assert load_program("report").main([str(folder), "--output-dir", str(tmp_path / "report")]) == 0
        page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
        section = page.split("### Refused\n")[1].split("\n#")[0]
        (row,) = [text for text in section.splitlines() if text.startswith("| top_9")]
        assert "| order, other |" in row and "expected num_blocks of at most 2, got 9" in row
        assert "recadam" not in page and page.index("### Refused") < page.index("## Published numbers")
    assert "### Refused" not in report_files(runs, "command")["report.md"]
    # a record says more than an earlier refusal
    stale = [Refusal("vanilla", "vanilla", task, "tiny", 20, "once", "0") for task in ("order", "other")]
    assert "### Refused" not in report_files(runs, "command", stale)["report.md"]
    # a model on which nothing ran has its section
    alone = Refusal("top_k", "top_k", "order", "small", 20, "too few blocks.", "0")
    page = report_files(runs, "command", [alone])["report.md"]
    assert "## small, 20 training examples\n\n### Refused" in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "expected a list of refusals, got JSONDecodeError"),
        ("{}", "its content is of the wrong type: expected a list, got {}"),
        ('[{"label": "top_k"}]', "its 0.method is missing"),
        ("[1]", "its 0 is of the wrong type: expected a section, got 1"),
        (json.dumps([{**ONE, "seed": 1}]), "its 0.seed is unknown: expected one of 0.label, 0.method"),
        (
            json.dumps([ONE, {**ONE, "train_size": "3"}]),
            "its 1.train_size is out of range: expected an integer >= 1, got '3'",
        ),
        (
            json.dumps([{**ONE, "reason": ""}]),
            "its 0.reason is wrong: expected a text that is not empty, got ''",
        ),
    ],
)
def test_a_wrong_file_is_one_line(grid_file, tmp_path, capsys, content, message):
    path = grid_file(methods={"vanilla": {}}, seeds=1)
    run_grid(Work(load_grid(path).cells, jobs=0), progress=False)
    (tmp_path / "out" / REFUSED).write_text(content)
    capsys.readouterr()
    arguments = [str(tmp_path / "out"), "--output-dir", str(tmp_path / "report")]
    assert load_program("report").main(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and message in err and "refused.json'" in err
    with pytest.raises(DataError, match="refused.json'"):
        run_grid(Work(load_grid(path).cells, jobs=0), progress=False)


def test_folders_are_read_together(tmp_path):
    one, two = (
        Refusal("a", "vanilla", "t", "m", 3, "r", "s"),
        Refusal("b", "vanilla", "t", "m", 3, "r", "s"),
    )
    for name, own in (("x", [two, one]), ("y", [one])):
        (tmp_path / name / "results").mkdir(parents=True)
        store_refusals(tmp_path / name, own)
    assert load_refusals([tmp_path / "x", tmp_path / "y" / "results"]) == [one, two]
    assert load_refusals([tmp_path]) == []
    store_refusals(tmp_path / "y", [], [one.place])
    assert read_refusals(tmp_path / "y") == []
