"""What is installed by pip holds what the command line needs."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from agwm._version import __version__

ROOT = Path(__file__).resolve().parents[2]


# Of the checkout; tests and docs stand for what must stay outside.
FILES = ("setup.py", "setup.cfg", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
FOLDERS = ("agwm", "tests/packaging", "docs/api")


def copied(copy):
    """Copy what a build reads: it leaves folders beside the code."""
    for name in (*FILES, "constraints.txt", "tests/test_architecture.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    copy = copied(tmp_path_factory.mktemp("tree"))
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


def test_a_wheel_holds_nothing_else(wheel):
    assert {name.split("/")[0] for name in wheel.namelist()} == {"agwm", f"agwm-{__version__}.dist-info"}


def test_every_link_of_the_metadata_is_absolute(wheel):
    """A package index shows the description without the files of the repository beside it."""
    (path,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    metadata = message_from_bytes(wheel.read(path))
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Home-page"] is None and metadata.get_all("Project-URL") is None  # there is none so far
    blocks = MarkdownIt("commonmark").enable("table").parse(metadata.get_payload(decode=True).decode())
    tokens = [token for block in blocks for token in block.children or ()]
    links = [token.attrs.get("href") or token.attrs.get("src") for token in tokens]
    links = [link for link in links if link]
    assert links and all(link.startswith("https://") for link in links), links
    assert "attention-guided weights mixup" in "".join(token.content for token in tokens)


@pytest.mark.slow
def test_make_dist_builds_and_checks_both(tmp_path):
    """As `make dist` does it, with the tools of the extra `dist`."""
    for tool in ("build", "twine"):  # by metadata: `make docs` leaves a folder that is called build
        if not list(importlib.metadata.distributions(name=tool)):
            pytest.skip(f"{tool} is not here: the extra dist has it")
    recipe = re.search(r"^dist: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipe is not None
    commands = [line.strip().replace("$(RUN)", sys.executable) for line in recipe[1].splitlines()]
    copy = copied(tmp_path)
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=copy, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
    (sdist,) = (copy / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert names == {*FILES, "constraints.txt", "PKG-INFO", "agwm", "agwm.egg-info"}


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
