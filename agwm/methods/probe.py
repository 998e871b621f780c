"""A probe: a linear head on the mean-pooled hidden states of a frozen encoder."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agwm.batches import to_device
from agwm.cards import CardFacts
from agwm.checks import check_fields
from agwm.errors import DataError, DivergenceError
from agwm.finiteness import check_weights
from agwm.methods.linear_head import LinearHead, fit_classes, fit_label_set, fit_scores
from agwm.methods.method import Job, Method, Outcome
from agwm.methods.plain_checkpoint import write_plain
from agwm.models.pretrained import Pretrained
from agwm.models.probe import ProbeConfig, ProbeForSequenceClassification, split_pair
from agwm.models.probe_frame import frame_of
from agwm.models.probe_layer import can_pool_uniformly, pool_uniformly
from agwm.recipe.config import FinetuneConfig
from agwm.training.config import TrainingConfig
from agwm.training.loop import measure

__all__ = ["Probe", "ProbeSettings", "features_of", "fit_head_of", "pooled_model"]


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of :class:`Probe`.

    Attributes:
        is_stock: Where the family allows it, give single texts a model that transformers loads without agwm.
    """

    is_stock: bool = True

    def __post_init__(self) -> None:
        check_fields(self)


class Probe(Method):
    """Fit a linear head on the frozen encoder's mean hidden states: logistic or ridge regression.

    Of a pair the head reads ``(u, v, |u - v|, u * v)`` of the two texts, each encoded alone. The strength of
    the head's penalty is chosen by cross-validation. Nothing is drawn at random.
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
        base: nn.Module = loaded.model.base_model
        if not type(base).__module__.startswith("transformers."):
            raise self.refuse(
                loaded.model,
                f"expected an encoder of transformers, got {type(base).__name__} of the model's own code.",
                "Choose another method.",
            )
        if base is loaded.model:
            raise self.refuse(
                loaded.model, "expected an encoder apart from the head, got one with the head inside."
            )

    def passes(
        self, training: TrainingConfig, recipe: FinetuneConfig, num_examples: int, is_regression: bool
    ) -> float:
        """Return the number of passes: the encoder runs forward once."""
        return math.ceil(num_examples / training.batch_size) / 3

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


def pooled_model(
    loaded: Pretrained, examples: Sequence[Any], is_stock: bool = True
) -> tuple[PreTrainedModel, nn.Linear]:
    """Return a model whose last linear map reads the mean of the encoder's hidden states.

    Args:
        loaded: The pretrained model. Its encoder becomes a part of the new one, or is changed in place.
        examples: Encoded examples, of which the first ones tell texts from pairs.
        is_stock: True to keep the model's own class where its blocks can compute the mean.

    Returns:
        The model, in evaluation mode on the same device, and its last linear map.

    Raises:
        DataError: If some examples are pairs and others are not.
    """
    frame = _frame_of_pairs(loaded.tokenizer, examples)
    old = loaded.model
    if frame is None and is_stock and can_pool_uniformly(old):
        layer = pool_uniformly(old)
        return old.eval(), layer
    encoder = cast(PreTrainedModel, old.base_model)
    plain = encoder.config.to_dict()
    plain = {key: value for key, value in plain.items() if not key.startswith("_") and key not in _OF_HEAD}
    config = ProbeConfig(
        plain,
        frame,
        num_labels=old.config.num_labels,
        pad_token_id=old.config.pad_token_id,
        problem_type=old.config.problem_type,
        id2label=copy.deepcopy(old.config.id2label),
        label2id=copy.deepcopy(old.config.label2id),
    )
    config._name_or_path = old.config._name_or_path
    model = ProbeForSequenceClassification(config, encoder).to(old.device)
    return model.eval(), model.classifier


# Entries of a config that say what the head does, not how the encoder is built.
_OF_HEAD = ("id2label", "label2id", "problem_type", "architectures", "dtype", "transformers_version")


def _frame_of_pairs(
    tokenizer: PreTrainedTokenizerBase | None, examples: Sequence[Any]
) -> dict[str, list[int]] | None:
    """Return the frame of pairs if the examples are pairs, None if they are single texts.

    Raises:
        DataError: If some are pairs and others are not.
    """
    if tokenizer is None or (frame := frame_of(tokenizer)) is None:
        return None
    are_pairs = [split_pair(_tokens(example), frame) is not None for example in examples]
    if any(are_pairs) and not all(are_pairs):
        place = are_pairs.index(not are_pairs[0])
        raise DataError(
            f"Some examples are pairs of texts: expected all of one kind, got one of the other kind in example"
            f" {place + 1}. Give each example the same columns."
        )
    return frame if any(are_pairs) else None


def _tokens(example: Any) -> list[int]:
    """Return an example's token ids without padding."""
    ids = np.asarray(example["input_ids"])
    mask = example.get("attention_mask")
    return (ids if mask is None else ids[np.asarray(mask).astype(bool)]).tolist()


@torch.no_grad()
def features_of(model: PreTrainedModel, layer: nn.Linear, job: Job) -> np.ndarray:
    """Return what a linear map of a model reads for each example.

    Args:
        model: The model, in evaluation mode.
        layer: The map.
        job: The examples, and how to make batches of them.

    Returns:
        Float64 array of shape (examples, features).

    Raises:
        DivergenceError: If a number is not finite.
    """
    rows = list(job.examples)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    parts: list[np.ndarray] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: parts.append(inputs[0].double().cpu().numpy()))
    device = next(model.parameters()).device
    try:
        for start in range(0, len(order), job.training.batch_size):
            chosen = [rows[index] for index in order[start : start + job.training.batch_size]]
            batch = {key: value for key, value in job.collate(chosen).items() if key != "labels"}
            model(**to_device(batch, device))
    finally:
        hook.remove()
    features = np.concatenate([part.reshape(-1, layer.in_features) for part in parts])
    if not np.isfinite(features).all():
        raise DivergenceError(
            f"Hidden states are not finite: expected numbers for {len(rows)} examples, got NaN or infinity."
            " Pass another --model."
        )
    return features[np.argsort(order)]


def fit_head_of(model: PreTrainedModel, layer: nn.Linear, job: Job) -> LinearHead:
    """Fit the last linear map of a model on the job's examples, and write it.

    Args:
        model: The model, in evaluation mode.
        layer: Its last linear map; written.
        job: Examples with labels, and weights of classes where there are some.
    """
    features = features_of(model, layer, job)
    labels = np.asarray([np.asarray(row["labels"], dtype=np.float64) for row in job.examples])
    given = getattr(job, "class_weights", None)
    weights = None if given is None else given.double().cpu().numpy()
    kind = model.config.problem_type
    if kind == "multi_label_classification":
        head = fit_label_set(features, labels, weights)
    elif kind == "regression" or model.config.num_labels == 1:
        head = fit_scores(features, labels)
    else:
        head = fit_classes(features, labels.astype(np.int64), model.config.num_labels, weights)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))
    return head


def writer(model: PreTrainedModel, job: Job, method: str) -> Any:
    """Return the function that writes a pooled model, its tokenizer and its card into a new folder."""

    def write(folder: Path, facts: CardFacts) -> None:
        check_weights(model, "", "It is not saved: pass another --model.")
        write_plain(model, job.loaded.tokenizer, folder, replace(facts, method=method))

    return write
