"""Which settings the number of passes depends on, found by changing each of them."""

from __future__ import annotations

import dataclasses

from agwm.hypergradient.settings import Hypergradient
from agwm.methods.two_level import AsDrawn, Frozen
from agwm.methods.vanilla import VanillaLong, VanillaSteps
from agwm.recipe.config import FinetuneConfig, SearchConfig
from agwm.recipe.passes import COUNTED, STEPS, finetune_passes, finetune_steps
from agwm.training.config import TrainingConfig

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


def test_passes_and_steps_depend_on_these_settings_and_on_no_others():
    config = FinetuneConfig(
        hypergradient=Hypergradient()
    )  # explicit has neither epsilon nor batch_fraction
    found, steps, known = set(), set(), set()
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
            if finetune_steps(changed, 300) != finetune_steps(config, 300):
                steps.add(name)
    assert (found, steps) == (COUNTED, STEPS)
    assert VanillaLong().unused() == known - COUNTED
    of_stages = {name for name in known if name.startswith(("search.", "final."))}
    assert VanillaSteps().unused() == of_stages - STEPS


def test_controls_take_as_many_steps_as_agwm():
    config, vanilla = FinetuneConfig(search=SearchConfig(num_resplits=2, roll_back=True)), TrainingConfig()
    steps = finetune_steps(config, 300)
    assert steps == 2 * 3 * 15 + 3 * 19  # two searches on 240 examples, then all 300
    for control in (Frozen(), AsDrawn()):
        assert control.passes(vanilla, config, 300, False) == steps
    assert VanillaSteps().passes(vanilla, config, 300, False) == 8 * 19  # the next whole epoch
