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
REMEDY = "Run: pip install --ignore-requires-python 'betty-ml==0.2.1'"


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
    heavy = "torch transformers datasets betty numpy scipy sklearn"
    done = python(f"import agwm, sys; print(*set('{heavy}'.split()) & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("\n", "")


def test_readers_of_the_source_see_the_same_names():
    tree = ast.parse((ROOT / "agwm" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {node.module: tuple(alias.name for alias in node.names) for node in block.body}
    assert seen == agwm._LATE
    assert {name for names in seen.values() for name in names} < set(agwm.__all__) <= set(dir(agwm))


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="'agwm' has no attribute 'finetun'"):
        agwm.finetun  # noqa: B018


def test_folders_are_there_without_an_import_of_their_own():
    assert agwm.__getattr__("files").read_text is not None


@pytest.mark.parametrize(
    "program",
    [
        "import agwm, betty.engine",
        "import betty.engine, agwm",
        "import agwm; agwm.HypergradientConfig; import betty.engine",
    ],
)
def test_betty_knows_the_type_in_whatever_order(program):
    known = "from betty.hypergradient import jvp_fn_mapping; print('agwm' in jvp_fn_mapping)"
    done = python(f"import warnings; warnings.simplefilter('ignore'); {program}; {known}")
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("release", ["0.1.1", "0.2.0", "0.3.0", "1.0"])
def test_another_release_of_betty_is_refused_at_once(release, tmp_path):
    folder = tmp_path / f"betty_ml-{release}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: betty-ml\nVersion: {release}\n")
    line = python("import agwm", tmp_path).stderr.splitlines()[-1]
    assert line.startswith(f"ImportError: agwm needs Betty 0.2.1, got {release} ") and line.endswith(REMEDY)


def test_no_betty_at_all_is_refused(tmp_path):
    program = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; import agwm"
    line = python(program).stderr.splitlines()[-1]
    assert line == f"ImportError: agwm needs Betty 0.2.1, got none. {REMEDY}"
