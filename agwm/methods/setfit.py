"""SetFit: tune the encoder on pairs of examples of the same or of another class, then fit a linear head."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agwm.errors import MissingExtraError
from agwm.methods.method import Job, OneLevelMethod, Outcome
from agwm.methods.pooled_encoder import fit_head_of, frame_of_pairs, own_model, pooled_model
from agwm.methods.probe import encoder_doubt, writer
from agwm.models.families import is_regression as has_scores
from agwm.models.pretrained import Pretrained
from agwm.models.probe import ProbeForSequenceClassification
from agwm.recipe.config import FinetuneConfig
from agwm.recipe.passes import training_passes
from agwm.training.config import TrainingConfig
from agwm.training.loop import Collate, measure

__all__ = ["ContrastivePairs", "SetFit"]

_LIBRARY = "sentence_transformers"
# The releases from 6 on have the loss in the first place, older ones in the second.
_LOSSES = (f"{_LIBRARY}.sentence_transformer.losses", f"{_LIBRARY}.losses")
_STREAM = 0x5E7F17  # the data order uses the same seed


class ContrastivePairs(Sequence[dict[str, Any]]):
    """Pairs of each example with one of its class, and with one of another; each look draws a partner.

    The only example of a class is its own partner. The draws depend on the seed and the order of the looks.

    Args:
        examples: Encoded examples of two classes or more.
        labels: Their classes.
        seed: Seed of the draws.

    Example:
        >>> pairs = ContrastivePairs(["a", "b"], [0, 1], seed=0)
        >>> [(pair["first"], pair["second"], pair["labels"]) for pair in pairs]
        [('a', 'a', 1.0), ('a', 'b', 0.0), ('b', 'b', 1.0), ('b', 'a', 0.0)]
    """

    def __init__(self, examples: Sequence[Any], labels: Sequence[int], seed: int) -> None:
        self.examples, self.labels = examples, np.asarray(labels)
        self._rng = np.random.default_rng([seed, _STREAM])

    def __len__(self) -> int:
        """Return twice the number of examples."""
        return 2 * len(self.examples)

    def __getitem__(self, index: Any) -> Any:
        """Return a pair: ``first``, ``second``, and ``labels``, 1.0 for the same class or 0.0.

        Raises:
            IndexError: If there is no such pair.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        place, is_other = divmod(index, 2)
        same = self.labels == self.labels[place]
        pool = np.flatnonzero(~same if is_other else same)
        if not is_other and len(pool) > 1:
            pool = pool[pool != place]
        partner = self.examples[int(self._rng.choice(pool))]
        return {"first": self.examples[place], "second": partner, "labels": float(not is_other)}


class _Embedder(nn.Module):
    """The encoder as sentence-transformers calls a model: features in, ``sentence_embedding`` out."""

    def __init__(self, model: ProbeForSequenceClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": self.model.features(**features)}


class SetFit(OneLevelMethod):
    """Tune the encoder by ``CosineSimilarityLoss`` of sentence-transformers, then fit the probe's head.

    The cosine of the two mean-pooled vectors of a pair is drawn to 1 if the classes are the same, and to 0
    if not. In an epoch each example meets one of its class, and one of another. Only classes of single
    texts are possible.

    Reference:
        Tunstall et al., "Efficient few-shot learning without prompts", 2022.
    """

    name = "setfit"
    acts_on = ("loss",)
    passes_per_step = 2
    replaces_head = True

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if labels are not classes, or the library is missing.

        Raises:
            MethodError: If labels are scores or label sets, or the encoder is of the model's own code.
            MissingExtraError: If sentence-transformers is not installed.
        """
        if importlib.util.find_spec(_LIBRARY) is None:
            raise MissingExtraError(
                "Method 'setfit' needs the library sentence-transformers: expected the extra 'setfit', got"
                " none. Run: pip install 'agwm[setfit]'"
            )
        kind = loaded.model.config.problem_type
        if has_scores(loaded.model) or kind == "multi_label_classification":
            got = "scores" if has_scores(loaded.model) else "label sets"
            raise self.refuse(loaded.model, f"expected one class for each example, got {got}.")
        if doubt := encoder_doubt(loaded.model):
            raise self.refuse(loaded.model, doubt)

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of passes: two for each batch of pairs, and a look at all examples."""
        look = training_passes(replace(training, epochs=1), num_examples) / 3
        return 2 * training_passes(self.training(training), 2 * num_examples) + look

    def run(self, job: Job) -> Outcome:
        """Tune the encoder, then fit the head on all examples.

        Raises:
            MethodError: If the examples are pairs of texts, or all of one class.
        """
        self.check(job.loaded, job.recipe)
        rows, old = list(job.examples), job.loaded.model
        if frame_of_pairs(job.loaded.tokenizer, rows) is not None:
            raise self.refuse(old, "expected single texts, got pairs.")
        labels = [int(row["labels"]) for row in rows]
        if len(set(labels)) < 2:
            raise self.refuse(old, "expected examples of two classes or more, got one.", "Add examples.")
        start = time.perf_counter()
        pooler = getattr(old.base_model, "pooler", None)
        embedder = _Embedder(own_model(old))
        embedder.model.classifier.requires_grad_(False)
        self._objective = _library_loss(embedder)
        pairs = ContrastivePairs(rows, labels, job.seed)
        own = replace(job, collate=_collate_with(job.collate))
        history = self.train_once(embedder, own, pairs, job.seed)
        tuned = time.perf_counter()
        if pooler is not None:
            old.base_model.pooler = pooler
        model, layer = pooled_model(job.loaded, rows)
        head = fit_head_of(model, layer, job)
        record = {"phase": f"{self.name} head", "step": history[-1]["step"] if history else 0}
        record["strength"] = head.strength
        if job.evaluate is not None:
            record |= measure(model, job.evaluate)
        seconds = {
            self.name: round(tuned - start, 3),
            f"{self.name} head": round(time.perf_counter() - tuned, 3),
        }
        passes = self.passes(job.training, job.recipe, len(rows), False)
        write = writer(model, job, self.name)
        return Outcome(model, passes, [*history, record], write, seconds=seconds)

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch of pairs."""
        return self._objective([batch["first"], batch["second"]], batch["labels"])


def _library_loss(embedder: nn.Module) -> Callable[..., Tensor]:
    """Return the library's loss of a model.

    Raises:
        MissingExtraError: If the library has no such loss.
    """
    for place in _LOSSES:
        if importlib.util.find_spec(place) is not None:
            return importlib.import_module(place).CosineSimilarityLoss(embedder)
    raise MissingExtraError(
        "Method 'setfit' finds no CosineSimilarityLoss in sentence-transformers: expected a release from"
        " 3.0 on, got another. Run: pip install 'agwm[setfit]'"
    )


def _collate_with(collate: Collate) -> Callable[[list[Any]], dict[str, Any]]:
    """Return a function that makes a batch of pairs: a padded batch for each side, without its labels."""

    def pairs(rows: list[Any]) -> dict[str, Any]:
        sides = {
            side: {
                key: value for key, value in collate([row[side] for row in rows]).items() if key != "labels"
            }
            for side in ("first", "second")
        }
        return {**sides, "labels": torch.tensor([row["labels"] for row in rows])}

    return pairs
