"""The benchmark runs on a tiny model, counts passes, and compares with the targets what it measured."""

from __future__ import annotations

import copy
import math
import runpy
import sys

import pytest
import torch

from agwm.errors import ConfigError
from agwm.files import read_json
from benchmarks import bench, models, targets, timing, variants
from benchmarks.page import render

PASSES = {
    "vanilla step": (1, 1),
    "plain forward and backward": (1, 1),
    "agwm, forward scheme": (3, 3),
    "agwm, central scheme": (4, 4),
    "agwm, explicit scheme": (2, 2),
    "agwm, first order": (2, 2),
    "agwm, central scheme, 1/2 of the batch": (3, 3),
    "agwm, central scheme, 1/4 of the batch": (2.5, 2.5),
    "stock Betty, darts": (4, 5),
    "stock Betty, darts, roll-back": (5, 6),
    "agwm, final stage": (1, 1),
    "injected, convex, forward and backward": (1, 1),
    "injected, factored, forward and backward": (1, 1),
    "formula written out, forward and backward": (1, 1),
}
SEARCHES = ("agwm, forward scheme", "agwm, central scheme", "agwm, explicit scheme", "agwm, first order")
MASKS, EVALUATION = "the inner step's masks", "evaluation mode"
ALL_STEPS = "the masks of all inner steps"


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The result of one run of all parts, and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
            patch.delenv(name, raising=False)
        folder = tmp_path_factory.mktemp("bench")
        return bench.main(["--smoke", "--repeats", "2", "--out", str(folder)]), folder


def by_name(records):
    return {record["name"]: record for record in records}


def test_json_holds_the_result(smoke):
    result, folder = smoke
    assert read_json(folder / "search_step.json") == result
    assert (
        set(result["parts"])
        == set(result["part_seconds"])
        == {
            "time",
            "memory",
            "fidelity",
            "growth",
            "run",
        }
    )


def test_time_and_passes(smoke):
    records = by_name(smoke[0]["parts"]["time"])
    assert {n: (r["forward_passes"], r["backward_passes"]) for n, r in records.items()} == PASSES
    for record in records.values():
        assert len(record["all_seconds"]) == 2 and record["ratio_to"] in PASSES
        for figure in ("seconds", "ratio"):
            quartiles = record[figure]
            assert 0 < quartiles["q1"] <= quartiles["median"] <= quartiles["q3"] < math.inf
    for name in ("vanilla step", "plain forward and backward"):
        assert records[name]["ratio"] == {"q1": 1.0, "median": 1.0, "q3": 1.0}


def test_indirect_term_is_compared_with_the_exact_one(smoke):
    records = {(r["name"], r["against"]): r for r in smoke[0]["parts"]["fidelity"]}
    central = records["agwm, central scheme", MASKS]
    assert [step["step"] for step in central["steps"]] == [2, 3, 4, 5, 6]
    assert central["cosine"] > 0.999 and central["error"] < 0.05
    forward = records["agwm, forward scheme", MASKS]
    assert central["error"] < forward["error"] < 0.5
    for share in (2, 4):  # other masks and other examples
        assert records[f"agwm, central scheme, 1/{share} of the batch", MASKS]["error"] > forward["error"]
    for against in (MASKS, EVALUATION):
        assert records["stock Betty, darts", against]["cosine"] < 0.9
    unrolled = {n: records[f"agwm, central scheme, unroll_steps {n}", ALL_STEPS] for n in (1, 2, 4)}
    assert unrolled[1]["cosine"] > 0.999 and unrolled[1]["error"] < 0.05
    assert unrolled[1]["error"] < unrolled[2]["error"]  # one of two steps is left out
    assert len(records) == 9


def test_growth_is_per_inner_step(smoke):
    points = {(r["what"], r["value"]): r["ratios"] for r in smoke[0]["parts"]["growth"]}
    assert {what for what, _ in points} == {"hidden", "layers", "length", "unroll_steps"}
    assert all(set(ratios) == set(SEARCHES) for ratios in points.values())
    assert all(ratio["median"] > 0 for ratios in points.values() for ratio in ratios.values())


def test_unrolled_search_makes_one_outer_step():
    size = bench.SMOKE
    for settings, expected in (({"scheme": "forward"}, 2 + 2), ({"order": "first"}, 2 + 1)):
        variant = variants.search("unrolled", size, models.CPU, settings, unroll_steps=2)
        variant.step()
        assert timing.count_passes(variant.model, variant.step) == (expected, expected)


