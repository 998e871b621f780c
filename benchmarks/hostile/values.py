"""Hostile values, and documents with some of their values replaced by them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

__all__ = ["Pairs", "Raw", "changed", "damaged", "json_text", "odd_texts"]


class Raw(str):
    """A piece of a document that stands in it as it is."""


class Pairs(list):
    """Keys and values of an object, in which a key may stand twice."""


# Texts that are something else than they look: paths, names, control characters, halves of letters.
TEXTS = (
    "", " ", "\0", "a\0b", "\x1b[31mred", "\x9b1A", "a\nb", "a\tb", "\u202egnp", "\u2028", "\ufeff",
    "e\u0301", "日本", "字" * 90, "x" * 300, "x" * 5000, "..", ".", "/", "../../x", "a/b", "~",
    "~nobody/x", "$HOME", "%s", "{}", "{0}", "|", "`a`", "<b>", "a,b", '"', "'", "\\", "-", "--",
    "--help", "=", "nan", "inf", "-0", "1e400", "1_000", "٣", "²", "0x10", "null", "true", "None", "[]",
    "all", "whole", "cuda", "cuda:99", "meta", "mps", "cpu:7", "vanilla", "agwm", "setfit", "minilm",
    "cola", "own", "acceptability", "utf-16", "idna", "rot13", "base64", "utf-7", "cp1252", "undefined",
    "accuracy", "f1", "spearman", "text", "label", "no/such/name",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 3, 10, 255, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63), 10**9, 10**9 + 1, 10**30,
    10**400, 0.0, -0.0, 0.5, 1.5, 1e-300, 1e300, -1e-9, 5e-324, 1.0, 2.0, True, False,
)  # fmt: skip
# What no writer writes, of JSON and of YAML.
JSON = (
    "NaN", "-Infinity", "1e999", "9" * 5000, "[" * 3000 + "]" * 3000, "[" * 3000, r'"\ud800"', "'a'",
    "", "{,}", "01", "1.", "tru", '"a', "/* a */ 1", '{"a": 1, "a": 2}',
)  # fmt: skip
YAML = (
    *JSON, "~", "no", ".nan", "-.inf", "017", "1:30", "2024-02-30", "!!int x", "!!float y", "!!bool z",
    "!!binary '*'", "!!timestamp q", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]",
    "!!python/name:os.system", "!!str 1", "!!python/object/apply:os.system ['exit']", "!local x",
    "*nothing", "&a [*a]", "&b {k: *b}", r'"\x1b]0;t\x07"', "{<<: {epochs: 1}, epochs: 2}", "{<<: 3}",
    "{? [a] : 1}", "{? {a: 1} : 1}", "{1: 2}", "{null: 1}", "{true: 1}", "{1.5: 1}", "{2024-01-01: 1}",
    "!!binary aGk=", "0o17", "0b11", "1_000", "=", "<<", "- a", "@", "%", "!", "&", "*", "!!null x",
    "!!map [1]", "!!seq {a: 1}", "!!float 1_0", "!!int 0x", "!!merge x", "&c !!str 1", "1e5", "+.inf",
)  # fmt: skip

odd_texts = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=12),
    st.text(st.sampled_from("0123456789.-+e,=/: \n\t\"'[]{}#&*!|>%@`"), max_size=12),
)
_plain = st.one_of(
    st.none(),
    st.sampled_from(NUMBERS),
    st.integers(-5, 5000),
    st.floats(allow_nan=False, allow_infinity=False),
    odd_texts,
)
_nested = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3),
    max_leaves=6,
)


def odd_values(snippets: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Return hostile values, with snippets among them."""
    return st.one_of(_plain, st.sampled_from(snippets).map(Raw), _nested)


def json_text(value: Any) -> str:
    """Write a document as JSON, which flow YAML is too, with snippets as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json_text(key)}: {json_text(item)}" for key, item in value) + "}"
    if isinstance(value, dict):
        return json_text(Pairs(value.items()))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:d}"
    return json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())


def _paths(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the places of all values in a document, as keys and positions."""
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(found for key, item in inner for found in _paths(item, (*path, key)))]


def _at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(value: Any, path: tuple, new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], new)
    return copy


