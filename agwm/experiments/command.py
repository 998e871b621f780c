"""Run a command line: whatever goes wrong is one line on standard error, and an exit code."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from agwm.errors import AgwmError, is_failure, one_line, reason, shown
from agwm.versions import versions

__all__ = ["guarded", "notice", "out_of_memory", "report", "run_command"]

_LONGEST = 690  # characters of the line
_NO_MEMORY = ("out of memory", "not enough memory", "cannot allocate memory", "can't allocate memory")


def run_command(
    command: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse a command line and do what it says.

    Args:
        command: Called with the arguments. It may set ``output_dir`` of them, the folder for details of a
            failure.
        parser: The parser.
        argv: Arguments; None: those of the process.

    Returns:
        The exit code of :func:`guarded`.
    """
    arguments = argparse.Namespace()

    def call() -> None:
        parser.parse_args(argv, arguments)
        command(arguments)

    return guarded(call, lambda: getattr(arguments, "output_dir", None))


def guarded(call: Callable[[], None], output_dir: Callable[[], str | None] = lambda: None) -> int:
    """Call a function; an error becomes one line on standard error.

    Args:
        call: The function.
        output_dir: Returns the folder for the details of a failure. Without one, or where it cannot be
            written, they go to the temporary folder.

    Returns:
        0; 2 if something is wrong with the input; 1 if something else fails, with the details in a file
        that the line names; 130 after Ctrl-C; 141 if nobody reads the output any more.
    """
    with _open_streams():
        try:
            try:
                call()
            finally:
                sys.stdout.flush()  # here, where an error can be told
        except AgwmError as error:
            _say(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            _say("Stopped. The same command goes on from here.")
            return 130
        except BaseException as error:
            if not is_failure(error):
                raise
            if _abandon_output() and isinstance(error, BrokenPipeError):
                return 141
            what = out_of_memory(error) or f"Unexpected failure: expected no error, got {reason(error)}."
            _say(f"error: {what} {_keep_details(error, output_dir())}")
            return 1
    return 0


def report(line: str) -> None:
    """Print a line on results, between the bars."""
    _print(line, sys.stdout)


def notice(line: str) -> None:
    """Print a line on what is about to run on standard error, between the bars."""
    _print(line, sys.stderr)


def _print(line: str, stream: Any) -> None:
    """Print a line. Where nobody reads any more, runs go on without: their results are in files."""
    try:
        tqdm.write(line, file=stream)
        stream.flush()
    except BrokenPipeError:
        _send_nowhere(stream)


def out_of_memory(error: BaseException) -> str | None:
    """Return a line that says what to lower; None if the error is another.

    Example:
        >>> out_of_memory(MemoryError())
        'Out of memory: expected room for a batch on this device, got none. Lower batch_size in ...'
        >>> out_of_memory(ValueError("no")) is None
        True
    """
    text = str(error).lower()
    is_it = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(words in text for words in _NO_MEMORY)
    )
    if not is_it:
        return None
    return (
        "Out of memory: expected room for a batch on this device, got none. Lower batch_size in the"
        " sections vanilla, search and final, or max_length, or take a smaller --model."
    )


def _keep_details(error: BaseException, output_dir: str | None) -> str:
    """Write traceback, command line and versions to a file; return the sentence that names it."""
    with suppress(Exception):
        text = "\n".join(
            [
                f"command: {shlex.join(sys.argv)}",
                *(f"{name}: {version}" for name, version in versions().items()),
                "",
                "".join(traceback.format_exception(error)),
            ]
        )
        is_there = output_dir is not None and os.path.isdir(output_dir)
        for folder in [output_dir, None] if is_there else [None]:  # None: the temporary folder
            with suppress(OSError):
                handle, path = tempfile.mkstemp(".txt", "agwm-error-", folder)
                with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
                return f"Details: {shown(Path(path))}; send them with a report."
    return "Details could not be written anywhere."


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads
        sys.stderr.write(one_line(text, _LONGEST) + "\n")
        sys.stderr.flush()


def _abandon_output() -> bool:
    """Send standard output nowhere if it takes nothing: Python would try again at its end.

    Returns:
        True if it takes nothing.
    """
    try:
        sys.stdout.flush()
        return False
    except (OSError, ValueError):
        _send_nowhere(sys.stdout)
        return True


def _send_nowhere(stream: Any) -> None:
    with suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def _open_streams() -> Iterator[None]:
    """Context manager: letters that an encoding lacks are escaped, and closed streams take text."""
    before = sys.stdout, sys.stderr
    modes = []
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
        for stream in (sys.stdout, sys.stderr):
            if change := getattr(stream, "reconfigure", None):
                modes.append((change, stream.errors))
                change(errors="backslashreplace")
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            for change, mode in modes:
                with suppress(OSError, ValueError):
                    change(errors=mode)
