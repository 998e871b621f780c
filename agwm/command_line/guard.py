"""Run a command line: whatever goes wrong is one line on standard error, and an exit code."""

from __future__ import annotations

import argparse
import os
import select
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from agwm.errors import AgwmError, is_failure, one_line, reason, shown
from agwm.out_of_memory import out_of_memory

__all__ = ["guarded", "notice", "report", "run_command", "write_lines"]

_LONGEST = 690  # characters of the line


def run_command(
    command: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse a command line and do what it says.

    Args:
        command: Called with the arguments. It may set ``output_dir`` of them, the folder for details of a
            failure, ``goes_on``: False where the same command starts anew after Ctrl-C, and ``has_failed``:
            True if a part of its work failed, and was told.
        parser: The parser.
        argv: Arguments; None: those of the process.

    Returns:
        The exit code of :func:`guarded`; 1 where a part of the work failed.
    """
    arguments = argparse.Namespace()

    def call() -> None:
        parser.parse_args(argv, arguments)
        command(arguments)

    code = guarded(
        call, lambda: getattr(arguments, "output_dir", None), lambda: getattr(arguments, "goes_on", True)
    )
    return code or int(getattr(arguments, "has_failed", False))


def guarded(
    call: Callable[[], None],
    output_dir: Callable[[], str | None] = lambda: None,
    goes_on: Callable[[], bool] = lambda: True,
) -> int:
    """Call a function; an error becomes one line on standard error.

    Args:
        call: The function.
        output_dir: Returns the folder for the details of a failure. Without one, or where it cannot be
            written, they go to the temporary folder.
        goes_on: Returns True if the same call goes on after Ctrl-C, which is said then.

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
            _say("Stopped. The same command goes on from here." if goes_on() else "Stopped.")
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


def write_lines(*lines: str) -> None:
    """Write lines to standard output; where nobody reads any more, the command ends."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


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


def _keep_details(error: BaseException, output_dir: str | None) -> str:
    """Write traceback, command line and versions to a file; return the sentence that names it."""
    with suppress(Exception):
        from agwm.versions import versions  # late: it imports the libraries that it names

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
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        if not _is_unread(sys.stdout):
            return False
    _send_nowhere(sys.stdout)
    return True


def _is_unread(stream: Any) -> bool:
    """Return whether a pipe has lost its reader: where there is no buffer, no flush tells."""
    with suppress(Exception):  # no such function on Windows, no number of a stream in memory
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


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
