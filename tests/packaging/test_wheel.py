"""What is installed by pip holds what the command line needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy: the build leaves folders beside the code."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "agwm", copy / "agwm", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "bdist_wheel", "--dist-dir", "out"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (path,) = (copy / "out").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_a_wheel_holds_every_module_and_config(wheel):
    files = {name for name in wheel.namelist() if name.startswith("agwm/")}
    wanted = [
        path
        for end in ("*.py", "*.yaml", "*.html", "*.css", "py.typed")
        for path in (ROOT / "agwm").rglob(end)
    ]
    assert files >= {path.relative_to(ROOT).as_posix() for path in wanted}
    assert {"agwm/configs/default.yaml", "agwm/configs/grids/tuning.yaml"} <= files
