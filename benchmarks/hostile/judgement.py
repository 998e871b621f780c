"""Run a command on a hostile input, up to where training would begin, and judge how it ended."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from huggingface_hub import constants

from agwm.command_line.main import main

__all__ = ["Began", "Case", "Verdict", "examine"]

TIMEOUT = 60  # seconds
_LINE = re.compile(r"error: .+: expected .+", re.DOTALL)
_LONGEST = 700


class Began(BaseException):
    """Everything is read and checked: training would begin."""


class Hang(BaseException):
    """A command does not end."""


@dataclass(frozen=True)
class Case:
    """A command with its input.

    Attributes:
        argv: Arguments of ``agwm``.
        parts: Files and folders of the place that it needs.
        files: Name of a file -> its bytes, in place of the valid one.
        stop: Where training begins, as a name that is imported: whoever calls it raises :class:`Began`.
        stdin: Bytes on standard input.
    """

    argv: list[str]
    parts: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    stop: str = "agwm.experiments.run.Job"
    stdin: bytes = b""


@dataclass(frozen=True)
class Verdict:
    """How a command ended.

    Attributes:
        end: ``"accepted"``, ``"refused"`` or ``"fault"``.
        words: The line of a refusal, or what is wrong.
    """

    end: str
    words: str = ""


def examine(case: Case, place: Path) -> Verdict:
    """Run a command in a new folder with copies of what it needs, and judge how it ended."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name) / "place"
        folder.mkdir()
        for part in case.parts:
            copy = shutil.copytree if (place / part).is_dir() else shutil.copyfile
            copy(place / part, folder / part)
        for part, data in case.files.items():
            path = folder / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return _judged(case, folder)


def _judged(case: Case, folder: Path) -> Verdict:
    out, err = io.StringIO(), io.StringIO()
    before = os.getcwd()
    stdin = io.TextIOWrapper(io.BytesIO(case.stdin))
    details = tempfile.mkdtemp(dir=folder.parent)  # where tracebacks go
    os.chdir(folder)
    try:
        with (
            _ending(),
            mock.patch.object(sys, "stdin", stdin),
            mock.patch.object(tempfile, "tempdir", details),
            mock.patch.object(constants, "HF_HUB_OFFLINE", True),  # odd names are no questions to a hub
            mock.patch(case.stop, side_effect=Began),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code: Any = main(case.argv)
    except Began:
        return Verdict("accepted")
    except SystemExit as stop:  # of --help
        code = stop.code
    except Hang:
        return Verdict("fault", f"does not end in {TIMEOUT} s")
    except BaseException as error:
        return Verdict("fault", f"raises {type(error).__name__}: {error}")
    finally:
        os.chdir(before)
    kept = [*folder.rglob("agwm-error-*"), *Path(details).glob("agwm-error-*")]
    if kept:
        return Verdict("fault", kept[0].read_text(encoding="utf-8", errors="replace")[-3000:])
    return _of(code, err.getvalue())


def _of(code: int, errors: str) -> Verdict:
    """Judge an exit code and what was said."""
    line = errors.strip("\n").rpartition("\n")[2]
    if code == 0 and "Traceback" not in errors:
        return Verdict("accepted")
    if code not in (1, 2):
        return Verdict("fault", f"exit code {code}: {line}")
    is_sound = _LINE.fullmatch(line) and line.isprintable() and len(line) <= _LONGEST
    if not is_sound or "Traceback" in errors or errors.count("error: ") > 1:
        return Verdict("fault", f"exit code {code}, and not one line of its form: {errors[-1500:]}")
    return Verdict("refused", line)


@contextmanager
def _ending() -> Iterator[None]:
    """Context manager: what takes too long is ended."""

    def end(*_: object) -> NoReturn:
        raise Hang

    handler = signal.signal(signal.SIGALRM, end)
    signal.alarm(TIMEOUT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
