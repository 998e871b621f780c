"""A folder is swapped whole: killed, full or refused, the older save or the newer one is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import agwm.folders
from agwm.errors import DataError, ModelError
from agwm.folders import put_back, whole_folder
from tests.killed import FORK, operations


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def save(folder, text, names=("config.json", "model.safetensors")):
    with whole_folder(folder) as fresh:
        for name in names:
            (fresh / name).write_text(text)


@pytest.fixture(params=["exchange", "renames"])
def way(request, monkeypatch):
    """Both ways of swapping: one step of the system, or two renames where it has no such step."""
    if request.param == "renames":
        monkeypatch.setattr(agwm.folders, "_exchange", lambda first, second: False)
    return request.param


def test_a_folder_is_made_and_replaced_and_nothing_is_left_beside_it(way, tmp_path):
    out = tmp_path / "deep" / "out"
    save(out, "old", ["config.json", "model-00001-of-00002.safetensors", "agwm.json"])
    os.chmod(out, 0o750)
    save(out, "new")
    assert content(out) == {"config.json": "new", "model.safetensors": "new"}
    assert [path.name for path in out.parent.iterdir()] == ["out"] and out.stat().st_mode & 0o777 == 0o750


def test_files_of_the_user_go_along_and_a_tokenizer_unless_there_is_a_new_one(way, tmp_path):
    out = tmp_path / "out"
    save(out, "old", ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"])
    for name in ("notes.txt", ".git/HEAD", "runs/1/log.safetensors"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    (out / "link").symlink_to("nowhere")
    mine = {"notes.txt": "mine", ".git/HEAD": "mine", "runs/1/log.safetensors": "mine"}
    save(out, "new")
    tokenizer = {"tokenizer.json": "old", "tokenizer_config.json": "old", "vocab.txt": "old"}
    assert content(out) == {"config.json": "new", "model.safetensors": "new", **mine, **tokenizer}
    save(out, "newer", ["config.json", "tokenizer.json", "tokenizer_config.json"])
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    assert content(out) == {**dict.fromkeys(names, "newer"), **mine}
    assert os.readlink(out / "link") == "nowhere"


def test_a_readme_that_is_not_ours_gets_another_name(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("my project")
    save(out, "a card of agwm", ["README.md"])
    assert content(out) == {"README.md": "a card of agwm", "README.old.md": "my project"}
    save(out, "a newer card of agwm", ["README.md"])
    assert content(out) == {"README.md": "a newer card of agwm", "README.old.md": "my project"}
    save(out, "a model without a card", ["config.json"])
    assert content(out)["README.md"] == "a newer card of agwm"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(28, "No space left on device"),
            r"not writable: .*'.*out' \(No space left on device\)\. Ch",
        ),
        (RuntimeError("write: os error 28"), "not writable"),
        (TypeError("no\nJSON"), "Cannot save into '.*out': .* got TypeError: no JSON"),
        (ModelError("as it is"), "^as it is$"),
    ],
)
def test_what_fails_leaves_the_older_save(error, message, tmp_path):
    out = tmp_path / "out"
    save(out, "old")
    with pytest.raises((DataError, ModelError), match=message), whole_folder(out) as fresh:
        (fresh / "config.json").write_text("half")
        raise error
    assert content(out) == {"config.json": "old", "model.safetensors": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupt_leaves_the_older_save(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file", r"not writable: .* \(Not a directory\)"),
        ("file/out", "not writable"),
        ("x" * 300, "not writable.*File name too long"),
        ("a\0b", "null byte"),
        (None, "got TypeError"),
        ("", "expected one of its own, got the folder that you stand in"),
        (".", "Name a folder inside of it"),
        ("..", "the folder that you stand in"),
        ("/", "the folder that you stand in"),
        ("/proc", "the root of a disk"),
        ("/proc/nothing/out", "not writable"),
    ],
)
def test_places_that_cannot_be_swapped_are_refused_in_one_line(place, message, tmp_path, monkeypatch):
    here = tmp_path / "a" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    Path("file").write_text("mine")
    with pytest.raises(DataError, match=message) as caught:
        save(place, "new")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert content(tmp_path) == {"a/here/file": "mine"}


def test_interrupted_between_two_renames_the_older_folder_gets_its_name_back(tmp_path, monkeypatch):
    save(tmp_path / "out", "old")
    monkeypatch.setattr(agwm.folders, "_exchange", lambda first, second: False)
    rename = os.rename

    def interrupted(first, second):
        rename(first, second)
        if str(second).endswith(".old"):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "out", "new")
    assert content(tmp_path) == {"out/config.json": "old", "out/model.safetensors": "old"}
    put_back("a\0b")  # no name of a file: nothing to do


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    save(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    save(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and content(tmp_path / "real")["config.json"] == "new"


def test_long_names_that_the_disk_takes_are_taken(tmp_path):
    save(tmp_path / ("x" * 255), "new")
    assert content(tmp_path / ("x" * 255))["config.json"] == "new"


def test_killed_before_any_file_operation_one_whole_save_is_there(way, tmp_path):
    out = tmp_path / "out"

    def start():
        save(out, "old")
        (out / "mine.txt").write_text("mine")

    start()
    number = operations(lambda: save(out, "new"))
    assert number > 10
    mine = {"mine.txt": "mine"}
    wholes = [{"config.json": text, "model.safetensors": text, **mine} for text in ("old", "new")]
    seen = []
    for kill_at in range(1, number + 1):
        start()
        operations(lambda: save(out, "new"), kill_at)
        if way == "renames" and not out.exists():
            put_back(out)
        seen.append(wholes.index(content(out)))
        put_back(out)
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert seen == sorted(seen) and set(seen) == {0, 1}


def test_processes_that_save_to_one_folder_leave_one_whole_save(way, tmp_path):
    out = tmp_path / "out"

    def many(text):
        for _ in range(40):
            save(out, text)

    processes = [FORK.Process(target=many, args=(text,)) for text in "abc"]
    for process in processes:
        process.start()
    was_there = False
    while any(process.is_alive() for process in processes):
        if way == "exchange":
            is_there = out.exists()
            assert is_there or not was_there, "the name is never gone"
            was_there = is_there
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(set(content(out).values())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
