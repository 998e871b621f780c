"""Tables and pictures are made from records alone."""

from __future__ import annotations

import builtins
import math
import statistics

import pytest

from agwm.errors import ConfigError, DataError, MissingExtraError
from agwm.experiments.config import load_config
from agwm.experiments.records import FOLDER, find_finished, load_records, record_path
from agwm.experiments.reporting.pictures import alpha_grid, draw_alpha, draw_scores
from agwm.experiments.reporting.rows import markdown_table, summarize
from agwm.files import write_json
from tests.experiments.records import make_record

SCORES = {1017: 0.61, 4803: 0.48, 6757: 0.70}


def records_of(method="agwm", **changes):
    return [make_record(method, seed, score, **changes) for seed, score in SCORES.items()]


def test_mean_and_std_with_ddof_0():
    (row,) = summarize(records_of())
    assert row.scores == tuple(SCORES.values()) and row.seeds == tuple(SCORES)
    assert row.mean == pytest.approx(sum(SCORES.values()) / 3)
    by_hand = math.sqrt(sum((s - row.mean) ** 2 for s in SCORES.values()) / 3)
    assert row.std == pytest.approx(by_hand)
    assert by_hand != pytest.approx(statistics.stdev(SCORES.values()))
    assert (row.num_degenerate, row.num_failed) == (1, 0)


def test_failed_runs_are_counted_and_not_in_the_mean():
    (row,) = summarize([*records_of(), make_record("agwm", 9618, None)])
    assert row.num_failed == 1 and len(row.scores) == 3
    (row,) = summarize([make_record("agwm", 9618, None)])
    assert (row.mean, row.std, row.num_failed) == (None, None, 1)
    assert "| - |" in " ".join(markdown_table([row]).split())


def test_rows_are_by_task_and_in_the_order_of_methods():
    rows = summarize([*records_of("agwm"), *records_of("vanilla"), *records_of("agwm", task="stsb")])
    assert [(row.task, row.method) for row in rows] == [
        ("rte", "vanilla"),
        ("rte", "agwm"),
        ("stsb", "agwm"),
    ]


def test_table_is_markdown():
    table = markdown_table(summarize([*records_of("vanilla"), *records_of("agwm")]))
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert "| 59.67 ± 9.03 |" in lines[2]
    assert "vanilla" in lines[2] and "agwm" in lines[3]


def test_records_are_read_back(tmp_path):
    written = records_of()
    for record in written:
        path = tmp_path / FOLDER / f"{record.seed}.json"
        path.parent.mkdir(exist_ok=True)
        write_json(path, record.to_dict())
    assert load_records(tmp_path) == sorted(written, key=lambda r: str(r.seed))


def test_no_records_or_something_else_is_an_error(tmp_path):
    with pytest.raises(DataError, match="No records"):
        load_records(tmp_path)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "a.json").write_text("[1]")
    with pytest.raises(DataError, match="is no record"):
        load_records(tmp_path)


def test_record_names(tmp_path):
    config = load_config(delta={"task": "rte", "model": "owner/tiny model", "train_size": 30})
    path = record_path(tmp_path, config, "agwm", 5)
    assert path == tmp_path / "results" / "agwm--rte--tiny_model--n30--seed5.json"


def test_a_record_of_other_settings_or_data_is_not_taken(tmp_path):
    path = tmp_path / "a.json"
    settings = {"search": {"epochs": 3}}
    assert find_finished(path, settings, "f00") is None
    record = make_record(settings=settings, data="f00")
    write_json(path, record.to_dict())
    assert find_finished(path, settings, "f00") == record
    with pytest.raises(ConfigError, match=r"expected search.epochs = 5, got 3.*--override"):
        find_finished(path, {"search": {"epochs": 5}}, "f00")
    with pytest.raises(ConfigError, match=r"expected data_fingerprint = 'f01', got 'f00'"):
        find_finished(path, settings, "f01")


def test_alpha_by_layer_and_matrix():
    layers, kinds, values = alpha_grid([*records_of("agwm"), *records_of("frozen"), *records_of("vanilla")])
    assert layers == ["layer 0", "layer 1", "no layer"]
    # two matrices of a layer that end alike stay apart
    assert kinds == ["attention.output.dense", "output.dense", "pooler.dense"]
    assert values[0][:2] == pytest.approx([0.010, 0.011])
    assert values[1][:2] == pytest.approx([0.020, 0.021])
    assert values[2][2] == pytest.approx(0.02)
    assert math.isnan(values[0][2]) and math.isnan(values[2][0])
    with pytest.raises(DataError, match="No alpha to draw"):
        alpha_grid(records_of("vanilla"))


def test_pictures_are_written(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    from matplotlib.image import imread

    every = [*records_of("vanilla"), *records_of("agwm"), *records_of("agwm", task="stsb")]
    draw_scores(every, tmp_path / "scores.png")
    draw_alpha(records_of("agwm"), tmp_path / "alpha.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alpha.png", "scores.png"]
    for name in ("scores.png", "alpha.png"):
        pixels = imread(tmp_path / name)
        assert pixels.shape[0] > 200 and pixels.std() > 0.05
    with pytest.raises(DataError, match="Nothing to draw"):
        draw_scores([make_record("agwm", 1, None)], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_pictures_without_matplotlib_name_the_extra(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'agwm\[plot\]'"):
        draw_scores(records_of(), tmp_path / "scores.png")
