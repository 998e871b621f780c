"""What is installed by pip holds what the command line needs."""

from __future__ import annotations

import os
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


def test_a_wheel_holds_every_file_of_the_package(wheel):
    files = {name for name in wheel.namelist() if name.startswith("agwm/")}
    wanted = [path for path in (ROOT / "agwm").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert files == {path.relative_to(ROOT).as_posix() for path in wanted}
    assert "agwm/py.typed" in files
    assert {"agwm/configs/default.yaml", "agwm/configs/grids/tuning.yaml"} <= files


def test_the_command_and_the_configs_work_outside_of_the_checkout(wheel, tmp_path):
    wheel.extractall(tmp_path / "installed")
    (text,) = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert text.split() == ["[console_scripts]", "agwm", "=", "agwm.command_line.main:main"]
    program = "from agwm.command_line.main import main; from agwm.configs.packaged import config_file as f;"
    program += "print(f('demo'), f('grids/minilm.yaml')); main(['compare', '--help'])"
    folder = tmp_path / "installed"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    configs = folder / "agwm" / "configs"
    assert done.stdout.startswith(
        f"{configs / 'demo.yaml'} {configs / 'grids' / 'minilm.yaml'}\nusage: agwm "
    )
