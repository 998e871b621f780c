"""Pairs of sentences that do, or do not, say the same or follow from each other."""

from __future__ import annotations

import random
from dataclasses import replace

from agwm.data.embedded.changes import SMALL_CHANGES, add, drop, generalize, negate
from agwm.data.embedded.grammar import NUMBERS, Scene, chance, draw_scene, pick, tell_pair

__all__ = ["draw_entailment", "draw_paraphrase"]

# How often a pair that is no paraphrase is of another walk of life. The rest differ in one
# detail, which is far harder to see with a hundred examples.
_FAR_RATE = 0.9
# What the hypotheses that do not follow are made of: the shares add up to 1.
_NEGATED, _FAR, _REVERSED = 0.75, 0.1, 0.05


def draw_paraphrase(rng: random.Random) -> tuple[tuple[str, ...], float]:
    """Draw two sentences and whether they say the same.

    Both are told in styles of their own: synonyms, passive, dative, clause order, cleft. A pair
    that is no paraphrase tells of another scene, or differs in one role, noun, verb, number,
    adjunct or negation.

    Args:
        rng: Source of randomness.

    Returns:
        The pair and its label: 1 paraphrase, 0 not.
    """
    same = chance(rng, 0.5)
    scene = draw_scene(rng, reason_rate=0.05, adjunct_rate=0.3)
    other = scene
    if not same and chance(rng, _FAR_RATE):
        other = draw_scene(rng, reason_rate=0.05, adjunct_rate=0.3, avoid=scene.setting)
    elif not same:
        other = pick(rng, SMALL_CHANGES)(rng, scene)
    return tell_pair(rng, scene, other), float(same)


def _quantify(rng: random.Random, scene: Scene) -> tuple[Scene, Scene]:
    """Two scenes that differ in one quantifier; the first entails the second."""
    strong, weak = pick(
        rng,
        (
            ("all the", "most of the"),
            ("all the", "some"),
            ("most of the", "some"),
            (pick(rng, NUMBERS[2:]), "several"),
            ("many", "some"),
        ),
    )
    role = pick(rng, ("subject", "object"))
    phrase = replace(getattr(scene, role), adjective="")
    return (
        replace(scene, **{role: replace(phrase, determiner=strong)}),
        replace(scene, **{role: replace(phrase, determiner=weak)}),
    )


def draw_entailment(rng: random.Random) -> tuple[tuple[str, ...], float]:
    """Draw a premise and a hypothesis, and whether the first entails the second.

    Entailed hypotheses are more general: category for noun, adjunct or adjective dropped,
    weaker quantifier. Most of those that are not entailed deny what the premise says; the
    others tell of another scene, are more special, or change a role, a word or a number.

    Args:
        rng: Source of randomness.

    Returns:
        The pair and its label: 0 entailment, 1 not, in the order of RTE.
    """
    entailed = chance(rng, 0.5)
    scene = draw_scene(rng, reason_rate=0.05, adjunct_rate=0.35)
    premise, hypothesis = scene, pick(rng, (drop, drop, generalize))(rng, scene)
    if chance(rng, 0.15):
        premise, hypothesis = _quantify(rng, scene)
    elif chance(rng, 0.3):
        hypothesis = drop(rng, hypothesis)
    if not entailed:
        kind = rng.random()
        if kind < _NEGATED:
            hypothesis = negate(rng, hypothesis)
        elif kind < _NEGATED + _FAR:
            hypothesis = draw_scene(rng, reason_rate=0.05, avoid=scene.setting)
        elif kind < _NEGATED + _FAR + _REVERSED:
            premise, hypothesis = hypothesis, premise
        else:
            # Never from a generalized noun, whose exact words could still be true.
            premise = scene
            hypothesis = pick(rng, (add, *SMALL_CHANGES[:-1]))(rng, scene)
    return tell_pair(rng, premise, hypothesis), float(not entailed)
