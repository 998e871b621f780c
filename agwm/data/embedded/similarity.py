"""Draw pairs of sentences with a similarity from 0 to 5: the part of a scene that they share."""

from __future__ import annotations

import random

from agwm.data.embedded.changes import SMALL_CHANGES, drop, negate
from agwm.data.embedded.grammar import Phrase, Scene, draw_scene, pick, tell_pair

__all__ = ["draw_similarity"]

# Share of the pairs whose sentences tell different scenes, and of those whose sentences deny each other.
_FAR, _NEGATED = 0.6, 0.2
_WEIGHTS = {"subject": 1.1, "verb": 1.3, "object": 1.1, "time": 0.5, "place": 0.6, "reason": 0.4}


def _closeness(first: Phrase, second: Phrase) -> float:
    if first.noun == second.noun:
        same_number = first.is_plural == second.is_plural
        return 1.0 if same_number and first.adjective == second.adjective else 0.85
    return 0.4 if first.noun.category == second.noun.category else 0.0


def _score(first: Scene, second: Scene) -> float:
    """Return the weighted share of equal slots, in [0, 1]."""
    earned = (
        _WEIGHTS["subject"] * _closeness(first.subject, second.subject)
        + _WEIGHTS["object"] * _closeness(first.object, second.object)
        + _WEIGHTS["verb"] * (first.verb == second.verb)
    )
    possible = _WEIGHTS["subject"] + _WEIGHTS["object"] + _WEIGHTS["verb"]
    for name in ("time", "place", "reason"):
        one, two = getattr(first, name), getattr(second, name)
        if one or two:
            possible += _WEIGHTS[name]
            earned += _WEIGHTS[name] * (one == two)
    share = earned / possible
    return 0.35 * share if first.negated != second.negated else share


def draw_similarity(rng: random.Random) -> tuple[tuple[str, ...], float]:
    """Draw two sentences and a score for the part of the scene that they share.

    The score is the weighted share of equal slots, scaled to 0-5. The slots are subject, verb,
    object, time, place and reason; a noun of the same category counts in part. Added noise
    imitates the average of a few readers. Scores come in steps of 0.2.

    Args:
        rng: Source of randomness.

    Returns:
        The pair and its score in [0, 5].
    """
    first = draw_scene(rng, reason_rate=0.05, adjunct_rate=0.3)
    second, kind = first, rng.random()
    if kind < _FAR:
        second = draw_scene(rng, reason_rate=0.05, adjunct_rate=0.3, avoid=first.setting)
    elif kind < _FAR + _NEGATED:
        second = negate(rng, first)
    else:
        for _ in range(int(rng.random() * 4)):
            second = pick(rng, (*SMALL_CHANGES[:-1], drop))(rng, second)
    noise = sum(rng.random() - 0.5 for _ in range(4)) * 0.5
    score = min(5.0, max(0.0, 5.0 * _score(first, second) + noise))
    return tell_pair(rng, first, second), round(score * 5) / 5
