"""Texts that settings and records may hold as names and as paths."""

from __future__ import annotations

import os
import unicodedata
from typing import Annotated

__all__ = ["Name", "PathText", "Text"]

# Unicode's classes of control characters, of halves of characters, and of line and paragraph ends.
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
_LONGEST_NAME = 100
_LONGEST_PART, _LONGEST_PATH = 255, 4095  # bytes, on every common file system


class _NotEmpty:
    def __contains__(self, value: str) -> bool:
        return value != ""

    def __str__(self) -> str:
        return "that is not empty"


class _Named:
    """Names stand in file names, in tables and on the terminal."""

    def __contains__(self, value: str) -> bool:
        return 0 < len(value) <= _LONGEST_NAME and value.strip() == value and not _has_control(value)

    def __str__(self) -> str:
        return f"of 1 to {_LONGEST_NAME} characters, no control characters and no outer spaces"


class _Path:
    def __contains__(self, value: str) -> bool:
        if value == "" or _has_control(value):
            return False
        path = os.fsencode(value)
        parts = path.replace(b"\\", b"/").split(b"/") if os.name == "nt" else path.split(b"/")
        return len(path) <= _LONGEST_PATH and all(len(part) <= _LONGEST_PART for part in parts)

    def __str__(self) -> str:
        return f"that can be a path (each part 1 to {_LONGEST_PART} bytes, no control characters)"


def _has_control(text: str) -> bool:
    return any(unicodedata.category(c) in _CONTROL for c in text)


Text = Annotated[str, _NotEmpty()]
Name = Annotated[str, _Named()]
PathText = Annotated[str, _Path()]
