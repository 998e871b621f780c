"""Two commands that make the same runs into one folder: each run is made once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from agwm.experiments.claims import CLAIMS, claim_of, claimed
from agwm.experiments.unfinished_runs import UNFINISHED
from tests.experiments.grid.commands import ENVIRONMENT, holders
from tests.programs import GLUE_LOWRES, main


def flags(arguments, seeds):
    return [*arguments, "--method", "vanilla", "--seeds", str(seeds)]


def test_a_run_of_another_process_is_left_to_it(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    given = flags(arguments, 1)
    with claimed(claim_of(_only_record(given, out))) as is_mine:
        assert is_mine and main(given) == 0
        assert "left to process" in capsys.readouterr().out
        assert not list((out / "results").iterdir())
    assert main(given) == 0
    assert len(list((out / "results").iterdir())) == 1 and not (out / CLAIMS).exists()


@pytest.mark.parametrize("is_grid", [False, True], ids=["runs", "grid"])
def test_what_a_process_left_that_was_killed_after_its_record_is_removed(
    is_grid, arguments, grid_file, tmp_path
):
    """The moment is short: the record is written, and its checkpoints and claim are not removed yet."""
    out = tmp_path / "out"
    file = grid_file(seeds=1, methods={"vanilla": {}})
    given = ["--grid", str(file), "--jobs", "0"] if is_grid else flags(arguments, 1)
    assert main(given) == 0
    before = {path for path in out.rglob("*") if path.suffix != ".png"}
    (record,) = (out / "results").iterdir()
    for path in (out / UNFINISHED / record.stem / "run.json", claim_of(record)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    with claimed(claim_of(record)):
        assert main(given) == 0  # whoever has the run may make it again
        assert (out / UNFINISHED / record.stem / "run.json").exists()
    claim_of(record).write_text("")
    assert main(given) == 0
    assert {path for path in out.rglob("*") if path.suffix != ".png"} == before


def _only_record(given, out):
    """Return where the record of the only run stands: the run is made, and its record is moved away."""
    assert main(given) == 0
    (record,) = (out / "results").iterdir()
    record.unlink()
    (out / CLAIMS).mkdir()
    return record


@pytest.mark.slow
def test_two_plain_commands_share_the_runs(arguments, tmp_path):
    out = tmp_path / "out"
    given = [*flags(arguments, 6), "--set", "vanilla.epochs=60"]
    pipe = subprocess.PIPE
    other = subprocess.Popen(
        [sys.executable, str(GLUE_LOWRES), *given], env=ENVIRONMENT, stdout=pipe, stderr=pipe
    )
    while other.pid not in holders(out / CLAIMS).values():
        assert other.poll() is None, other.communicate()
        time.sleep(0.02)
    assert main(given) == 0
    stamps = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    _, err = other.communicate(timeout=300)
    assert other.returncode == 0, err
    now = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    assert len(now) == 6 and stamps.items() <= now.items()  # none was written twice
