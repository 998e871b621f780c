"""Draw grammatical and ungrammatical sentences from ten constructions."""

from __future__ import annotations

import random
from collections.abc import Callable

from agwm.data.embedded.grammar import NUMBERS, chance, finish, pick
from agwm.data.embedded.lexicon import (
    ADJECTIVES,
    DITRANSITIVES,
    INTRANSITIVES,
    MANNERS,
    NOUNS,
    PEOPLE,
    REASONS,
    THINGS,
    TIMES,
    TRANSITIVES,
    Noun,
    Verb,
)
from agwm.data.embedded.scenes import PLACES

__all__ = ["draw_acceptability"]

_HAVE_TIMES = ("already", "never", "often", "just")
# Verbs of giving that do not take the recipient first.
_ONLY_TO = ("described", "explained", "donated", "reported", "mentioned")
# Verb, and whether its complement is in -ing (else: to + infinitive).
_COMPLEMENTS = (
    ("enjoyed", True),
    ("avoided", True),
    ("finished", True),
    ("kept", True),
    ("wanted", False),
    ("decided", False),
    ("refused", False),
    ("promised", False),
)
# Verbs that need an object, and intransitive verbs that could still take one.
_NEED_OBJECT = ("repair", "find", "chase", "recognize", "invite", "praise", "inspect")
_MAY_TAKE_OBJECT = ("leave", "sing")
_GENDERED = (("the man", "the king", "the boy"), ("the woman", "the queen", "the girl"), ("",))
_PRONOUNS = (("he", "him", "himself"), ("she", "her", "herself"), ("they", "them", "themselves"))


def _person(rng: random.Random) -> Noun:
    return pick(rng, PEOPLE[pick(rng, list(PEOPLE))])


def _who(rng: random.Random, plural: bool = False, adjective_rate: float = 0.3) -> str:
    noun = _person(rng)
    adjective = pick(rng, ADJECTIVES["person"]) + " " if chance(rng, adjective_rate) else ""
    return f"the {adjective}{noun.plural if plural else noun.singular}"


def _action(rng: random.Random) -> tuple[Verb, Noun]:
    verb = pick(rng, TRANSITIVES)
    return verb, pick(rng, NOUNS[pick(rng, verb.objects)])


def _tail(rng: random.Random) -> str:
    parts = [
        pick(rng, PLACES) if chance(rng, 0.35) else "",
        pick(rng, TIMES) if chance(rng, 0.35) else "",
        pick(rng, REASONS) if chance(rng, 0.15) else "",
    ]
    return " ".join(parts)


def _agreement(rng: random.Random, good: bool) -> str:
    """The keys of the doctor are / *is ..."""
    plural, attractor = chance(rng, 0.5), chance(rng, 0.5)
    verb, thing = _action(rng)
    link = pick(rng, ("near", "behind", "with", "beside"))
    third = plural != good
    predicate = (verb.third if third else verb.base) + f" the {thing.singular}"
    if chance(rng, 0.5):
        predicate = f"{'is' if third else 'are'} {verb.gerund} the {thing.singular}"
    return f"{_who(rng, plural)} {link} {_who(rng, attractor, 0.0)} {predicate} {_tail(rng)}"


def _auxiliary(rng: random.Random, good: bool) -> str:
    """Has repaired / *has repair; did not repair / *did not repaired; was / *were."""
    verb, thing = _action(rng)
    subject, rest = _who(rng), f"the {thing.singular} {_tail(rng)}"
    kind = int(rng.random() * 3)
    if kind == 0:
        form = verb.participle if good else pick(rng, (verb.base, verb.gerund))
        return f"{subject} has {pick(rng, _HAVE_TIMES)} {form} the {thing.singular}"
    if kind == 1:
        form = verb.base if good else pick(rng, (verb.past, verb.third))
        return f"{subject} {pick(rng, ('did not', 'could not', 'might'))} {form} {rest}"
    form = verb.participle if good else pick(rng, (verb.base, verb.gerund))
    return f"the {thing.singular} was {form} by {subject} {_tail(rng)}"


def _order(rng: random.Random, good: bool) -> str:
    """Adverbs, adjectives and objects in their places, or in wrong ones."""
    verb, thing = _action(rng)
    subject, manner = _who(rng), pick(rng, MANNERS)
    adjective = pick(rng, ADJECTIVES["person" if thing.category in PEOPLE else "thing"])
    patterns = (
        (f"{subject} {manner} {verb.past} the {adjective} {thing.singular}",),
        (
            f"{subject} {verb.past} {manner} the {adjective} {thing.singular}",
            f"{subject} {verb.past} the {thing.singular} {adjective} {manner}",
            f"{subject} the {adjective} {thing.singular} {manner} {verb.past}",
            f"{subject} {verb.past} the {manner} {thing.singular}",
        ),
    )
    return f"{pick(rng, patterns[not good])} {_tail(rng)}"


def _argument(rng: random.Random, good: bool) -> str:
    """A transitive verb needs its object, an intransitive one takes none."""
    subject, tail = _who(rng), _tail(rng)
    if chance(rng, 0.5):
        verb = pick(rng, [verb for verb in TRANSITIVES if verb.base in _NEED_OBJECT])
        thing = pick(rng, NOUNS[pick(rng, verb.objects)])
        return f"{subject} {verb.past} {f'the {thing.singular}' if good else ''} {tail}"
    verb = pick(rng, [verb for verb in INTRANSITIVES if verb.base not in _MAY_TAKE_OBJECT])
    thing = _action(rng)[1]
    return f"{subject} {verb.past} {'' if good else f'the {thing.singular}'} {tail}"


