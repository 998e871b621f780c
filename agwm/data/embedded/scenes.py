"""Settings of the embedded data: people, things and places that go together."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLACES", "SETTINGS", "Setting"]


@dataclass(frozen=True)
class Setting:
    """People, things and places that go together in one walk of life.

    Attributes:
        people: Categories of people.
        things: Categories of things.
        places: Adverbials of place.
    """

    people: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]


SETTINGS = (
    Setting(
        ("musician", "artist"),
        ("instrument",),
        ("in the concert hall", "at the music school", "on the stage"),
    ),
    Setting(("worker",), ("vehicle", "tool"), ("in the garage", "at the workshop", "on the highway")),
    Setting(("cook", "relative"), ("dish", "fruit"), ("in the kitchen", "at the restaurant")),
    Setting(("farmer",), ("bird", "dog", "fish"), ("near the river", "in the barn", "in the forest")),
    Setting(("official", "writer"), ("document", "book"), ("in the library", "outside the courthouse")),
    Setting(("scientist", "doctor"), ("machine",), ("in the laboratory", "at the hospital")),
    Setting(
        ("artist", "relative"),
        ("garment", "picture", "seat"),
        ("at the market", "outside the museum", "in the shop"),
    ),
    Setting(("athlete",), ("dog", "vehicle", "garment"), ("in the park", "at the stadium")),
)
PLACES = tuple(place for setting in SETTINGS for place in setting.places)
