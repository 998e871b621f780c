"""A command line ends in one line and an exit code, whatever happens in it."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile

import pytest
import torch

from agwm.command_line.flags import Parser
from agwm.command_line.guard import guarded, run_command, write_lines
from agwm.errors import ConfigError
from agwm.out_of_memory import out_of_memory


def fails(error):
    def call():
        raise error

    return call


class Panic(BaseException):
    """Stands where errors of libraries in Rust stand."""


Panic.__module__ = "pyo3_runtime"


@pytest.fixture
def line(capsys):
    """Run a call; return its exit code and the line on standard error."""

    def run(call, *more):
        code = guarded(call, *more)
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and len(err) < 700 and err.strip().isprintable(), err
        return code, err.strip()

    return run


def test_mistakes_in_the_input(line):
    assert line(fails(ConfigError("Wrong: expected a,\n got b."))) == (
        2,
        "error: Wrong: expected a, got b.",
    )
    assert line(fails(ConfigError("x" * 100_000)))[0] == 2


def test_a_stop(line):
    assert line(fails(KeyboardInterrupt())) == (130, "Stopped. The same command goes on from here.")
    assert line(fails(KeyboardInterrupt()), lambda: None, lambda: False) == (130, "Stopped.")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a\n  b \x1b[31m"),
        RecursionError(),
        KeyError("k"),
        Panic("p"),
        OSError(28, "No space left"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_nobody_expected(error, line, tmp_path):
    code, text = line(fails(error), lambda: str(tmp_path))
    (details,) = tmp_path.iterdir()
    assert code == 1 and text.startswith("error: Unexpected failure: ") and f"Details: '{details}'" in text
    written = details.read_text()
    assert "Traceback" in written and type(error).__name__ in written
    assert "command: " in written and "torch: " in written


def test_details_go_where_there_is_room(line, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for folder in (None, "nowhere", "\0"):
        assert str(tmp_path) in line(fails(RuntimeError()), lambda folder=folder: folder)[1]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert "could not be written anywhere" in line(fails(RuntimeError()))[1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_no_memory_says_what_to_lower(error, line, tmp_path):
    code, text = line(fails(error), lambda: str(tmp_path))
    assert code == 1 and text.startswith("error: Out of memory: ") and "Raise gradient_accumulation" in text


def test_real_lack_of_memory_is_known():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60)
    assert out_of_memory(error.value)


def test_the_help_passes(capsys):
    with pytest.raises(SystemExit) as stop:
        run_command(lambda arguments: None, Parser(), ["--help"])
    assert stop.value.code == 0 and "usage" in capsys.readouterr().out


def test_the_folder_may_be_known_later(capsys, tmp_path):
    def command(arguments: argparse.Namespace):
        arguments.output_dir = str(tmp_path)
        raise RuntimeError

    assert run_command(command, Parser(), []) == 1
    assert str(next(tmp_path.iterdir())) in capsys.readouterr().err


@pytest.fixture
def output(monkeypatch):
    """Put a stream in the place of standard output."""
    opened = []

    def put(stream):
        opened.append(stream)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    yield put
    for stream in opened:
        if stream is not None:
            stream.close()  # what could not be written is nowhere: nothing is raised here


def test_nobody_reads(output, capsys):
    read, write = os.pipe()
    os.close(read)
    output(os.fdopen(write, "w"))
    assert guarded(lambda: write_lines("x")) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_no_room_for_the_output(output, line):
    output(open("/dev/full", "w"))
    code, text = line(lambda: print("x"))
    assert code == 1 and "No space left on device" in text


def test_a_broken_pipe_elsewhere_is_a_failure(line):
    assert line(fails(BrokenPipeError(32, "Broken pipe")))[0] == 1


def test_no_output_at_all(output):
    output(None)
    assert guarded(lambda: print("x", file=sys.stdout)) == 0
    assert sys.stdout is None


def test_letters_that_the_encoding_lacks(output):
    stream = output(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert guarded(lambda: print("é ± 日本 \udcff")) == 0
    assert stream.buffer.getvalue() == b"\\xe9 \\xb1 \\u65e5\\u672c \\udcff\n"
    assert stream.errors == "strict"