@st.composite
def _near(draw: st.DrawFn, value: Any) -> Any:
    """Draw a value that is close to a valid one: of its type, or that type written otherwise."""
    if isinstance(value, bool) or value is None:
        return draw(st.sampled_from([True, False, None, "true", 0, 1]))
    if isinstance(value, int | float):
        scale = draw(st.sampled_from([0, -1, 0.5, 2, 10, 1e6, 1e12]))
        return draw(st.sampled_from([value, value * scale, str(value), [value], value + 1]))
    if isinstance(value, str):
        other = draw(odd_texts)
        return draw(
            st.sampled_from([value + other, other + value, value.upper(), value[:-1], [value], value + " "])
        )
    if isinstance(value, list):
        return draw(st.sampled_from([[], value * 2, value[:1], [value], value[:1] * 3, None]))
    return draw(st.sampled_from([{}, [value], list(value), None, {str(key).upper(): 1 for key in value}]))


@st.composite
def changed(draw: st.DrawFn, document: Any, snippets: tuple[str, ...] = JSON, most: int = 3) -> Any:
    """Draw a document with up to ``most`` places changed; most often it is one."""
    odd = odd_values(snippets)
    for _ in range(draw(st.sampled_from([*range(most + 1), 1, 1, 1]))):
        places = [path for path in _paths(document) if not isinstance(_at(document, path[:-1]), Pairs)]
        place = draw(st.sampled_from(places))
        value, owner = _at(document, place), _at(document, place[:-1]) if place else None
        how = draw(st.sampled_from(["odd", "odd", "near", "near", "left out", "new key", "twice", "moved"]))
        if how == "odd":
            document = _with(document, place, draw(odd))
        elif how == "near":
            document = _with(document, place, draw(_near(value)))
        elif how == "moved":
            document = _with(document, place, _at(document, draw(st.sampled_from(places))))
        elif isinstance(owner, dict):
            pairs = list(owner.items())
            if how == "left out":
                pairs = [pair for pair in pairs if pair[0] != place[-1]]
            elif how == "new key":
                pairs = [
                    (draw(odd_texts), value) if key == place[-1] else (key, value) for key, value in pairs
                ]
            else:
                pairs.append((place[-1], draw(odd)))
            is_whole = len(dict(pairs)) == len(pairs)
            document = _with(document, place[:-1], dict(pairs) if is_whole else Pairs(pairs))
        document = _thawed(document)
    return document


def _thawed(document: Any) -> Any:
    """Return a document in which objects with a key twice are not looked into any more."""
    return Raw(json_text(document)) if isinstance(document, Pairs) else document


@st.composite
def damaged(draw: st.DrawFn, text: str, lines: tuple[str, ...] = ()) -> bytes:
    """Draw the bytes of a text: most often those of UTF-8, else in another encoding, cut or overwritten.

    Args:
        draw: Of hypothesis.
        text: The text.
        lines: Lines that may be put between its own.
    """
    how = draw(
        st.sampled_from(["as it is"] * 8 + ["encoding", "mark", "NUL", "cut", "bytes", "lines", "ends"])
    )
    data = text.encode("utf-8", "surrogatepass")
    place = draw(st.integers(0, len(data)))
    if how == "encoding":
        name = draw(
            st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "utf-7"])
        )
        return text.encode(name, "replace")
    if how == "mark":
        return (
            draw(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf" * 2])) + data
        )
    if how == "NUL":
        return data[:place] + b"\0" * draw(st.integers(1, 3)) + data[place:]
    if how == "cut":
        return data[:place]
    if how == "bytes":
        new = draw(st.binary(min_size=1, max_size=4))
        return data[:place] + new + data[place + draw(st.sampled_from([0, len(new)])) :]
    if how == "lines":
        own = text.split("\n")
        at = draw(st.integers(0, len(own)))
        more = draw(st.sampled_from([*own, *lines, "", "\t", "---", "..."]) | odd_texts)
        own[at : at + draw(st.integers(0, 1))] = [more]
        return "\n".join(own).encode("utf-8", "surrogatepass")
    return (
        data.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n", b"\x0b", b""])))
        if how == "ends"
        else data
    )
