"""Commands that run a grid in a process of their own, and the traces of one that died."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from tests.programs import ROOT

__all__ = ["ENVIRONMENT", "dead_owner"]

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def dead_owner() -> str:
    """Return the claim of a process of this machine that has ended."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    return json.dumps({"host": socket.gethostname(), "pid": dead.pid, "started": 1, "worker": None})