def _case(rng: random.Random, good: bool) -> str:
    """He saw him / *him saw he."""
    nominative, accusative, _ = pick(rng, _PRONOUNS)
    verb, thing = _action(rng)
    if chance(rng, 0.5):
        subject = nominative if good else accusative
        other = f" and {_who(rng)}" if chance(rng, 0.3) else ""
        return f"{subject}{other} {verb.past} the {thing.singular} {_tail(rng)}"
    give = pick(rng, DITRANSITIVES)
    gift = pick(rng, NOUNS[pick(rng, give.objects)])
    return f"{_who(rng)} {give.past} the {gift.singular} to {accusative if good else nominative}"


def _number(rng: random.Random, good: bool) -> str:
    """Many books / *many book; this book / *this books."""
    verb, thing = _action(rng)
    while thing.plural == thing.singular:
        verb, thing = _action(rng)
    plural = chance(rng, 0.5)
    many = (*NUMBERS, "many", "these", "several")
    determiner = pick(rng, many if plural else ("every", "this", "each", "another"))
    form = thing.plural if plural == good else thing.singular
    return f"{_who(rng)} {verb.past} {determiner} {form} {_tail(rng)}"


def _question(rng: random.Random, good: bool) -> str:
    """Questions: what did she repair? / *What did she repair the radio?"""
    verb, thing = _action(rng)
    word = "who" if thing.category in PEOPLE else "what"
    kind = int(rng.random() * 2)
    if kind == 0:
        extra = "" if good else f"the {thing.singular}"
        return f"{word} did {_who(rng)} {verb.base} {extra} {_tail(rng)} ?"
    subject = _who(rng)
    start = f"why did {subject}" if good else f"why {subject} did"
    return f"{start} {verb.base} the {thing.singular} {_tail(rng)} ?"


def _complement(rng: random.Random, good: bool) -> str:
    """Enjoyed feeding / *enjoyed to feed."""
    head, gerund = pick(rng, _COMPLEMENTS)
    verb, thing = _action(rng)
    form = verb.gerund if gerund == good else f"to {verb.base}"
    return f"{_who(rng)} {head} {form} the {thing.singular} {_tail(rng)}"


def _dative(rng: random.Random, good: bool) -> str:
    """Gave the museum a picture / *donated the museum a picture."""
    noun = pick(rng, NOUNS[pick(rng, list(THINGS))])
    thing, other, subject = f"the {noun.singular}", _who(rng), _who(rng)
    if chance(rng, 0.5):
        verb = pick(rng, DITRANSITIVES).past
        rest = f"{other} {thing}" if good else f"{thing} {other}"
        return f"{subject} {verb} {rest} {_tail(rng)}"
    verb = pick(rng, _ONLY_TO)
    rest = f"{thing} to {other}" if good else f"{other} {thing}"
    return f"{subject} {verb} {rest} {_tail(rng)}"


def _reflexive(rng: random.Random, good: bool) -> str:
    """The women blamed themselves / *himself."""
    index = int(rng.random() * 3)
    subject = pick(rng, _GENDERED[index])
    if index == 2:
        subject = _who(rng, plural=True)
    wrong = (index + 1 + int(rng.random() * 2)) % 3
    reflexive = _PRONOUNS[index if good else wrong][2]
    link = f"{pick(rng, ('near', 'behind', 'beside'))} {_who(rng, chance(rng, 0.5), 0.0)}"
    verb = pick(rng, ("blamed", "hurt", "praised", "recognized", "photographed"))
    return f"{subject} {link if chance(rng, 0.5) else ''} {verb} {reflexive} {_tail(rng)}"


_KINDS: tuple[Callable[[random.Random, bool], str], ...] = (
    _agreement,
    _auxiliary,
    _order,
    _argument,
    _case,
    _number,
    _question,
    _complement,
    _dative,
    _reflexive,
)


def _shuffled(rng: random.Random, words: list[str]) -> list[str]:
    """Return the words in random order."""
    words = list(words)
    for last in range(len(words) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        words[last], words[other] = words[other], words[last]
    return words


def _article_last(rng: random.Random, words: list[str]) -> list[str]:
    """Move each ``the`` behind the word that follows it."""
    words = list(words)
    for place in range(len(words) - 1):
        if words[place] == "the":
            words[place : place + 2] = words[place + 1], "the"
    return words


def _bare(rng: random.Random, words: list[str]) -> list[str]:
    """Remove every ``the``."""
    return [word for word in words if word != "the"]


def _cut(rng: random.Random, words: list[str]) -> list[str]:
    """Cut the sentence off right after a later ``the``, so that its noun is missing."""
    later = [place for place, word in enumerate(words) if word == "the" and place > 1]
    return words[: later[0] + 1] if later else _shuffled(rng, words)


_BREAKS = (_cut, _cut, _cut, _bare, _article_last)
_BROKEN_RATE = 0.85


def draw_acceptability(rng: random.Random) -> tuple[tuple[str, ...], float]:
    """Draw one sentence and a label: 1 if it is acceptable, else 0.

    Good and bad sentences come from the same ten constructions. A bad one either breaks the
    order or the articles of the whole sentence, or has one minimal error: agreement, auxiliary,
    adverb order, arguments, case, number, question, complement, dative, reflexive.

    Args:
        rng: Source of randomness.

    Returns:
        The sentence (a 1-tuple) and its label: 1 acceptable, 0 not.
    """
    good, broken = chance(rng, 0.5), chance(rng, _BROKEN_RATE)
    text = pick(rng, _KINDS)(rng, good or broken)
    if broken and not good:
        words = text.replace("?", "").split()
        text = " ".join(pick(rng, _BREAKS)(rng, words)) + (" ?" if "?" in text else "")
    return (finish(text),), float(good)
