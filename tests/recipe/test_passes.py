"""Which settings the number of passes depends on, found by changing each of them."""

from __future__ import annotations

import dataclasses

from agwm.methods.vanilla import VanillaLong
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import COUNTED, finetune_passes

OTHERS = {
    "mixing.formula": "factored",
    "mixing.alpha": "frozen",
    "mixing.include": ["*.weight"],
    "mixing.exclude": ["*.0.*"],
    "hypergradient.scheme": "forward",
    "hypergradient.best_response": "identity",
    "hypergradient.epsilon": 0.1,
    "hypergradient.order": "first",
    "search.schedule": "cosine",
    "search.precision": "bf16",
    "search.attention_schedule": "constant",
    "final.schedule": "cosine",
    "final.precision": "bf16",
}


def other(name: str, value: object) -> object:
    """Return another value of a setting."""
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    return 2 * value if isinstance(value, int) else value / 2 + 0.01


def test_passes_depend_on_these_settings_and_on_no_others():
    config = FinetuneConfig()
    found, known = set(), set()
    for section in ("mixing", "hypergradient", "search", "final"):
        part = getattr(config, section)
        for key in dataclasses.fields(part):
            name = f"{section}.{key.name}"
            value = other(name, getattr(part, key.name))
            assert value != getattr(part, key.name)
            changed = dataclasses.replace(
                config, **{section: dataclasses.replace(part, **{key.name: value})}
            )
            known.add(name)
            if finetune_passes(changed, 300) != finetune_passes(config, 300):
                found.add(name)
    assert found == COUNTED
    assert VanillaLong().unused() == known - COUNTED
