"""Pictures as SVG elements by matplotlib, in colours that the page's style sheet decides."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from agwm.model_selection.reporting.blocks import Picture
from agwm.model_selection.reporting.words import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT", "BAD", "INK", "LINE", "SERIES", "SOFT", "draw", "has_matplotlib", "label_inches",
    "short_label",
]  # fmt: skip

# Colours that stand for a variable of the style sheet, so that a picture is light or dark as the page is.
INK, SOFT, LINE, ACCENT, BAD = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505", "#0a0606")
_VARIABLES = {
    INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", ACCENT: "var(--accent)", BAD: "var(--bad)",
    **{color: f"var(--series-{place})" for place, color in enumerate(SERIES, 1)},
}  # fmt: skip
_COLOR = re.compile("|".join(_VARIABLES))
_FONTS = re.compile(r"'DejaVu Sans'[^;]*")
_STYLE: Any = {
    "svg.fonttype": "none",  # letters stay letters: readable aloud, and in scripts that matplotlib lacks
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": INK,
    "axes.unicode_minus": True,
}
_INCH = 96  # CSS pixels


def has_matplotlib() -> bool:
    """Return whether pictures can be drawn."""
    return find_spec("matplotlib") is not None


def draw(
    name: str, title: str, text: str, size: tuple[float, float], paint: Callable[[Figure], None]
) -> Picture:
    """Draw a picture, if matplotlib is there.

    Args:
        name: Prefix of the picture's ids, unique on the page.
        title: Caption.
        text: Description for those who do not see it.
        size: Width and height in inches, at which letters have 9 points.
        paint: Draws into an empty figure.

    Returns:
        The picture; without matplotlib its ``svg`` is None.
    """
    width = round(1.2 * _INCH * size[0])
    if not has_matplotlib():
        return Picture(title, text, None, width)
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    content = io.BytesIO()
    with rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # the browser has glyphs for scripts that matplotlib's font lacks
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        warnings.filterwarnings("ignore", r"Matplotlib currently does not support", UserWarning)
        figure = Figure(figsize=size)
        paint(figure)
        for one in figure.findobj(Text):
            one.set_parse_math(False)
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return Picture(title, text, _element(content.getvalue(), name, title, text), width)


def short_label(text: str, limit: int = 22) -> str:
    """Return a name for an axis, cut where it is wider than so many letters."""
    name, width = "", 0
    for character in clean(text):
        width += _width(character)
        if width > limit:
            return name + "…"
        name += character
    return name


def label_inches(labels: list[str]) -> float:
    """Return the width, in inches, of the widest of some labels."""
    return max((sum(map(_width, label)) for label in labels), default=0) * 0.082 + 0.1


def _width(character: str) -> int:
    """Return 2 for letters of Chinese and emoji, which are twice as wide, else 1."""
    return 1 + (unicodedata.east_asian_width(character) in "WF")


def _element(svg: bytes, name: str, title: str, text: str) -> str:
    """Return an SVG file as an element for a page: ids of its own, variables for colours, a description."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _own(_local(key), value, name) for key, value in element.items()}
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-text"}
    for place, (tag, content) in enumerate({"title": title, "desc": text}.items()):
        described = ElementTree.Element(tag, {"id": f"{name}-{'title' if tag == 'title' else 'text'}"})
        described.text = clean(content)
        root.insert(place, described)
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    if key == "style":
        return _FONTS.sub("var(--font)", _COLOR.sub(lambda found: _VARIABLES[found[0]], value))
    return value.replace("url(#", f"url(#{name}-")
