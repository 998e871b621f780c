"""The reverse of ruff's DOC501: a docstring promises no error that nothing below the function raises.

Ruff's own DOC502 reads one function alone, so it would forbid to document the errors of callees, which are
the ones that users meet. This test follows calls by name through the whole package.
"""

from __future__ import annotations

import ast
import builtins
import re

import agwm.errors
from tests.imports import modules
from tests.test_architecture import PACKAGE

# Errors that other libraries raise through us.
FOREIGN = {"KeyboardInterrupt", "yaml.YAMLError", "TypeError"}
# Raisers whose class is an argument, or an attribute: what they raise where nobody says otherwise.
DEFAULTS = {"error": {"ConfigError"}, "form.error": {"ConfigError", "DataError"}}


def functions():
    """Yield module, name and tree of every function; a class counts as its constructor."""
    for module, path in modules(PACKAGE).items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield module, node.name, node
            elif isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and part.name in ("__init__", "__post_init__"):
                        yield module, node.name, part


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


def named(node):
    """Return every name that a function mentions: calls, and functions and properties handed on."""
    parts = ast.walk(node)
    return {
        p.id if isinstance(p, ast.Name) else p.attr
        for p in parts
        if isinstance(p, ast.Name | ast.Attribute)
    }


def documented(node):
    """Return the classes in the section ``Raises`` of a docstring."""
    text = ast.get_docstring(node) or ""
    section = re.search(r"^Raises:\n((?:    .*\n?|\n)*)", text, re.MULTILINE)
    return set(re.findall(r"^    ([\w.]+):", section[1], re.MULTILINE)) if section else set()


def reachable(every):
    """Return name -> classes raised by any function of that name, or by a function that it mentions."""
    raises, mentions = {}, {}
    for _, name, node in every:
        raises.setdefault(name, set()).update(raised(node))
        mentions.setdefault(name, set()).update(named(node))
    has_grown = True
    while has_grown:
        has_grown = False
        for name, others in mentions.items():
            more = set().union(*(raises[other] for other in others if other in raises)) - raises[name]
            raises[name] |= more
            has_grown = has_grown or bool(more)
    return raises


def is_promise_kept(name, classes):
    if name in FOREIGN:
        return True
    known = vars(agwm.errors) | vars(builtins)
    return any(isinstance(known.get(c), type) and issubclass(known[c], known[name]) for c in classes)


def test_no_docstring_promises_an_error_that_nothing_raises():
    every = list(functions())
    raises = reachable(every)
    broken = [
        f"{module}.{node.name}:{node.lineno}: {error}"
        for module, name, node in every
        for error in documented(node)
        if not is_promise_kept(error, raises[name])
    ]
    assert sum(bool(documented(node)) for _, _, node in every) > 100
    assert broken == []


def test_a_false_promise_is_seen():
    promise = '"""Do.\n\n    Raises:\n        DataError: Never.\n        ConfigError: If g does.\n    """'
    tree = ast.parse(f"def f():\n    {promise}\n    g()\n\n\ndef g():\n    raise ConfigError('x')\n")
    every = [("m", node.name, node) for node in tree.body]
    raises = reachable(every)
    assert documented(tree.body[0]) == {"DataError", "ConfigError"}
    assert is_promise_kept("ConfigError", raises["f"]) and not is_promise_kept("DataError", raises["f"])
