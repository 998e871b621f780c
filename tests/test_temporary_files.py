"""Half-written files: those of dead writers are swept, and nobody else's."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from agwm.files import make_folder, write_json, write_whole
from agwm.temporary_files import sweep, temporary_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
NAMES = (".hidden", ".x.part", "a.agwm-part", ".gitignore")
FORK = multiprocessing.get_context("fork")


def die(path):
    def write(name):
        with open(name, "w") as file:
            file.write("half")
        os.kill(os.getpid(), signal.SIGKILL)

    write_whole(path, write)


def test_what_a_killed_writer_left_is_removed_at_the_next_start(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, [1])
    for _ in range(3):
        process = FORK.Process(target=die, args=(path,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 4
    make_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_lives_and_other_files_are_left_alone(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text("mine")
    with temporary_file(tmp_path / "a.json") as name:
        sweep(tmp_path)
        assert os.path.exists(name)
        os.replace(name, tmp_path / "a.json")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES, "a.json"}


def test_a_long_name_has_a_temporary_one(tmp_path):
    write_json(tmp_path / ("é" * 115 + ".json"), [1])
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = make_folder(tmp_path / "out")
    (folder / ".a.json.x.agwm-part").symlink_to(victim)
    sweep(folder)
    assert victim.read_text() == "precious"
