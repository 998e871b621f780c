"""Check of the installed release of Betty, without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

__all__ = ["REMEDY", "check_release"]

# Without the packages that Betty asks for: agwm's own bring them, and the flag would hold for them too.
REMEDY = "pip install --ignore-requires-python --no-deps betty-ml==0.2.1"
_FIRST, _LAST = (0, 2, 1), (0, 3)  # as setup.cfg has it


def check_release() -> None:
    """Raise unless a release of Betty is installed that agwm can work with.

    Its features are checked where it is imported: the copy on the path may be another one.

    Raises:
        ImportError: Otherwise, with the command that installs it.
        SystemExit: In place of it, with one line and exit code 2, in the process of the command ``agwm``,
            which imports the package before it can catch anything.
    """
    got = _unusable_release()
    if got is None:
        return
    message = f"agwm needs Betty 0.2.1, got {got}. Run: {REMEDY}"
    if _starts_the_command():
        sys.stderr.write(f"error: {message}\n")
        raise SystemExit(2)
    raise ImportError(message)


def _unusable_release() -> str | None:
    try:
        release = importlib.metadata.version("betty-ml")
    except importlib.metadata.PackageNotFoundError:
        if importlib.util.find_spec("betty") is not None:  # a copy without metadata
            return None
        return "none (pip leaves it out on Python 3.11 and newer, where it runs all the same)"
    if _FIRST <= tuple(map(int, re.findall(r"\d+", release)[:3])) < _LAST:
        return None
    return f"{release} (an old pip picks 0.1.1 on Python 3.11 and newer)"


def _starts_the_command() -> bool:
    program = sys.argv[0] if sys.argv else ""
    return Path(program).stem == "agwm" or (program == "-m" and "agwm" in sys.orig_argv)
