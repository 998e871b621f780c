"""The conclusion of a selection in a few words, and its table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agwm.durations import duration
from agwm.errors import one_line
from agwm.markdown import escape, table
from agwm.model_selection.record import CandidateRow
from agwm.model_selection.words import decimals, listed, number, score_words

__all__ = ["conclusion", "table_text"]

_MOST_NAMED = 4
_MOST_COMPARED = 3
_NOTE = 80  # characters


def conclusion(
    rows: Sequence[CandidateRow],
    metric: str,
    greater_is_better: bool = True,
    tried: Mapping[str, str] | None = None,
) -> str:
    """Say what to take, what is not told apart from it, what is worse, and what did not learn.

    A tied candidate has its mean in parentheses, as uneven folds may leave one tied far below. Long lists
    are cut, and say how many more.

    Args:
        rows: Those of :func:`agwm.model_selection.comparison.compare`.
        metric: Name of the metric.
        greater_is_better: False for losses and errors.
        tried: Name of a candidate -> the settings that were tried; see
            :func:`agwm.model_selection.words.tried_words`.

    Returns:
        Sentences on one line.

    Example:
        >>> from agwm.model_selection.comparison import compare
        >>> scores = {"constant": [0.5, 0.5, 0.5], "probe": [0.88, 0.9, 0.89], "vanilla": [0.8, 0.82, 0.8]}
        >>> rows = compare(scores, "constant", {"probe": 1, "vanilla": 60}, 200, 100)
        >>> conclusion(rows, "f1").removesuffix(" A constant answer has 0.50.")
        'Take probe: f1 0.89 [0.85, 0.93]. vanilla is lower by 0.08 [0.06, 0.11].'
    """
    places = decimals(rows)
    by_verdict: dict[str, list[CandidateRow]] = {}
    for row in rows:
        by_verdict.setdefault(row.verdict, []).append(row)
    reference = next(iter(by_verdict.get("reference", [])), None)
    idle = [
        _not_learned(by_verdict.get("not learned", []), tried or {}),
        _failed(by_verdict.get("failed", [])),
    ]
    if "chosen" not in by_verdict:
        floor = "" if reference is None else f" ({metric} {score_words(reference, places)})"
        return _sentences(
            f"Take none: no candidate is better than a constant answer{floor}",
            *idle,
            "Check that texts and labels belong together, add rows, or take another model",
        )
    chosen = by_verdict["chosen"][0]
    compared = [
        _tied(by_verdict.get("tied", []), places),
        _worse(by_verdict.get("worse", []), greater_is_better, places),
    ]
    return _sentences(
        f"Take {chosen.name}: {metric} {score_words(chosen, places)}",
        "; ".join(filter(None, compared)),
        *idle,
        "" if reference is None else f"A constant answer has {reference.score:.{places}f}",
    )


def table_text(rows: Sequence[CandidateRow], metric: str) -> str:
    """Write the table in Markdown that also reads well in a terminal, ending in a newline.

    Args:
        rows: Those of the table, in the order in which they are to stand.
        metric: Name of the metric.

    Returns:
        A line for each row: score and interval, difference from the chosen one with its interval, p-value
        after Holm's correction, wall time, verdict, and the settings or why there is no score.
    """
    places = decimals(rows)
    head = [
        "candidate",
        f"{escape(metric)} [95 %]",
        "difference [95 %]",
        "p",
        "time",
        "verdict",
        "settings",
    ]
    return table(head, [_cells(row, places) for row in rows], right=[1, 2, 3, 4])


def _cells(row: CandidateRow, places: int) -> list[str]:
    difference = ""
    if row.difference is not None:
        difference = f"{row.difference:+.{places}f}"
        if row.difference_low is not None and row.difference_high is not None:
            difference += f" [{row.difference_low:+.{places}f}, {row.difference_high:+.{places}f}]"
    p_value = "" if row.p_value is None else "< 0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}"
    note = row.settings if row.failure is None else one_line(row.failure, _NOTE)
    return [
        escape(row.name),
        score_words(row, places),
        difference,
        p_value,
        duration(row.seconds),
        row.verdict,
        escape(note),
    ]


def _sentences(*parts: str) -> str:
    return " ".join(f"{part}." for part in parts if part)


def _tied(rows: list[CandidateRow], places: int) -> str:
    if not rows:
        return ""
    names = [f"{row.name} ({row.score:.{places}f})" for row in rows]
    return f"{listed(names, _MOST_NAMED)} {_is(rows)} not told apart from it"


def _worse(rows: list[CandidateRow], greater_is_better: bool, places: int) -> str:
    if not rows:
        return ""
    rows = sorted(rows, key=lambda row: abs(row.difference or 0.0))
    num_named = len(rows) if len(rows) <= _MOST_COMPARED + 1 else _MOST_COMPARED
    word = "lower" if greater_is_better else "higher, which is worse,"
    first, *others = (_by(row, places) for row in rows[:num_named])
    parts = [f"{rows[0].name} is {word} {first}"]
    parts += [f"{row.name} {by}" for row, by in zip(rows[1:num_named], others, strict=True)]
    if rest := rows[num_named:]:
        least, most = (number(abs(row.difference or 0.0), places) for row in (rest[0], rest[-1]))
        parts.append(f"{len(rest)} more by {least} to {most}")
    return listed(parts)


def _by(row: CandidateRow, places: int) -> str:
    """Say by how much a candidate is worse, as a positive number."""
    words = f"by {number(abs(row.difference or 0.0), places)}"
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return words
    digits = len(words.partition(".")[2])
    sign = -1 if row.difference < 0 else 1
    low, high = sorted((sign * row.difference_low, sign * row.difference_high))
    return f"{words} [{low:.{digits}f}, {high:.{digits}f}]"


def _not_learned(rows: list[CandidateRow], tried: Mapping[str, str]) -> str:
    by_trials: dict[str, list[str]] = {}
    for row in rows:
        by_trials.setdefault(tried.get(row.name, ""), []).append(row.name)
    return "; ".join(
        f"{listed(names, _MOST_NAMED)} did not learn" + (f" (tried {words})" if words else "")
        for words, names in by_trials.items()
    )


def _failed(rows: list[CandidateRow]) -> str:
    if len(rows) == 1:
        return f"{rows[0].name} failed: {one_line(rows[0].failure or 'no reason given', 200).rstrip('.')}"
    return f"{listed([row.name for row in rows], _MOST_NAMED)} failed" if rows else ""


def _is(rows: list[CandidateRow]) -> str:
    return "is" if len(rows) == 1 else "are"
