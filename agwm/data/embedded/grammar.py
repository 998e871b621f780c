"""Scenes (who did what to whom, where and when) and the English sentences that tell them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from agwm.data.embedded.lexicon import (
    ADJECTIVES,
    DITRANSITIVES,
    NOUNS,
    PEOPLE,
    REASONS,
    SYNONYMS,
    TIMES,
    TRANSITIVES,
    Noun,
    Verb,
    pluralize,
)
from agwm.data.embedded.scenes import SETTINGS, Setting

__all__ = [
    "NUMBERS",
    "PLURAL_DETERMINERS",
    "Phrase",
    "Scene",
    "Style",
    "chance",
    "draw_phrase",
    "draw_scene",
    "draw_style",
    "finish",
    "pick",
    "tell",
    "tell_pair",
]

_T = TypeVar("_T")

NUMBERS = ("two", "three", "four", "five", "six")
PLURAL_DETERMINERS = frozenset({*NUMBERS, "all the", "some", "most of the", "several", "many", "no"})


def pick(rng: random.Random, options: Sequence[_T]) -> _T:
    """Draw one option uniformly.

    It uses only ``rng.random()``, because Python promises a stable stream for no other draw.

    Args:
        rng: Source of randomness.
        options: The options; not empty.

    Returns:
        One of ``options``.
    """
    return options[int(rng.random() * len(options))]


def chance(rng: random.Random, probability: float) -> bool:
    """Return True with the given probability."""
    return rng.random() < probability


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: determiner, adjective, noun.

    Attributes:
        noun: The head noun.
        determiner: ``"the"``, ``"a"``, ``"every"``, a number word or a quantifier.
        adjective: An adjective, or an empty string.
    """

    noun: Noun
    determiner: str = "the"
    adjective: str = ""

    @property
    def is_plural(self) -> bool:
        """True if a verb agrees with it in the plural."""
        return self.determiner in PLURAL_DETERMINERS

    def words(self, synonyms: bool = False) -> str:
        """Return the words of the phrase. The next word decides between a and an."""
        head, adjective = self.noun.singular, self.adjective
        if synonyms:
            head, adjective = SYNONYMS.get(head, head), SYNONYMS.get(adjective, adjective)
        if self.is_plural:
            head = pluralize(head)
        rest = f"{adjective} {head}" if adjective else head
        determiner = self.determiner
        if determiner == "a" and rest[0] in "aeiou":
            determiner = "an"
        return f"{determiner} {rest}"


@dataclass(frozen=True)
class Scene:
    """The facts of one sentence: who did what to whom, where, when and why.

    Attributes:
        subject: Who did it.
        verb: The action.
        object: The person or thing that the action was done to.
        setting: The walk of life that the scene is from.
        recipient: Who got the object, for verbs of giving.
        time: Adverbial of time, or an empty string.
        place: Adverbial of place, or an empty string.
        reason: Subordinate clause, or an empty string.
        negated: True if it did not happen.
    """

    subject: Phrase
    verb: Verb
    object: Phrase
    setting: Setting
    recipient: Phrase | None = None
    time: str = ""
    place: str = ""
    reason: str = ""
    negated: bool = False


@dataclass(frozen=True)
class Style:
    """Wording of a scene. Two styles of one scene mean the same.

    Attributes:
        passive: Object first, ``by`` the subject.
        double: Recipient before the object (``gave the boy a book``), active only.
        time_first: Time at the start of the sentence.
        reason_first: Subordinate clause at the start.
        cleft: ``It was the boy who ...``, active only.
        synonym_nouns: Nouns and adjectives swapped for their synonyms.
        synonym_verb: Verb swapped for its synonym.
        synonym_adjuncts: Time and place swapped for a synonym.
    """

    passive: bool = False
    double: bool = False
    time_first: bool = False
    reason_first: bool = False
    cleft: bool = False
    synonym_nouns: bool = False
    synonym_verb: bool = False
    synonym_adjuncts: bool = False


def draw_style(rng: random.Random, rate: float = 0.4) -> Style:
    """Draw a style. Each feature is drawn with probability ``rate``; some exclude each other."""
    flags = [chance(rng, rate) for _ in range(8)]
    passive, double, time_first, reason_first, cleft, nouns, verb, adjuncts = flags
    cleft = cleft and not passive and chance(rng, 0.5)
    return Style(
        passive,
        double and not passive,
        time_first and not reason_first,
        reason_first,
        cleft,
        nouns,
        verb,
        adjuncts,
    )


