"""Rules about the package's own code, read from its source: where a module lives, what it may import."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from tests.imports import folder_of, imports, modules, target_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "agwm"

# The folders, lowest floor first, and the lower folders (or single modules) that each may import. "" is
# the ground: the modules in the package itself. Every folder may import the ground and itself. A folder
# that is not here is an error, and so is an import that is not allowed here, wherever in a file it stands.
FOLDERS: dict[str, set[str]] = {
    "": set(),
    "configs": set(),
    "data": {"data.embedded"},
    "data.embedded": set(),
    "models": {"models.packaged"},
    "models.packaged": set(),
    "mixing": set(),
    "hypergradient": set(),
    "training": set(),
    "search": {"mixing", "hypergradient"},
    "recipe": {"search", "training", "mixing", "hypergradient", "data.sampling"},
    "trainer": {"recipe", "search", "mixing", "hypergradient", "data.sampling"},
    "methods": {"recipe", "training", "models", "mixing", "data.sampling"},
    "testing": {"methods", "recipe", "training", "models"},
    "evaluation": {"data", "mixing"},
    "prediction": {"evaluation", "models", "data"},
    "model_selection": {
        "prediction",
        "evaluation",
        "methods",
        "recipe",
        "training",
        "hypergradient",
        "models",
        "data",
    },
    "fitting": {
        "model_selection",
        "model_selection.reporting",
        "prediction",
        "evaluation",
        "recipe",
        "data",
    },
    "model_selection.reporting": {"model_selection", "evaluation", "data"},
    "experiments": {
        "evaluation",
        "methods",
        "recipe",
        "training",
        "models",
        "mixing",
        "hypergradient",
        "data",
        "configs",
    },
    "experiments.reporting": {"experiments", "evaluation", "methods"},
    "experiments.grid": {
        "experiments",
        "experiments.reporting",
        "methods",
        "recipe",
        "models",
        "data",
        "configs",
    },
    "command_line": {
        "experiments.grid",
        "experiments.reporting",
        "experiments",
        "fitting",
        "model_selection",
        "prediction",
        "configs",
    },
}
# Floors: a folder may import those of a lower number only.
FLOORS = {
    "": 1, "configs": 2,
    "data.embedded": 2, "models.packaged": 2,
    "data": 3, "models": 3, "mixing": 4, "hypergradient": 4, "training": 4,
    "search": 5, "evaluation": 5, "recipe": 6, "trainer": 7, "methods": 7, "testing": 8, "experiments": 8,
    "prediction": 6, "model_selection": 8, "model_selection.reporting": 9, "fitting": 10,
    "experiments.reporting": 9, "experiments.grid": 10, "command_line": 11,
}  # fmt: skip
# The modules that gather the public names; they import what they like from below.
DOORS = {"agwm", "__main__"}
# Modules of the package's ground. A new one is a decision, so it is written down.
GROUND = {
    "_version", "batch_rows", "batches", "betty_programs", "betty_release", "cards", "checkpoints",
    "checks", "durations", "errors", "files", "finiteness", "folders", "forward_pass", "late_names",
    "launch", "markdown", "model_loss", "nested", "out_of_memory", "peers", "processes", "processing",
    "progress", "resumable", "rng", "scores", "sharded_tree", "shards", "temporary_files", "versions",
}  # fmt: skip


def wrong_imports(package: Path) -> list[str]:
    """Return a line for each import of a package that the tables do not allow."""
    known, wrong = modules(package), []
    for module, path in known.items():
        folder = folder_of(module, known)
        if folder not in FOLDERS:
            wrong.append(f"{module}: folder {folder!r} is in no table")
            continue
        if not folder and module not in GROUND | DOORS:
            wrong.append(f"{module}: not a module of the ground")
        for line, name in imports(path):
            target = target_of(name, known)
            if target is None or module in DOORS:
                continue
            other = folder_of(target, known)
            allowed = {"", folder} | FOLDERS[folder]
            if not {other, target} & allowed or target in DOORS:
                wrong.append(f"{module}:{line} imports {name}")
    return wrong


def circles(package: Path) -> list[list[str]]:
    """Return modules that import each other in a circle, wherever in the file the imports stand."""
    known = modules(package)
    arrows = {
        module: {target_of(name, known) for _, name in imports(path)} - {None, module}
        for module, path in known.items()
    }
    found, done = [], set()

    def walk(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for other in sorted(arrows[module]):
                walk(other, [*way, module])
            done.add(module)

    for module in known:
        walk(module, [])
    return found


def importers(package: Path, library: str) -> list[str]:
    return [
        m
        for m, path in modules(package).items()
        if any(n.split(".")[0] == library for _, n in imports(path))
    ]


def test_there_is_something_to_read():
    known = modules(PACKAGE)
    assert len(known) > 100
    assert {folder_of(module, known) for module in known} == set(FOLDERS)
    assert ("betty.engine.Engine") in {name for _, name in imports(known["hypergradient._betty"])}


def test_folders_are_on_floors():
    assert set(FLOORS) == set(FOLDERS)
    for folder, allowed in FOLDERS.items():
        floors = [FLOORS.get(other) or FLOORS[other.rpartition(".")[0]] for other in allowed]
        assert all(floor < FLOORS[folder] for floor in floors), folder
    assert not FOLDERS["mixing"] & {"hypergradient"} and not FOLDERS["hypergradient"] & {"mixing"}
    assert all("experiments" not in allowed for folder, allowed in FOLDERS.items() if FLOORS[folder] < 8)


def test_folders_import_only_what_lies_below():
    assert wrong_imports(PACKAGE) == []


def test_no_module_imports_itself_on_a_detour():
    assert circles(PACKAGE) == []


def test_betty_is_imported_by_one_module():
    assert importers(PACKAGE, "betty") == ["hypergradient._betty"]


def test_package_needs_nothing_beside_itself():
    for library in ("tests", "examples", "benchmarks", "pickle", "dill", "cloudpickle"):
        assert importers(PACKAGE, library) == [], library


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("experiments/records", "from agwm.experiments.reporting.runs import load_runs"),
        ("methods/method", "from agwm.experiments.grid import cells"),
        ("data/sampling", "import agwm.experiments.reporting.tables"),
        ("data/sampling", "def late():\n    from agwm.experiments.grid.cells import load_grid"),
        ("data/sampling", "if TYPE_CHECKING:\n    from agwm.methods import Method"),
        ("mixing/hook", "from agwm.hypergradient.settings import Hypergradient"),
        ("hypergradient/indirect", "from agwm.mixing import mix_weights"),
        ("mixing/formulas", "from agwm.training import loop"),
        ("rng", "from agwm.data import Task"),
        ("search/problems", "from agwm import finetune"),
        ("newcomer", "VALUE = 1"),
        ("attic/newcomer", "VALUE = 1"),
    ],
)
def test_the_guard_sees_a_wrong_import(module, line, tmp_path):
    package = tmp_path / "agwm"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    path = package / f"{module}.py"
    path.parent.mkdir(exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{text}\n{line}\n", encoding="utf-8")
    name = module.replace("/", ".")
    assert [found.split(":")[0] for found in wrong_imports(package)] == [name]


def test_the_guard_sees_a_circle(tmp_path):
    package = tmp_path / "agwm"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "mixing" / "saving.py").open("a", encoding="utf-8") as file:
        file.write("\ndef late():\n    from agwm.mixing.mixup import Mixup\n")
    assert any({"mixing.saving", "mixing.mixup"} <= set(circle) for circle in circles(package))


def test_the_guard_sees_a_second_importer_of_betty(tmp_path):
    package = tmp_path / "agwm"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "mixing" / "hook.py").open("a", encoding="utf-8") as file:
        file.write("\nimport betty.engine\n")
    assert importers(package, "betty") == ["hypergradient._betty", "mixing.hook"]


def test_no_assert_no_print_and_small_files():
    for path in modules(PACKAGE).values():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, path
        for node in ast.walk(ast.parse(text)):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}: assert"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{path}:{node.lineno}: print"


def test_everything_exported_is_there():
    import agwm

    assert sorted(agwm.__all__) == sorted(set(agwm.__all__))
    for name in agwm.__all__:
        assert hasattr(agwm, name), name
