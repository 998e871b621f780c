"""The imports of a package, read from its source, wherever in a file they stand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["folder_of", "imports", "modules", "target_of"]


def modules(package: Path) -> dict[str, Path]:
    """Return every module of a package by its dotted name without ``agwm.``; the package is ``agwm``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts) or "agwm"] = path
    return found


def folder_of(module: str, known: dict[str, Path]) -> str:
    """Return the folder of a module, "" for the package itself; a folder's own door lies in it."""
    if module == "agwm":
        return ""
    is_folder = known[module].name == "__init__.py"
    return module if is_folder else module.rpartition(".")[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that a file imports, in functions and TYPE_CHECKING too."""
    for line, level, name in _imports_of(path.read_text(encoding="utf-8")):
        assert level == 0, f"{path}:{line}: relative import"
        yield line, name


@cache
def _imports_of(text: str) -> list[tuple[int, int, str]]:
    """Return line, level and full name of each import; copies of the package are read again and again."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, 0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, node.level, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def target_of(name: str, known: dict[str, Path]) -> str | None:
    """Return the module of the package that an imported name lies in; None: of another package."""
    if name.split(".")[0] != "agwm":
        return None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts) or "agwm"
