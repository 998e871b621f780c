"""The encoder of a classifier with its hidden states pooled, and the head that is fitted on them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agwm.batches import to_device
from agwm.errors import DataError, DivergenceError
from agwm.methods.job import Job
from agwm.methods.linear_head import LinearHead, fit_classes, fit_label_set, fit_scores
from agwm.models.pretrained import Pretrained
from agwm.models.probe import ProbeConfig, ProbeForSequenceClassification, split_pair
from agwm.models.probe_frame import frame_of
from agwm.models.probe_layer import can_pool_uniformly, pool_uniformly

__all__ = ["features_of", "fit_head_of", "frame_of_pairs", "own_model", "pooled_model"]

# Entries of a config that say what the head does, not how the encoder is built.
_OF_HEAD = ("id2label", "label2id", "problem_type", "architectures", "dtype", "transformers_version")


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
    frame = frame_of_pairs(loaded.tokenizer, examples)
    old = loaded.model
    if frame is None and is_stock and can_pool_uniformly(old):
        layer = pool_uniformly(old)
        return old.eval(), layer
    model = own_model(old, frame)
    return model, model.classifier


def own_model(
    model: PreTrainedModel, frame: dict[str, list[int]] | None = None
) -> ProbeForSequenceClassification:
    """Return a model of the probe's own class around the encoder of another.

    Args:
        model: The model with the encoder, which loses its pooler, and with the labels.
        frame: How pairs are written; None: single texts.
    """
    encoder = cast(PreTrainedModel, model.base_model)
    plain = encoder.config.to_dict()
    plain = {key: value for key, value in plain.items() if not key.startswith("_") and key not in _OF_HEAD}
    config = ProbeConfig(
        plain,
        frame,
        num_labels=model.config.num_labels,
        pad_token_id=model.config.pad_token_id,
        problem_type=model.config.problem_type,
        id2label=copy.deepcopy(model.config.id2label),
        label2id=copy.deepcopy(model.config.label2id),
    )
    config._name_or_path = model.config._name_or_path
    own: nn.Module = ProbeForSequenceClassification(config, encoder).eval()
    return cast(ProbeForSequenceClassification, own.to(model.device))


def frame_of_pairs(
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
            "Some examples are pairs of texts: expected all of one kind, got one of the other kind in"
            f" example {place + 1}. Give each example the same columns."
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
    given = job.class_weights
    weights = None if given is None else given.double().cpu().numpy()
    kind = model.config.problem_type
    if kind == "multi_label_classification":
        head = fit_label_set(features, labels, weights)
    elif kind == "regression" or model.config.num_labels == 1:
        head = fit_scores(features, labels)
    else:
        head = fit_classes(features, labels.astype(np.int64), layer.out_features, weights)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))
    return head
