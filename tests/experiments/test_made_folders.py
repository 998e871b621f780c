"""A command that refuses its input leaves no folder of its own; what was there before stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from agwm.command_line.main import main
from agwm.errors import DataError
from agwm.files import made_folders

WRONG = ["--set", "vanilla.precision=fp16", "--device", "cpu", "--train-size", "20", "--seeds", "1"]
GRID = """
grid:
  tasks: [acceptability]
  train_sizes: [20]
  models: [minilm]
  methods: {vanilla: {vanilla: {precision: fp16}}}
"""


def paths(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", ["plain", "grid"])
@pytest.mark.parametrize("before", ["", "out", "out/results", "out/notes.txt"])
def test_refused_commands_leave_what_was_there(kind, before, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").write_text(GRID, encoding="utf-8")
    if before.endswith(".txt"):
        (tmp_path / "out").mkdir()
        (tmp_path / before).write_text("mine", encoding="utf-8")
    elif before:
        (tmp_path / before).mkdir(parents=True)
    present = paths(tmp_path)
    flags = ["--method", "vanilla", *WRONG] if kind == "plain" else ["--grid", "g.yaml", "--device", "cpu"]
    assert main(["compare", *flags, "--output-dir", "out"]) == 2
    assert "precision='fp16' needs gradient scaling" in capsys.readouterr().err
    assert paths(tmp_path) == present


def test_a_body_that_ends_keeps_the_folders_and_files_keep_theirs(tmp_path):
    with made_folders(tmp_path / "a" / "b"):
        pass
    assert paths(tmp_path) == ["a", "a/b"]
    with pytest.raises(RuntimeError), made_folders(tmp_path / "a" / "c", tmp_path / "d"):
        (tmp_path / "d" / "kept").touch()
        raise RuntimeError
    assert paths(tmp_path) == ["a", "a/b", "d", "d/kept"]


def test_one_that_cannot_be_made_takes_the_others_along(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Output folder is not writable"):
        with made_folders(tmp_path / "new" / "deep", tmp_path / "file" / "x"):
            raise AssertionError
    assert paths(tmp_path) == ["file"]
