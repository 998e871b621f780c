"""The command ``agwm fit`` as a user's shell runs it: stopped, gone on with, refused, and then used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest
from filelock import FileLock

from agwm.command_line.main import main
from agwm.model_selection.store import FOLDER
from tests.fitting.made_rows import made_rows, tiny_model

TIMEOUT = 240


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny model, labelled rows and new texts."""
    folder = tmp_path_factory.mktemp("place")
    tiny_model(folder / "tiny")
    rows = pd.DataFrame(made_rows(60)).drop(columns="other")
    rows.assign(same=1).to_csv(folder / "rows.csv", index=False)
    pd.DataFrame(made_rows(8, seed=5))[["text"]].to_csv(folder / "new.csv", index=False)
    return folder


def command(place: Path, *arguments: str) -> list[str]:
    label = [] if "--label" in arguments else ["--label", "label"]
    given = ["rows.csv", "--text", "text", *label, "--model", "tiny", *arguments]
    return [sys.executable, "-m", "agwm", "fit", *given]


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


def test_a_stopped_fit_ends_at_once_keeps_what_is_done_and_goes_on(place, monkeypatch, capsys):
    line = command(place, "--methods", "vanilla", "--lr", "5e-3", "--epochs", "10", "--jobs", "2")
    line += ["--output-dir", "stopped"]
    process = subprocess.Popen(
        line,
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a suite that a shell started in the background ignores SIGINT, and its children would too
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    kept = place / "stopped" / FOLDER
    deadline = time.monotonic() + TIMEOUT
    while len(list(kept.glob("vanilla-*.json"))) < 1 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "Stopped. The same command goes on from here."
    assert "Traceback" not in errors and "leaked" not in errors
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert not (place / "stopped" / "config.json").exists()
    monkeypatch.chdir(place)
    assert main([*line[3:], "--jobs", "1"]) == 0
    out, errors = capsys.readouterr()
    assert "is finished already; the rest takes about" in errors
    assert "Take vanilla: accuracy" in out and "Model: stopped" in out
    assert main(["predict", "stopped", "new.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "text,label,probability,p(bug),p(praise),p(question)" and len(lines) == 9


def last_line(capsys) -> str:
    """Return the last line of standard error; nothing may be on standard output."""
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    return err.strip().splitlines()[-1]


def test_two_fits_do_not_work_in_one_folder(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    folder = place / "held" / FOLDER
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        assert main(command(place, "--methods", "probe", "--output-dir", "held")[3:]) == 2
    assert last_line(capsys).startswith("error: Output folder is in use")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--methods", "vanila"], "error: Unknown method 'vanila': expected one of constant, vanilla"),
        (["--metric", "f1"], "error: Metric 'f1' does not fit"),
        (["--lr", "-1"], "--lr"),
        (["--epochs", "0"], "--epochs"),
        (["--test", "none.csv"], "none.csv"),
        (["--class-weight", "even"], "--class-weight"),
        (["--device", "cuda:99"], "Device is not usable"),
        (["--output-dir", "."], "Output folder cannot be replaced whole"),
        (["--regression"], "is not a number: expected a finite score, got 'bug'"),
        (["--regression", "--classes"], "not allowed with"),
        (["--label", "same"], "expected two or more classes. Pass --regression for scores."),
    ],
)
def test_a_wrong_flag_is_one_line_and_leaves_nothing(place, monkeypatch, capsys, flags, text):
    monkeypatch.chdir(place)
    assert main(command(place, "--output-dir", "wrong", *flags)[3:]) == 2
    assert text in last_line(capsys)
    assert not list((place / "wrong").rglob("*.json")) and not (place / "wrong" / "config.json").exists()


@pytest.mark.parametrize("flags", [["--device", "cuda:99"], ["--methods", "setfit", "--regression"]])
def test_what_cannot_begin_leaves_no_folder(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"word {number},{number % 2}\n" for number in range(40))
    Path("rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    command = ["fit", "rows.csv", "--text", "text", "--label", "label", "--output-dir", "new/out", *flags]
    assert main(command) == 2, capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
