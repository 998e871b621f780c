"""Commands that run a grid in a process of their own."""

from __future__ import annotations

import contextlib
import os

from tests.programs import ROOT

__all__ = ["ENVIRONMENT", "holders"]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def holders(claims):
    """Return record's stem -> number of the process that runs the cell, by what it wrote into its claim."""
    found = {}
    for path in claims.glob("*.lock"):
        with contextlib.suppress(OSError):  # gone in the meantime
            words = path.read_text().split()
            if words[:1] == ["process"]:
                found[path.stem] = int(words[1])
    return found
