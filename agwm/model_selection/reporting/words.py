"""Words of the page: numbers, intervals, times and texts of the user, short enough to read."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

__all__ = [
    "brief",
    "clean",
    "cut",
    "interval",
    "number",
    "p_value",
    "percent",
    "seconds",
    "signed",
]

MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with three decimals, a large one with four digits.

    Example:
        >>> number(0.89), number(-0.0401), number(12345.678), number(None)
        ('0.890', '−0.040', '12350', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.{digits}f}" if abs(value) < 10 else f"{float(f'{value:.4g}'):.10g}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def signed(value: float | None) -> str:
    """Return a difference with its sign.

    Example:
        >>> signed(0.04), signed(-0.04), signed(0.0)
        ('+0.040', '−0.040', '0.000')
    """
    text = number(value)
    return f"+{text}" if value is not None and text[0].isdigit() and float(text) else text


def interval(low: float | None, high: float | None, write: Any = number) -> str:
    """Return an interval in brackets.

    Example:
        >>> interval(0.86, 0.92), interval(None, None)
        ('[0.860, 0.920]', '–')
    """
    return NONE if low is None or high is None else f"[{write(low)}, {write(high)}]"


def p_value(value: float | None) -> str:
    """Return a p-value.

    Example:
        >>> p_value(0.0321), p_value(1e-9)
        ('0.032', '< 0.001')
    """
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def percent(share: float) -> str:
    """Return a share in percent.

    Example:
        >>> percent(0.123), percent(0.001)
        ('12 %', '0.1 %')
    """
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.01 else f"{100 * share:.1f} %"


def seconds(value: float) -> str:
    """Return a time.

    Example:
        >>> seconds(0.42), seconds(75), seconds(7321)
        ('0.4 s', '1 min 15 s', '2 h 2 min')
    """
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clean(text: object) -> str:
    r"""Return a text on one line; what HTML or UTF-8 cannot hold becomes U+FFFD.

    Example:
        >>> clean("a\n b\x00\ud800")
        'a b��'
    """
    return "".join(
        c if _is_writable(c) else "\N{REPLACEMENT CHARACTER}" for c in " ".join(str(text).split())
    )


def cut(text: object, limit: int) -> str:
    """Return the beginning of a long text, and say how long it was.

    Example:
        >>> cut("abcdefgh", 5)
        'abcd… (8 characters)'
    """
    whole = clean(text)
    return whole if len(whole) <= limit else f"{whole[: limit - 1]}… ({len(whole):,} characters)"


def brief(name: object, limit: int) -> str:
    """Return the beginning of a long name.

    Example:
        >>> brief("abcdefgh", 5)
        'abcd…'
    """
    whole = clean(name)
    return whole if len(whole) <= limit else f"{whole[: limit - 1]}…"


def _is_writable(character: str) -> bool:
    is_no_character = ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF
    return unicodedata.category(character) not in ("Cc", "Cs") and not is_no_character