def draw_phrase(rng: random.Random, noun: Noun, adjective_rate: float = 0.4) -> Phrase:
    """Draw a determiner and perhaps an adjective for a noun."""
    determiner = pick(rng, ("the", "the", "a", "the", pick(rng, NUMBERS)))
    kind = "person" if noun.category in PEOPLE else "thing"
    adjective = pick(rng, ADJECTIVES[kind]) if chance(rng, adjective_rate) else ""
    return Phrase(noun, determiner, adjective)


def draw_scene(
    rng: random.Random,
    giving_rate: float = 0.2,
    reason_rate: float = 0.2,
    adjunct_rate: float = 0.5,
    avoid: Setting | None = None,
) -> Scene:
    """Draw a sensible scene: people, things and places of one setting.

    Args:
        rng: Source of randomness.
        giving_rate: Share of scenes with a recipient.
        reason_rate: Share of scenes with a subordinate clause.
        adjunct_rate: Share of scenes with a time, and with a place.
        avoid: A setting that must not be drawn.

    Returns:
        A scene in which no noun appears twice.
    """
    setting = pick(rng, [setting for setting in SETTINGS if setting is not avoid])
    giving = chance(rng, giving_rate)
    kinds = setting.things if giving or chance(rng, 0.8) else setting.people
    kind = pick(rng, kinds)
    verbs = [v for v in (DITRANSITIVES if giving else TRANSITIVES) if kind in v.objects]
    verb = pick(rng, verbs or [v for v in TRANSITIVES if kind in v.objects])
    people = [noun for name in setting.people for noun in PEOPLE[name]]
    subject = pick(rng, people)
    others = [noun for noun in people if noun != subject]
    thing = pick(rng, [noun for noun in NOUNS[kind] if noun != subject])
    recipient = draw_phrase(rng, pick(rng, others), 0.2) if verb in DITRANSITIVES else None
    return Scene(
        subject=draw_phrase(rng, subject),
        verb=verb,
        object=draw_phrase(rng, thing),
        setting=setting,
        recipient=recipient,
        time=pick(rng, TIMES) if chance(rng, adjunct_rate) else "",
        place=pick(rng, setting.places) if chance(rng, adjunct_rate) else "",
        reason=pick(rng, REASONS) if chance(rng, reason_rate) else "",
    )


def finish(words: str) -> str:
    """Capitalise the first letter, close up spaces and add the full stop."""
    text = " ".join(words.split()).replace(" ?", "?")
    return text[0].upper() + text[1:] + ("" if text.endswith("?") else ".")


def _predicate(scene: Scene, style: Style) -> str:
    """Return the verb with its negation. In the passive it agrees with its grammatical subject."""
    verb = scene.verb
    if style.passive:
        participle = verb.participle
        if style.synonym_verb:
            participle = SYNONYMS.get(participle, participle)
        was = "were" if scene.object.is_plural else "was"
        return f"{was} {'not ' if scene.negated else ''}{participle}"
    if scene.negated:
        return f"did not {verb.base}"
    return SYNONYMS.get(verb.past, verb.past) if style.synonym_verb else verb.past


def tell(scene: Scene, style: Style | None = None) -> str:
    """Write a scene as one English sentence.

    Args:
        scene: The facts of one sentence: who did what to whom, where, when and why.
        style: Wording of the sentence; None: plain active order.

    Returns:
        A capitalised sentence with a full stop.
    """
    style = style or Style()
    subject = scene.subject.words(style.synonym_nouns)
    thing = scene.object.words(style.synonym_nouns)
    other = scene.recipient.words(style.synonym_nouns) if scene.recipient else ""
    predicate = _predicate(scene, style)
    if style.passive:
        core = f"{thing} {predicate}{' to ' + other if other else ''} by {subject}"
    else:
        rest = f"{other} {thing}" if other and style.double else thing
        if other and not style.double:
            rest += f" to {other}"
        core = f"{subject} {predicate} {rest}"
        if style.cleft:
            core = f"it was {subject} who {predicate} {rest}"
    time, place = scene.time, scene.place
    if style.synonym_adjuncts:
        time, place = SYNONYMS.get(time, time), SYNONYMS.get(place, place)
    if style.time_first and time:
        core = f"{time}, {core} {place}"
    else:
        core = f"{core} {place} {time}"
    if scene.reason and style.reason_first:
        core = f"{scene.reason}, {core}"
    elif scene.reason:
        core = f"{core} {scene.reason}"
    return finish(core)


def tell_pair(rng: random.Random, first: Scene, second: Scene) -> tuple[str, str]:
    """Write two scenes, each in a style of its own, as two sentences that are never equal."""
    while True:
        pair = tell(first, draw_style(rng, 0.1)), tell(second, draw_style(rng, 0.25))
        if pair[0] != pair[1]:
            return pair
