"""Change a scene: alter its meaning a little, or make it more or less general."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agwm.data.embedded.grammar import NUMBERS, Scene, chance, pick
from agwm.data.embedded.lexicon import (
    ADJECTIVES,
    CATEGORIES,
    DITRANSITIVES,
    NOUNS,
    PEOPLE,
    REASONS,
    TIMES,
    VERBS,
    Noun,
)

__all__ = ["SMALL_CHANGES", "Change", "add", "drop", "generalize", "negate"]

Change = Callable[[random.Random, Scene], Scene]


def _with(scene: Scene, part: str, value: Any) -> Scene:
    return replace(scene, **{part: value})


def _other(rng: random.Random, options: Sequence[str], old: str) -> str:
    return pick(rng, [option for option in options if option != old])


def _sister(rng: random.Random, noun: Noun) -> Noun:
    return pick(rng, [other for other in NOUNS.get(noun.category, (noun,)) if other != noun] or [noun])


def _swap_roles(rng: random.Random, scene: Scene) -> Scene:
    """Exchange subject and recipient, or subject and a personal object."""
    if scene.recipient is not None:
        return replace(scene, subject=scene.recipient, recipient=scene.subject)
    if scene.object.noun.category in PEOPLE:
        return replace(scene, subject=scene.object, object=scene.subject)
    return _change_noun(rng, scene)


def _change_noun(rng: random.Random, scene: Scene) -> Scene:
    if chance(rng, 0.5):
        return replace(scene, subject=replace(scene.subject, noun=_sister(rng, scene.subject.noun)))
    return replace(scene, object=replace(scene.object, noun=_sister(rng, scene.object.noun)))


def _change_verb(rng: random.Random, scene: Scene) -> Scene:
    category, giving = scene.object.noun.category, scene.recipient is not None
    options = [
        verb
        for verb in VERBS
        if category in verb.objects and verb != scene.verb and (verb in DITRANSITIVES) == giving
    ]
    return replace(scene, verb=pick(rng, options)) if options else _change_noun(rng, scene)


def _change_number(rng: random.Random, scene: Scene) -> Scene:
    old = scene.object.determiner
    new = _other(rng, NUMBERS, old) if old in NUMBERS else pick(rng, NUMBERS)
    return replace(scene, object=replace(scene.object, determiner=new))


def _change_time(rng: random.Random, scene: Scene) -> Scene:
    if scene.time:
        return replace(scene, time=_other(rng, TIMES, scene.time))
    return _change_place(rng, scene) if scene.place else _change_number(rng, scene)


def _change_place(rng: random.Random, scene: Scene) -> Scene:
    if scene.place:
        return replace(scene, place=_other(rng, scene.setting.places, scene.place))
    return _change_noun(rng, scene)


def negate(rng: random.Random, scene: Scene) -> Scene:
    """Negate the scene, or remove its negation."""
    return replace(scene, negated=not scene.negated)


SMALL_CHANGES: tuple[Change, ...] = (
    _swap_roles,
    _swap_roles,
    _change_noun,
    _change_verb,
    _change_number,
    _change_time,
    negate,
)


def generalize(rng: random.Random, scene: Scene) -> Scene:
    """Replace a noun by its category."""
    role = pick(rng, ("subject", "object"))
    phrase = getattr(scene, role)
    if phrase.noun in CATEGORIES.values():
        return scene
    determiner = "a" if phrase.determiner == "the" else phrase.determiner
    general = replace(phrase, noun=CATEGORIES[phrase.noun.category], determiner=determiner)
    return _with(scene, role, general)


def drop(rng: random.Random, scene: Scene) -> Scene:
    """Leave out an adjunct or an adjective."""
    adjuncts = [name for name in ("time", "place", "reason") if getattr(scene, name)]
    shorter = [_with(scene, name, "") for name in adjuncts]
    for role in ("subject", "object"):
        phrase = getattr(scene, role)
        if phrase.adjective:
            shorter.append(_with(scene, role, replace(phrase, adjective="")))
    return pick(rng, shorter) if shorter else generalize(rng, scene)


def add(rng: random.Random, scene: Scene) -> Scene:
    """Add an adjunct or an adjective that the premise does not have."""
    longer = []
    for name, words in (("time", TIMES), ("place", scene.setting.places), ("reason", REASONS)):
        if not getattr(scene, name):
            longer.append(_with(scene, name, pick(rng, words)))
    for role, kind in (("subject", "person"), ("object", "thing")):
        phrase = getattr(scene, role)
        if not phrase.adjective and (kind == "person" or phrase.noun.category not in PEOPLE):
            adjective = pick(rng, ADJECTIVES[kind])
            longer.append(_with(scene, role, replace(phrase, adjective=adjective)))
    return pick(rng, longer) if longer else _change_noun(rng, scene)
