"""What a grid says of its cells: the plan before it, and a line for each cell that ends."""

from __future__ import annotations

import json
import shutil

import pytest

from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.execution import run_grid
from agwm.experiments.grid.plan import plan_rows, plan_summary
from agwm.experiments.grid.work import Work
from tests.programs import main


def test_a_line_names_what_a_grid_has_several_of(grid_file, tiny_model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)

    def starts(**changes):
        lines = []
        cells = load_grid(grid_file(methods={"vanilla": {}}, seeds=1, **changes)).cells
        run_grid(Work(cells, jobs=0, override=True), report=lines.append, progress=False)
        return sorted(line.partition("] ")[2].partition(": ")[0] for line in lines)

    assert starts() == ["vanilla, order, seed 1017"]
    assert starts(train_sizes=[20, "whole"]) == [
        "vanilla, order, n = 20, seed 1017",
        "vanilla, order, n = 40, seed 1017",
    ]
    assert starts(models=[str(tiny_model), str(other)]) == [
        "vanilla, order, other, seed 1017",
        "vanilla, order, tiny, seed 1017",
    ]


@pytest.fixture
def cells(grid_file):
    """Two runs of each of two labels, one label run; one of its records says that it failed."""
    ruin = {"method": "vanilla", "vanilla": {"learning_rate": 1e9, "warmup_ratio": 0}}
    cells = load_grid(grid_file(methods={"ruin": ruin, "vanilla": {}}, seeds=1)).cells
    run_grid(Work(cells, jobs=0), progress=False)
    return cells


def num_left(cells, **options):
    rows = plan_rows(Work(cells, **options))
    return {row.cell.label: row.num_cells - row.num_finished for row in rows}, plan_summary(rows, {})


def test_the_plan_knows_what_is_run_again(cells):
    assert num_left(cells)[0] == {"ruin": 0, "vanilla": 0}
    assert num_left(cells, retry_failed=True)[0] == {"ruin": 1, "vanilla": 0}
    left, text = num_left(cells, override=True)
    assert left == {"ruin": 1, "vanilla": 1} and "other settings" not in text


def test_records_of_other_settings_are_not_finished_runs(cells, grid_file, tmp_path):
    changed = load_grid(grid_file(methods={"vanilla": {}}, seeds=1), assignments=["vanilla.epochs=2"]).cells
    left, text = num_left(changed)
    assert left == {"vanilla": 1}
    assert "1 of the records are of other settings, or no records: the run will stop" in text
    assert "other settings" not in num_left(changed, override=True)[1]
    path = cells[1].path
    for content in ("", "[]", json.dumps({"run_info": {}, "train_info": {}, "scores": {}})):
        path.write_text(content)
        left, text = num_left(cells[1:])
        assert left == {"vanilla": 1} and "other settings" in text


def test_the_plan_of_the_command_knows_its_flags(cells, grid_file, capsys, tmp_path):
    options = ["--grid", str(tmp_path / "grid.yaml"), "--dry-run"]
    for flags, finished in (([], 2), (["--retry-failed"], 1), (["--override"], 0)):
        assert main([*options, *flags]) == 0
        assert f"2 cells, {finished} of them finished" in capsys.readouterr().out
