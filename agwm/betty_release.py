"""Check of the installed release of Betty, without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

__all__ = ["REMEDY", "check_release"]

REMEDY = "pip install --ignore-requires-python 'betty-ml==0.2.1'"
_FIRST, _LAST = (0, 2, 1), (0, 3)  # as setup.cfg has it


def check_release() -> None:
    """Raise unless a release of Betty is installed that agwm can work with.

    Its features are checked where it is imported: the copy on the path may be another one.

    Raises:
        ImportError: Otherwise, with the command that installs it.
    """
    try:
        release = importlib.metadata.version("betty-ml")
    except importlib.metadata.PackageNotFoundError:
        if importlib.util.find_spec("betty") is not None:  # a copy without metadata
            return
        raise ImportError(f"agwm needs Betty 0.2.1, got none. Run: {REMEDY}") from None
    if not _FIRST <= tuple(map(int, re.findall(r"\d+", release)[:3])) < _LAST:
        raise ImportError(
            f"agwm needs Betty 0.2.1, got {release} (on Python 3.11 and newer pip picks 0.1.1)."
            f" Run: {REMEDY}"
        )