def test_passes_of_a_whole_run_are_those_expected(smoke):
    run = smoke[0]["parts"]["run"]
    assert run["passes"]["vanilla"] == run["passes_expected"]["vanilla"]
    # no difference is taken where the warm-up begins, at a learning rate of zero
    assert run["passes"]["recipe"] == run["passes_expected"]["recipe"] - 1
    assert run["passes_ratio"] == run["passes"]["recipe"] / run["passes"]["vanilla"]


def test_page_names_everything(smoke):
    result, folder = smoke
    page = (folder / "search_step.md").read_text(encoding="utf-8")
    assert all(page.count(f"| {name} |") >= 1 for name in PASSES)
    assert torch.__version__ in page and result["command"] in page and str(folder) not in page
    assert all(page.count(f"| {target['name']} |") == 1 for target in result["targets"])
    assert "not measured" not in page


def test_targets_are_judged_by_what_was_measured(smoke):
    result = copy.deepcopy(smoke[0])
    parts = result["parts"]

    def outcome(name):
        record = next(r for r in targets.judge(parts) if r["name"] == name)
        return record["figure"], record["is_met"]

    forward = by_name(parts["time"])["agwm, forward scheme"]
    for value, is_met in ((3.1, True), (3.11, False)):
        forward["ratio"]["median"] = value
        assert outcome("iteration / vanilla step, forward scheme") == (value, is_met)
    by_name(parts["time"])["stock Betty, darts, roll-back"]["all_seconds"] = [6.8, 3.4]
    forward["all_seconds"] = [4.0, 2.0]
    assert outcome("stock Betty with roll-back / agwm forward") == (1.7, True)
    forward["all_seconds"] = [4.1, 2.1]
    assert not outcome("stock Betty with roll-back / agwm forward")[1]
    for record in parts["fidelity"]:
        record["cosine"] = 0.9995
    assert outcome("cosine of the indirect term, central") == (0.9995, False)
    assert outcome("cosine of the indirect term, forward") == (0.9995, True)
    del parts["memory"]
    persistent = next(t.name for t in targets.TARGETS if t.part == "memory")
    assert outcome(persistent) == (None, None)
    result["targets"] = targets.judge(parts)
    text = render(result)
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("|")}
    assert lines["cosine of the indirect term, central"].endswith("| **missed** |")
    assert lines["cosine of the indirect term, forward"].endswith("| met |")
    assert lines[persistent].endswith("| not measured |")


def test_parts_device_and_precision_are_in_the_result(tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "8000000000")
    result = bench.main(["--smoke", "--parts", "fidelity", "--precision", "bf16", "--out", str(tmp_path)])
    assert list(result["parts"]) == ["fidelity"] and result["card"] is None
    assert "--parts fidelity" in result["command"] and "--precision bf16" in result["command"]
    name = "search_step_bf16_malloc"
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.json", f"{name}.md"}
    page = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert "bfloat16" in page and "`MALLOC_TRIM_THRESHOLD_=8000000000 python -m benchmarks" in page
    # bfloat16 has 8 bits: the masks are the right ones, the difference is not to four digits
    central = by_name(result["parts"]["fidelity"])["agwm, central scheme"]
    assert 0.9 < central["cosine"] < 0.99999


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_smoke_on_a_gpu(tmp_path, precision):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    arguments = ["--smoke", "--repeats", "2", "--device", "cuda", "--precision", precision]
    result = bench.main([*arguments, "--out", str(tmp_path)])
    assert result["card"] in (tmp_path / f"{next(tmp_path.glob('*.md')).name}").read_text(encoding="utf-8")
    assert by_name(result["parts"]["fidelity"])["agwm, central scheme"]["cosine"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "0"], "--layers"),
        (["--repeats", "0"], "--repeats"),
        (["--hidden", "7"], "--heads"),
        (["--parts", "time,speed"], "--parts .*'speed'"),
    ],
)
def test_bad_option_is_named_and_nothing_is_written(arguments, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        bench.main(["--smoke", *arguments, "--out", str(tmp_path / "bench")])
    assert not (tmp_path / "bench").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="--device"):
        bench.main(["--smoke", "--device", "cuda", "--out", str(tmp_path / "bench")])


def test_command_line_prints_the_page(tmp_path, monkeypatch, capsys):
    arguments = ["--smoke", "--parts", "run", "--repeats", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("benchmarks", run_name="__main__")
    assert stop.value.code == 0
    page = next(tmp_path.glob("search_step*.md")).read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == page.strip()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--layers", "0"), "error: --layers is out of range: expected a whole number >= 1, got 0."),
        (("--layer", "x"), "error: Cannot read the command line: "),
    ],
)
def test_command_line_reports_a_mistake_in_one_line(monkeypatch, capsys, flags, message):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--smoke", *flags])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("benchmarks", run_name="__main__")
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == ""
    assert err.startswith(message) and err.count("\n") == 1
