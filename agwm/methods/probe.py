"""A probe: a linear head on the mean-pooled hidden states of a frozen encoder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from agwm.cards import CARD_FILE, CardFacts, card_text
from agwm.checks import check_fields
from agwm.files import write_text
from agwm.finiteness import check_weights
from agwm.methods.method import Job, Method, Outcome
from agwm.methods.plain_checkpoint import write_plain
from agwm.methods.pooled_encoder import fit_head_of, pooled_model
from agwm.models.pretrained import Pretrained
from agwm.models.probe import ProbeForSequenceClassification
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import training_passes
from agwm.training.config import TrainingConfig
from agwm.training.loop import measure

__all__ = ["Probe", "ProbeSettings", "encoder_doubt", "writer"]

_ABOUT = """An encoder with a linear head on the mean of its hidden states; of a pair of texts each is
encoded alone. transformers has no such class: it is in `probe.py` beside the weights, and needs no agwm."""
_CODE = """from transformers import pipeline

# trust_remote_code runs probe.py of this folder; after `import agwm.models.probe` it is not needed
classify = pipeline("text-classification", model=".", truncation=True, trust_remote_code=True)
print(classify({example}))
"""
_EXAMPLES = ('"A text."', '{"text": "One text.", "text_pair": "Another text."}')


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of :class:`Probe`.

    Attributes:
        is_stock: True to give single texts, where the family allows it, a model that transformers loads
            without agwm.
    """

    is_stock: bool = True

    def __post_init__(self) -> None:
        check_fields(self)


class Probe(Method):
    """Fit a linear head on the frozen encoder's mean hidden states: logistic or ridge regression.

    Of a pair the head reads ``(u, v, |u - v|, u * v)`` of the two texts, each encoded alone. The strength
    of the head's penalty is chosen by cross-validation. Nothing is drawn at random.
    """

    name = "probe"
    acts_on = ("initialization",)
    settings_class = ProbeSettings
    passes_per_step = "a third, once"
    is_seeded = False
    replaces_head = True

    def unused(self) -> frozenset[str]:
        """Return the dotted names of vanilla's settings, all but the size of a batch."""
        names = TrainingConfig.__dataclass_fields__
        return frozenset(f"vanilla.{name}" for name in names if name != "batch_size")

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the encoder is of code that came with it: no file could say how to build it again.

        Raises:
            MethodError: If so.
        """
        if doubt := encoder_doubt(loaded.model):
            raise self.refuse(loaded.model, doubt)

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of passes: the encoder runs forward once."""
        return training_passes(replace(training, epochs=1), num_examples) / 3

    def run(self, job: Job) -> Outcome:
        """Fit the head on all examples."""
        self.check(job.loaded, job.recipe)
        start = time.perf_counter()
        model, layer = pooled_model(job.loaded, job.examples, self.settings.is_stock)
        head = fit_head_of(model, layer, job)
        seconds = {self.name: round(time.perf_counter() - start, 3)}
        record: dict[str, Any] = {"phase": self.name, "step": 0, "strength": head.strength}
        if job.evaluate is not None:
            record |= measure(model, job.evaluate)
        passes = self.passes(job.training, job.recipe, len(job.examples), False)
        return Outcome(model, passes, [record], writer(model, job, self.name), seconds=seconds)


def encoder_doubt(model: PreTrainedModel) -> str | None:
    """Return why a model's encoder cannot stand in a model of its own, as "expected X, got Y."; or None."""
    base: nn.Module = model.base_model
    if not type(base).__module__.startswith("transformers."):
        return f"expected an encoder of transformers, got {type(base).__name__} of the model's own code."
    return "expected an encoder apart from the head, got one around it." if base is model else None


def writer(model: PreTrainedModel, job: Job, method: str) -> Callable[[Path, CardFacts], None]:
    """Return the function that writes a pooled model, its tokenizer and its card into a new folder."""

    def write(folder: Path, facts: CardFacts) -> None:
        check_weights(model, "", "It is not saved: pass another --model.")
        facts = replace(facts, method=method)
        write_plain(model, job.loaded.tokenizer, folder, facts)
        if isinstance(model, ProbeForSequenceClassification):
            code = _CODE.format(example=_EXAMPLES[model.config.frame is not None])
            write_text(folder / CARD_FILE, card_text(model, _ABOUT, code, facts))

    return write
