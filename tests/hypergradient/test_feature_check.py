"""Importing agwm beside a Betty that lacks what it needs fails in one line with the remedy.

The old release cannot be installed beside the one the other tests use, so a package of the same layout
that lacks its features stands in for it, in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REMEDY = "pip install --ignore-requires-python 'betty-ml==0.2.1'"

# Names, as release 0.1.1 has them; a problem without the methods of 0.2.
OLD = {
    "__init__.py": "",
    "configs/__init__.py": """
from dataclasses import dataclass

@dataclass
class Config:
    type: str = "darts"
    fp16: bool = False

@dataclass
class EngineConfig:
    distributed: bool = False
""",
    "engine.py": "class Engine:\n    def initialize(self):\n        pass\n",
    "hypergradient/__init__.py": "jvp_fn_mapping = {}\n",
    "logging/__init__.py": "",
    "logging/logger_base.py": "def get_logger():\n    pass\n",
    "problems/__init__.py": "class ImplicitProblem:\n    pass\n",
}


def import_beside(folder: Path, files: dict[str, str]) -> str:
    """Return the last line that importing agwm writes beside a betty of these files; '' on success."""
    for name, text in files.items():
        path = folder / "betty" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    command = [sys.executable, "-W", "ignore", "-c", "import agwm.hypergradient._betty"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=folder)
    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr.strip().splitlines()[-1] if done.stderr else ""


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (OLD, "Config.precision"),
        (
            {
                **OLD,
                "configs/__init__.py": OLD["configs/__init__.py"].replace(
                    "fp16: bool = False", 'precision: str = ""'
                ),
            },
            "EngineConfig.strategy",
        ),
        ({"__init__.py": ""}, "No module named 'betty.hypergradient'"),
    ],
    ids=["old release", "half old", "not betty"],
)
def test_old_betty_is_refused_with_the_remedy(files, missing, tmp_path):
    line = import_beside(tmp_path, files)
    assert line.startswith("ImportError: agwm needs Betty 0.2.1, got")
    assert missing in line
    assert line.endswith(f"Run: {REMEDY}")


def test_installed_betty_has_what_is_needed():
    from agwm.hypergradient._betty import missing_features

    assert missing_features() == []
