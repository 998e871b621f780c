"""Rules about the package's own code, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "agwm"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

# Layers, lowest first: a module of one imports none of a later one.
LAYERS = (
    ("errors", "_version", "progress", "formulas"),
    ("wanted", "mixing", "attention", "rng", "storage", "best_response", "finite_difference", "processes"),
    ("compiled", "hook", "hypergradient", "selection", "batches", "recording"),
    ("mixup", "_betty"),
    ("saving", "indirect", "search_step"),
    ("problems",),
    ("engine_checks",),
    ("engine",),
)
MODEL_CODE = {
    "compiled",
    "formulas",
    "indirect",
    "attention",
    "hook",
    "mixing",
    "mixup",
    "selection",
    "problems",
    "engine",
    "search_step",
    "_betty",
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, at_top: bool = False) -> set[str]:
    """Return the modules that a file imports, of this package without its name in front."""
    tree = TREES[path]
    nodes = tree.body if at_top else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path.name}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(path: Path, *, at_top: bool = False) -> set[str]:
    prefix = "agwm."
    return {name.removeprefix(prefix) for name in imports(path, at_top=at_top) if name.startswith(prefix)}


def test_there_is_something_to_read():
    assert len(FILES) > 15
    assert "betty.engine" in imports(PACKAGE / "_betty.py")


def test_betty_is_imported_by_one_module():
    users = [name_of(path) for path in FILES if any(n.split(".")[0] == "betty" for n in imports(path))]
    assert users == ["_betty"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_package_needs_nothing_beside_itself(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"tests", "examples", "benchmarks"}


def test_lower_layers_do_not_import_higher_ones():
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for path in FILES:
        name = name_of(path)
        if name not in level:
            continue
        for other in own(path, at_top=True) & set(level):
            assert level[other] <= level[name], f"{name} imports {other}"
        unknown = {n.split(".")[0] for n in own(path, at_top=True)} - set(level) - {"data"}
        modules = {name_of(file) for file in FILES}
        assert not unknown & modules, f"{name} imports {unknown & modules}, of no layer"


def test_layers_name_modules_that_exist():
    modules = {name_of(path) for path in FILES}
    assert {name for layer in LAYERS for name in layer} <= modules


def test_data_and_metrics_know_no_model_code():
    for path in FILES:
        if name_of(path).split(".")[0] in {"data", "metrics"}:
            assert not {name.split(".")[0] for name in own(path)} & MODEL_CODE, path.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_assert_no_print_no_pickle(path):
    for node in ast.walk(TREES[path]):
        assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno}: assert"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path.name}:{node.lineno}: print"
    assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "dill", "cloudpickle"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_everything_exported_is_there():
    import agwm

    assert sorted(agwm.__all__) == sorted(set(agwm.__all__))
    for name in agwm.__all__:
        assert hasattr(agwm, name), name
