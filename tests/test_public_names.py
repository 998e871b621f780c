"""``import agwm`` is quick: public names, and Betty, are imported when they are first used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import agwm

ROOT = Path(__file__).parents[1]
REMEDY = "Run: pip install --ignore-requires-python --no-deps betty-ml==0.2.1"


def python(program, *folders):
    """Run a program in a process of its own, with folders before all others on its path."""
    path = os.pathsep.join([*map(str, folders), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_import_leaves_heavy_libraries_alone():
    """The embedded rows do so as well."""
    heavy = "torch transformers datasets betty numpy scipy sklearn"
    program = "import sys, agwm; agwm.data.embedded_rows('entailment', 1, 1);"
    done = python(f"{program} print(*set('{heavy}'.split()) & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("package", [agwm, agwm.data], ids=["agwm", "agwm.data"])
def test_readers_of_the_source_see_the_same_names(package):
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {node.module: tuple(alias.name for alias in node.names) for node in block.body}
    names = {name for several in seen.values() for name in several}
    assert seen == package._LATE and names <= set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)


@pytest.mark.parametrize("package", [agwm, agwm.data], ids=["agwm", "agwm.data"])
def test_a_name_that_is_not_there(package):
    with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'finetun'"):
        package.finetun  # noqa: B018


def test_folders_are_there_without_an_import_of_their_own():
    assert agwm.__getattr__("files").read_text is not None
    assert agwm.data.__getattr__("glue").glue_files is not None


ORDERS = [
    "import agwm, betty.engine",
    "import betty.engine, agwm",
    "import agwm; agwm.HypergradientConfig; import betty.engine",
]
# One process that imports PyTorch, which takes the time, and one child for each order.
PROGRAM = f"""
import os, sys, warnings, torch
warnings.simplefilter("ignore")
for order in {ORDERS}:
    if os.fork() == 0:
        exec(order)
        from betty.hypergradient import jvp_fn_mapping
        print("agwm" in jvp_fn_mapping, flush=True)
        os._exit(0)
    os.wait()
assert not {{"agwm", "betty"}} & set(sys.modules)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
def test_betty_knows_the_type_in_whatever_order():
    done = python(PROGRAM)
    assert (done.stdout, done.returncode) == ("True\n" * len(ORDERS), 0), done.stderr


@pytest.mark.parametrize("release", ["0.1.1", "0.2.0", "0.3.0", "1.0"])
def test_another_release_of_betty_is_refused_at_once(release, tmp_path):
    folder = tmp_path / f"betty_ml-{release}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: betty-ml\nVersion: {release}\n")
    line = python("import agwm", tmp_path).stderr.splitlines()[-1]
    assert line.startswith(f"ImportError: agwm needs Betty 0.2.1, got {release} ") and line.endswith(REMEDY)


NO_BETTY = (
    "agwm needs Betty 0.2.1, got none (pip leaves it out on Python 3.11 and newer, where it runs all the"
    f" same). {REMEDY}"
)


def test_no_betty_at_all_is_refused(tmp_path):
    program = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; import agwm"
    line = python(program).stderr.splitlines()[-1]
    assert line == f"ImportError: {NO_BETTY}"


@pytest.mark.parametrize("start", ["script", "module"])
def test_the_command_without_betty_is_one_line(start, tmp_path):
    """``-S``: no installed package at all."""
    script = tmp_path / "agwm"  # as pip writes it
    script.write_text("import sys\nfrom agwm.command_line.main import main\nsys.exit(main())\n")
    command = [sys.executable, "-S", *([script] if start == "script" else ["-m", "agwm"]), "fit", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {NO_BETTY}\n")
