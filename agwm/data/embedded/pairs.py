"""Draw pairs of sentences for paraphrase and entailment, with their labels."""

from __future__ import annotations

import random
from dataclasses import replace

from agwm.data.embedded.changes import SMALL_CHANGES, add, drop, generalize, negate
from agwm.data.embedded.grammar import NUMBERS, Scene, chance, draw_scene, pick, tell_pair

__all__ = ["draw_entailment", "draw_paraphrase"]

# Share of the non-paraphrases whose second sentence is about another walk of life. The rest differ in
# one detail. A model can hardly learn to see that from a hundred examples.
_FAR_RATE = 0.9
# Shares of three kinds among the hypotheses that do not follow. The fourth kind takes the rest.
_NEGATED, _FAR, _REVERSED = 0.75, 0.1, 0.05


def draw_paraphrase(rng: random.Random) -> tuple[tuple[str, ...], float]:
    """Draw two sentences and a label: 1 if they mean the same, else 0.

    Each sentence has a style of its own: synonyms, passive, dative, clause order, cleft. The
    sentences of a non-paraphrase tell different scenes, or differ in one role, noun, verb, number,
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
    """Return two scenes that differ in one quantifier. The first entails the second."""
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
    """Draw a premise and a hypothesis, and a label: 0 if the first entails the second, else 1.

    An entailed hypothesis is more general than its premise: it names the category of a noun, drops
    an adjunct or adjective, or has a weaker quantifier. Most of the other hypotheses deny their
    premise. The rest tell another scene, are more specific, or change a role, a word or a number.

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
            # The premise names the exact noun: a change of a general noun could still be true.
            premise = scene
            hypothesis = pick(rng, (add, *SMALL_CHANGES[:-1]))(rng, scene)
    return tell_pair(rng, premise, hypothesis), float(not entailed)
