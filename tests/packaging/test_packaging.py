"""What a user installs, reads and types agrees with itself."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from agwm.betty_release import REMEDY

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = {
    "betty",
    "dist",
    "test",
    "trainer",
    "peft",
    "plot",
    "ray",
    "offline",
    "docs",
    "excel",
    "setfit",
    "smollm2",
}


def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def direct(extras: set[str]) -> list[Requirement]:
    parser = metadata()
    found = requirements(parser["options"]["install_requires"])
    for extra in sorted(extras):
        found += requirements(parser["options.extras_require"][extra])
    return found


def pins(python: str | None = None) -> dict[str, Version]:
    """Return the pinned version of each package on ``python``, by default the running one."""
    environment = dict(default_environment())
    if python is not None:
        environment |= {"python_version": python, "python_full_version": f"{python}.0"}
    found: dict[str, Version] = {}
    for pin in requirements((ROOT / "constraints.txt").read_text(encoding="utf-8")):
        if pin.marker is not None and not pin.marker.evaluate(environment):
            continue
        name = canonicalize_name(pin.name)
        assert name not in found, f"{name} is pinned twice for Python {python}"
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, str(pin)
        found[name] = Version(specifier.version)
    return found


def closure(start: list[Requirement]) -> dict[str, str]:
    """Walk the installed distributions; return each package's name with who asks for it."""
    environment = dict(default_environment())
    asked: dict[str, str] = {}
    queue = [(requirement, "setup.cfg") for requirement in start]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement, parent = queue.pop()
        name = canonicalize_name(requirement.name)
        asked.setdefault(name, parent)
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # its extra is not installed here: its own pin is still asked for
        for text in needs:
            child = Requirement(text)
            contexts = [environment | {"extra": extra} for extra in ("", *requirement.extras)]
            if child.marker is None or any(child.marker.evaluate(one) for one in contexts):
                queue.append((child, name))
    return asked


def test_version_is_written_once_and_read_without_an_import() -> None:
    parser = metadata()
    assert parser["metadata"]["version"] == "attr: agwm._version.__version__"
    tree = ast.parse((ROOT / "agwm" / "_version.py").read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    versions = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in assigned
        if isinstance(node.targets[0], ast.Name)
    }
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == versions["__version__"]
    elsewhere = [
        path.name
        for path in (ROOT / "agwm").rglob("*.py")
        if path.name != "_version.py"
        and re.search(r"^__version__\s*=", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert elsewhere == []


def test_setup_py_gives_the_description_and_nothing_else() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "setup"]
    assert not call.args and [keyword.arg for keyword in call.keywords] == ["long_description"]


def test_extras_are_those_the_documentation_lists() -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert set(metadata()["options.extras_require"]) == EXTRAS == listed


def test_the_package_is_marked_as_typed() -> None:
    assert (ROOT / "agwm" / "py.typed").is_file()
    assert "py.typed" in metadata()["options.package_data"]["agwm"]


def test_betty_is_left_out_exactly_where_its_metadata_exclude_the_python() -> None:
    """Where pip would stop. Its extra has it on any Python, for pip with the flag and for uv."""
    bound = SpecifierSet(importlib.metadata.metadata("betty-ml")["Requires-Python"])
    (always,) = [one for one in direct(set()) if one.name == "betty-ml"]
    (extra,) = requirements(metadata()["options.extras_require"]["betty"])
    assert always.marker is not None and extra.marker is None
    assert always.specifier == extra.specifier
    for python in PYTHONS:
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        assert always.marker.evaluate(environment) == (f"{python}.0" in bound), python


def test_the_remedy_for_betty_is_the_same_everywhere() -> None:
    for name in ("docs/install.md", "README.md"):
        assert f"\n{REMEDY}\n" in (ROOT / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("python", PYTHONS)
def test_direct_dependencies_are_pinned_within_their_bounds(python: str) -> None:
    pinned = pins(python)
    for requirement in direct(EXTRAS):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_full_closure_is_pinned() -> None:
    pinned = pins()
    asked = closure(direct(EXTRAS))
    assert "torch" in asked and "sympy" in asked  # a direct dependency, and one of torch's own
    missing = {name: parent for name, parent in asked.items() if name not in pinned}
    assert missing == {}


def test_pins_run_on_this_python() -> None:
    here = Version(".".join(map(str, sys.version_info[:3])))
    wrong = {}
    for name, version in pins().items():
        try:
            found = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        bound = SpecifierSet(found["Requires-Python"] if "Requires-Python" in found else "")
        if Version(Version(found["Version"]).public) == version and here not in bound:
            wrong[name] = str(bound)
    wrong.pop("betty-ml", None)  # the one whose bound is knowingly ignored
    assert wrong == {}


def test_supported_pythons_are_stated_alike() -> None:
    parser = metadata()
    stated = re.findall(r"Python :: (3\.\d+)$", parser["metadata"]["classifiers"], re.MULTILINE)
    assert tuple(stated) == PYTHONS
    assert parser["options"]["python_requires"] == f">={PYTHONS[0]}"
    ruff = (ROOT / "ruff.toml").read_text(encoding="utf-8")
    assert f'target-version = "py{PYTHONS[0].replace(".", "")}"' in ruff


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert phony is not None
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    listed = [line.split()[0] for line in shown.splitlines()]
    assert listed == phony[1].split()
    assert {"help", "demo", "test", "lint", "bench", "clean"} <= set(listed)


def test_the_install_command_is_the_same_everywhere() -> None:
    extras = re.search(r"^EXTRAS \?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert extras is not None
    command = f"pip install --ignore-requires-python -c constraints.txt -e '.[betty,{extras[1]}]'"
    assert command.replace(extras[1], "$*") in (ROOT / "Makefile").read_text("utf-8")
    for name in ("constraints.txt", "docs/install.md", "README.md"):
        assert command in (ROOT / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", ["Makefile", "docs/install.md", "README.md"])
def test_configs_that_are_mentioned_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    mentioned = set(re.findall(r"\bagwm/configs/[\w./-]+\.ya?ml\b", text))
    missing = sorted(path for path in mentioned if not (ROOT / path).is_file())
    assert missing == []


def test_hooks_before_a_commit_are_the_lines_of_make_lint() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    hooks = repository["hooks"]
    assert repository["repo"] == "local" and {hook["language"] for hook in hooks} == {"system"}
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^lint: .*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert recipe is not None
    lines = [line.strip().replace("$(RUN)", ".venv/bin/python") for line in recipe[1].splitlines()]
    assert [hook["entry"] for hook in hooks] == lines
    assert all(hook["pass_filenames"] is False for hook in hooks)


def test_ci_runs_make_test_and_nothing_else() -> None:
    path = ROOT / ".ci" / "run"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines[1:] == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make test"]
    assert path.stat().st_mode & 0o111


def test_citation_names_the_software_the_paper_and_betty() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["license"] == metadata()["metadata"]["license"] == "Apache-2.0"
    paper = citation["preferred-citation"]
    assert paper["doi"] == "10.18653/v1/2024.naacl-long.277"
    assert (paper["start"], paper["end"], len(paper["authors"])) == (4936, 4953, 5)
    (betty,) = citation["references"]
    assert betty["title"].startswith("Betty:") and betty["year"] == 2023


def test_licence_is_the_full_apache_text() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
