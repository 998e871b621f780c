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
REMEDY = "pip install --ignore-requires-python --no-deps betty-ml==0.2.1"

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


CASES = {
    "old release": (OLD, "Config.precision"),
    "half old": (
        {
            **OLD,
            "configs/__init__.py": OLD["configs/__init__.py"].replace(
                "fp16: bool = False", 'precision: str = ""'
            ),
        },
        "EngineConfig.strategy",
    ),
    "not betty": ({"__init__.py": ""}, "No module named 'betty.hypergradient'"),
}
# One process that imports PyTorch, which takes the time, and one child for each betty.
PROGRAM = """
import os, sys, warnings, torch
warnings.simplefilter("ignore")
for folder in sys.argv[1:]:
    if os.fork() == 0:
        sys.path.insert(0, folder)
        try:
            import agwm.hypergradient._betty
        except ImportError as error:
            print(f"ImportError: {error}", flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The line of the error of each import of agwm beside a betty of these files."""
    folders = {name: tmp_path_factory.mktemp("beside") for name in CASES}
    for name, (files, _) in CASES.items():
        for file, text in files.items():
            path = folders[name] / "betty" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, *map(str, folders.values())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stderr, done.returncode) == ("", 0)
    return dict(zip(CASES, done.stdout.splitlines(), strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
@pytest.mark.parametrize("name", CASES)
def test_old_betty_is_refused_with_the_remedy(name, lines):
    assert lines[name].startswith("ImportError: agwm needs Betty 0.2.1, got")
    assert CASES[name][1] in lines[name]
    assert lines[name].endswith(f"Run: {REMEDY}")


def test_installed_betty_has_what_is_needed():
    from agwm.hypergradient._betty import missing_features

    assert missing_features() == []
