"""The words of the embedded data: typed nouns, inflected verbs, adjectives and adjuncts.

Every noun belongs to a category that is itself a noun (a violinist is a musician), and every
verb lists the categories it takes as object, so sentences drawn at random stay sensible.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ADJECTIVES",
    "CATEGORIES",
    "DITRANSITIVES",
    "INTRANSITIVES",
    "MANNERS",
    "NOUNS",
    "PEOPLE",
    "REASONS",
    "SYNONYMS",
    "THINGS",
    "TIMES",
    "TRANSITIVES",
    "VERBS",
    "Noun",
    "Verb",
    "pluralize",
]


@dataclass(frozen=True)
class Noun:
    """A countable noun.

    Attributes:
        singular: Singular form.
        plural: Plural form.
        category: Singular form of the more general noun.
    """

    singular: str
    plural: str
    category: str


@dataclass(frozen=True)
class Verb:
    """A verb in its five forms.

    Attributes:
        base: Infinitive.
        third: Third person singular present.
        past: Simple past.
        participle: Past participle.
        gerund: Form in -ing.
        objects: Categories of noun it takes as object; empty for an intransitive verb.
    """

    base: str
    third: str
    past: str
    participle: str
    gerund: str
    objects: tuple[str, ...]


_IRREGULAR_PLURALS = {"salmon": "salmon", "trout": "trout", "scarf": "scarves", "goose": "geese"}


def pluralize(singular: str) -> str:
    """Return the plural of a singular noun."""
    if singular in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[singular]
    if singular.endswith(("s", "sh", "ch", "x")):
        return singular + "es"
    if singular.endswith("y") and singular[-2] not in "aeiou":
        return singular[:-1] + "ies"
    return singular + "s"


_PEOPLE_TABLE = {
    "musician": "violinist pianist drummer cellist trumpeter",
    "doctor": "surgeon cardiologist dentist psychiatrist",
    "scientist": "chemist biologist physicist geologist",
    "athlete": "swimmer runner boxer gymnast cyclist",
    "artist": "painter sculptor potter illustrator",
    "writer": "novelist poet journalist playwright",
    "worker": "carpenter plumber electrician welder miner",
    "relative": "aunt uncle cousin grandmother nephew",
    "official": "mayor judge senator ambassador",
    "cook": "chef baker butcher waiter",
    "farmer": "shepherd gardener beekeeper rancher",
}

_THINGS_TABLE = {
    "instrument": "guitar violin flute piano trumpet",
    "vehicle": "car truck bicycle van motorcycle",
    "document": "letter contract report invoice map",
    "book": "novel dictionary biography cookbook",
    "bird": "sparrow robin owl parrot goose",
    "dog": "poodle beagle terrier spaniel",
    "fish": "salmon trout carp herring",
    "fruit": "apple pear peach plum melon",
    "dish": "soup stew salad omelette",
    "seat": "chair sofa bench stool",
    "garment": "coat sweater jacket scarf dress",
    "picture": "portrait sketch photograph poster",
    "machine": "radio printer camera laptop clock",
    "tool": "hammer saw drill shovel ladder",
}


def _nouns(table: dict[str, str]) -> dict[str, tuple[Noun, ...]]:
    return {
        category: tuple(Noun(word, pluralize(word), category) for word in words.split())
        for category, words in table.items()
    }


PEOPLE = _nouns(_PEOPLE_TABLE)
THINGS = _nouns(_THINGS_TABLE)
NOUNS = {**PEOPLE, **THINGS}
CATEGORIES = {name: Noun(name, pluralize(name), "person" if name in PEOPLE else "thing") for name in NOUNS}

_PERSON = tuple(PEOPLE)
_GOODS = ("instrument", "vehicle", "book", "seat", "garment", "picture", "machine", "tool")
_ANIMALS = ("bird", "dog", "fish")


def _verb(forms: str, objects: tuple[str, ...] = ()) -> Verb:
    base, third, past, participle, gerund = forms.split()
    return Verb(base, third, past, participle, gerund, objects)


TRANSITIVES = (
    _verb(
        "repair repairs repaired repaired repairing",
        ("instrument", "vehicle", "seat", "machine", "tool"),
    ),
    _verb("buy buys bought bought buying", (*_GOODS, "fruit", "dog")),
    _verb("steal steals stole stolen stealing", (*_GOODS, "document", "dog")),
    _verb(
        "inspect inspects inspected inspected inspecting",
        ("vehicle", "document", "machine", "tool", "fruit", "instrument"),
    ),
    _verb("lose loses lost lost losing", ("document", "book", "garment", "tool", "dog")),
    _verb("find finds found found finding", (*_GOODS, *_ANIMALS, "document")),
    _verb("break breaks broke broken breaking", ("instrument", "seat", "machine", "tool")),
    _verb("hide hides hid hidden hiding", ("document", "book", "picture", "tool", "garment")),
    _verb("draw draws drew drawn drawing", (*_ANIMALS, "vehicle", "fruit", "seat")),
    _verb("choose chooses chose chosen choosing", (*_GOODS, "dish", "fruit")),
    _verb("photograph photographs photographed photographed photographing", _ANIMALS + _PERSON),
    _verb("feed feeds fed fed feeding", _ANIMALS),
    _verb("chase chases chased chased chasing", ("dog", "bird", "vehicle", *_PERSON)),
    _verb("prepare prepares prepared prepared preparing", ("dish", "document", "fruit")),
    _verb("eat eats ate eaten eating", ("dish", "fruit", "fish")),
    _verb("write writes wrote written writing", ("document", "book")),
    _verb("help helps helped helped helping", _PERSON),
    _verb("praise praises praised praised praising", (*_PERSON, "book", "dish", "picture")),
    _verb("criticize criticizes criticized criticized criticizing", (*_PERSON, "book", "document")),
    _verb("visit visits visited visited visiting", _PERSON),
    _verb("invite invites invited invited inviting", _PERSON),
    _verb("warn warns warned warned warning", _PERSON),
    _verb("hire hires hired hired hiring", _PERSON),
    _verb("follow follows followed followed following", (*_PERSON, "dog", "vehicle")),
    _verb("recognize recognizes recognized recognized recognizing", (*_PERSON, "picture", "dog")),
)

DITRANSITIVES = (
    _verb("give gives gave given giving", (*_GOODS, "fruit", "dog", "document")),
    _verb("send sends sent sent sending", ("document", "book", "picture", "garment", "fruit")),
    _verb("show shows showed shown showing", (*_GOODS, *_ANIMALS, "document")),
    _verb("lend lends lent lent lending", (*_GOODS, "document")),
    _verb("sell sells sold sold selling", (*_GOODS, *_ANIMALS, "fruit")),
    _verb("offer offers offered offered offering", (*_GOODS, "dish", "fruit")),
)

INTRANSITIVES = tuple(
    _verb(forms)
    for forms in (
        "laugh laughs laughed laughed laughing",
        "sleep sleeps slept slept sleeping",
        "arrive arrives arrived arrived arriving",
        "leave leaves left left leaving",
        "sing sings sang sung singing",
        "wait waits waited waited waiting",
        "complain complains complained complained complaining",
        "fall falls fell fallen falling",
        "disappear disappears disappeared disappeared disappearing",
        "smile smiles smiled smiled smiling",
    )
)

VERBS = (*TRANSITIVES, *DITRANSITIVES)

# One direction only; the sentence writer swaps a word for its partner.
SYNONYMS = {
    "repaired": "fixed",
    "bought": "purchased",
    "inspected": "examined",
    "lost": "misplaced",
    "found": "discovered",
    "prepared": "made",
    "helped": "assisted",
    "chose": "picked",
    "chosen": "picked",
    "hid": "concealed",
    "hidden": "concealed",
    "criticized": "attacked",
    "hired": "employed",
    "sent": "mailed",
    "chased": "pursued",
    "car": "automobile",
    "bicycle": "bike",
    "sofa": "couch",
    "photograph": "photo",
    "coat": "overcoat",
    "doctor": "physician",
    "writer": "author",
    "psychiatrist": "therapist",
    "journalist": "reporter",
    "worker": "laborer",
    "contract": "agreement",
    "invoice": "bill",
    "old": "aged",
    "small": "little",
    "expensive": "costly",
    "famous": "well-known",
    "angry": "furious",
    "strange": "odd",
    "large": "big",
    "last week": "a week ago",
    "on Monday": "at the start of the week",
    "after dinner": "once dinner was over",
    "near the river": "close to the river",
    "in the kitchen": "inside the kitchen",
    "at the market": "in the marketplace",
    "in the forest": "in the woods",
    "in the shop": "in the store",
}

ADJECTIVES = {
    "person": ("young", "old", "famous", "angry", "tall", "quiet", "nervous", "friendly"),
    "thing": ("old", "small", "large", "expensive", "strange", "beautiful", "heavy", "green"),
}

TIMES = (
    "yesterday",
    "last week",
    "this morning",
    "on Monday",
    "on Friday",
    "in March",
    "after dinner",
    "before noon",
)

MANNERS = ("quickly", "carefully", "secretly", "gladly", "slowly", "calmly")
REASONS = (
    "because the weather was bad",
    "although it was late",
    "while the others waited",
    "before the guests arrived",
    "after the meeting ended",
    "even though nobody asked",
)
