"""The reverse of ruff's DOC501: a docstring promises no error that nothing below the function raises.

Ruff's own DOC502 reads one function alone, so it would forbid to document the errors of callees, which are
the ones that users meet. This test follows calls by name through the whole package.
"""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

import agwm.errors
from tests.imports import modules
from tests.test_architecture import PACKAGE

# Errors that other libraries raise through us.
FOREIGN = {"KeyboardInterrupt", "yaml.YAMLError", "TypeError", "OutOfMemoryError"}
# Methods for others to override: they say which error an override raises.
CONTRACTS = {("methods.method", name) for name in ("check", "check_length", "run")}
CONSTRUCTORS = ("__init__", "__post_init__")
# An attribute is taken for a function of the package where so many have its name, or fewer.
FEW = 4
# Names that texts and paths have too: an attribute of such a name is rather theirs.
COMMON = {*dir(str), *dir(Path)}
# Raisers whose class is an argument, or an attribute: what they raise where nobody says otherwise.
DEFAULTS = {
    "error": {"ConfigError"},
    "self.refuse": {"MethodError"},
    "form.error": {"ConfigError", "DataError"},
}


def functions(trees):
    """Return (module, name) -> trees of the functions of that name; a class counts as its constructor."""
    found = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found.setdefault((module, node.name), []).append(node)
            elif isinstance(node, ast.ClassDef):
                own = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                if any(ast.unparse(base).startswith("yaml.") for base in node.bases):
                    made = own  # the library calls them
                else:
                    made = [part for part in own if part.name in CONSTRUCTORS]
                found.setdefault((module, node.name), []).extend(made)
    return found


def imported(tree):
    """Return name -> (module, name) of what a module imports from the package."""
    return {
        alias.asname or alias.name: ((node.module or "").removeprefix("agwm."), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agwm")
        for alias in node.names
    }


def raised(node):
    """Return the classes that a function raises itself."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Raise) and part.exc is not None:
            name = ast.unparse(part.exc.func if isinstance(part.exc, ast.Call) else part.exc)
            found |= DEFAULTS.get(name, {name.rpartition(".")[2]})
        elif isinstance(part, ast.keyword) and part.arg == "error":
            found.add(ast.unparse(part.value))
    return found


def mentioned(module, node, by_name, names):
    """Return the functions that a function mentions: by name, or as an attribute of few owners."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found.add(names.get(part.id, (module, part.id)))
        elif isinstance(part, ast.Attribute) and part.attr not in COMMON:
            owners = by_name.get(part.attr, [])
            near = [key for key in owners if key[0] == module]
            found |= set(owners if len(owners) <= FEW else near)
    return found


def documented(node):
    """Return the classes in the section ``Raises`` of a docstring."""
    text = ast.get_docstring(node) or ""
    section = re.search(r"^Raises:\n((?:    .*\n?|\n)*)", text, re.MULTILINE)
    return set(re.findall(r"^    ([\w.]+):", section[1], re.MULTILINE)) if section else set()


def reachable(trees):
    """Return the functions, and for each the classes that it or a function that it mentions raises."""
    known = functions(trees)
    raises = {key: set().union(*map(raised, nodes)) for key, nodes in known.items()}
    by_name, names = {}, {module: imported(tree) for module, tree in trees.items()}
    for key in known:
        by_name.setdefault(key[1], []).append(key)
    mentions = {
        key: set().union(*(mentioned(key[0], node, by_name, names[key[0]]) for node in nodes)) & set(known)
        for key, nodes in known.items()
    }
    has_grown = True
    while has_grown:
        before = sum(map(len, raises.values()))
        for key, others in mentions.items():
            raises[key].update(*(raises[other] for other in others))
        has_grown = sum(map(len, raises.values())) > before
    return known, raises


def is_promise_kept(name, classes):
    if name in FOREIGN:
        return True
    known = vars(agwm.errors) | vars(builtins)
    return any(isinstance(known.get(c), type) and issubclass(known[c], known[name]) for c in classes)


def broken_promises(trees):
    known, raises = reachable(trees)
    return [
        f"{key[0]}.{key[1]}:{node.lineno}: {error}"
        for key, nodes in known.items()
        for node in nodes
        for error in documented(node)
        if key not in CONTRACTS and not is_promise_kept(error, raises[key])
    ]


def test_no_docstring_promises_an_error_that_nothing_raises():
    trees = {m: ast.parse(path.read_text(encoding="utf-8")) for m, path in modules(PACKAGE).items()}
    assert sum(bool(documented(node)) for nodes in functions(trees).values() for node in nodes) > 100
    assert broken_promises(trees) == []


def test_a_false_promise_is_seen():
    trees = {m: ast.parse(path.read_text(encoding="utf-8")) for m, path in modules(PACKAGE).items()}
    false = "Do.\n\nRaises:\n    MissingExtraError: Never.\n    ModelError: If the hook is off.\n"
    places = ("mixing.mixup.merge", "mixing.injection.inject", "search.wiring.build_engine")
    for where in places:
        module, _, name = where.rpartition(".")
        node = next(n for n in ast.walk(trees[module]) if isinstance(n, ast.FunctionDef) and n.name == name)
        node.body[0].value.value = false
    found = broken_promises(trees)
    assert sorted(line.split(":")[0] for line in found) == sorted(places)
    assert all(line.endswith(": MissingExtraError") for line in found)
