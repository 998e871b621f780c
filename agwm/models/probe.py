"""A frozen encoder with a linear head on mean-pooled hidden states, as a model of transformers.

This file is saved beside such a model, and transformers runs it there without agwm. So it imports
nothing of agwm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

__all__ = ["ProbeConfig", "ProbeForSequenceClassification", "split_pair"]


class ProbeConfig(PreTrainedConfig):
    """Config of :class:`ProbeForSequenceClassification`.

    Args:
        encoder: The encoder's own config, as ``to_dict`` gives it.
        frame: How the tokenizer writes a pair of texts: lists of token ids under ``"prefix"``,
            ``"middle"`` and ``"suffix"``; one text alone: ``"single_prefix"`` and ``"single_suffix"``, with
            their types under ``"single_prefix_types"`` and ``"single_suffix_types"``. None: the model reads
            one text.
        **kwargs: Labels, problem type and all else that transformers knows.
    """

    model_type = "agwm_probe"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        frame: dict[str, list[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.frame = frame
        for name in ("hidden_size", "max_position_embeddings"):
            if name in self.encoder:
                setattr(self, name, self.encoder[name])
        super().__init__(**kwargs)


class ProbeForSequenceClassification(PreTrainedModel):
    """Linear classifier on the mean of an encoder's last hidden states over the tokens.

    The mean is scaled to length 1. Of a pair each text is encoded alone, and the head reads
    ``(u, v, |u - v|, u * v)``. A model with encoder and decoder is used without its decoder.

    Args:
        config: The config.
        encoder: The encoder; None: one of the config, with random weights.
    """

    config_class = ProbeConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: ProbeConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        if encoder is None:
            encoder = AutoModel.from_config(AutoConfig.for_model(**config.encoder))
        self.encoder = encoder
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # a head of pretraining that this model does not read
        own: Any = encoder.config
        size: int = own.hidden_size  # transformers has the name for families that call it d_model
        self.classifier = nn.Linear(size * (1 if config.frame is None else 4), int(config.num_labels or 0))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if module is self.classifier:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Module:
        """Return the encoder's table of tokens."""
        return self.encoder.get_input_embeddings()

    def features(
        self,
        input_ids: Tensor,  # shape: (batch, tokens)
        attention_mask: Tensor | None = None,  # shape: (batch, tokens)
        token_type_ids: Tensor | None = None,  # shape: (batch, tokens)
    ) -> Tensor:  # shape: (batch, hidden) or, for pairs, (batch, 4 * hidden)
        """Return what the head reads.

        Args:
            input_ids: Token ids; padding may stand on either side.
            attention_mask: 1 for tokens, 0 for padding; None: no padding.
            token_type_ids: As the tokenizer gives them, if it does.

        Raises:
            ValueError: If the model reads pairs, and a row is none.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = [ids[kept.bool()].tolist() for ids, kept in zip(input_ids, mask, strict=True)]
        types = None
        if token_type_ids is not None:
            types = [ids[kept.bool()].tolist() for ids, kept in zip(token_type_ids, mask, strict=True)]
        frame = self.config.frame
        if frame is None:
            return self._pooled(rows, types)
        pairs = []
        for place, row in enumerate(rows):
            if (pair := split_pair(row, frame, None if types is None else types[place])) is None:
                raise ValueError(f"Row {place + 1} is no pair of texts: expected two texts, got one.")
            pairs.append(pair)
        first, last = frame["single_prefix"], frame["single_suffix"]
        texts = [text for pair in pairs for text in pair]
        alone = [[*first, *text, *last] for text in texts]
        if types is not None:
            first, last = frame["single_prefix_types"], frame["single_suffix_types"]
            types = [[*first, *[0] * len(text), *last] for text in texts]
        both = self._pooled(alone, types)
        u, v = both[0::2], both[1::2]
        return torch.cat([u, v, (u - v).abs(), u * v], dim=1)

    def _pooled(self, rows: Sequence[list[int]], types: Sequence[list[int]] | None) -> Tensor:
        """Return the mean of each row's last hidden states, of length 1: shape (rows, hidden)."""
        longest = max(1, *map(len, rows)) if rows else 1

        def padded(lists: Sequence[list[int]], fill: int) -> Tensor:
            full = [[*row, *[fill] * (longest - len(row))] for row in lists]
            return torch.tensor(full, dtype=torch.long, device=self.device).reshape(len(lists), longest)

        mask = padded([[1] * len(row) for row in rows], 0)
        inputs = {"input_ids": padded(rows, self.config.pad_token_id or 0), "attention_mask": mask}
        encoder: Any = self.encoder
        if encoder.config.is_encoder_decoder:
            encoder = encoder.get_encoder()
        elif types is not None:
            inputs["token_type_ids"] = padded(types, 0)
        states = encoder(**inputs).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return nn.functional.normalize((states * weights).sum(1), dim=1)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Return the logits and, where labels are given, the loss of the config's problem type."""
        logits = self.classifier(self.features(input_ids, attention_mask, token_type_ids))
        return SequenceClassifierOutput(
            loss=None if labels is None else self._loss(logits, labels), logits=logits
        )

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        kind = self.config.problem_type
        if kind == "regression" or (kind is None and self.config.num_labels == 1):
            return nn.functional.mse_loss(logits.squeeze(), labels.squeeze().to(logits.dtype))
        if kind == "multi_label_classification":
            return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels.long())


def split_pair(
    row: list[int], frame: Mapping[str, list[int]], types: list[int] | None = None
) -> tuple[list[int], list[int]] | None:
    """Return the tokens of the two texts of a pair, without those that the tokenizer put around them.

    Args:
        row: Token ids without padding.
        frame: Tokens around and between the texts; see :class:`ProbeConfig`.
        types: Token types. Where they tell the second text, a mark in the first does not mislead.

    Returns:
        Two lists; None if the row is no pair.

    Example:
        >>> split_pair([1, 7, 8, 2, 9, 2], {"prefix": [1], "middle": [2], "suffix": [2]})
        ([7, 8], [9])
    """
    prefix, middle, suffix = frame["prefix"], frame["middle"], frame["suffix"]
    end = len(row) - len(suffix)
    if end < len(prefix) or row[: len(prefix)] != prefix or row[end:] != suffix:
        return None
    body = row[len(prefix) : end]
    places = [
        place for place in range(len(body) - len(middle) + 1) if body[place : place + len(middle)] == middle
    ]
    if types is not None and 1 in types:
        places = [types.index(1) - len(prefix) - len(middle)]
    if not places or not 0 <= places[0] <= len(body):
        return None
    return body[: places[0]], body[places[0] + len(middle) :]


AutoConfig.register(ProbeConfig.model_type, ProbeConfig)
AutoModelForSequenceClassification.register(ProbeConfig, ProbeForSequenceClassification)
# What is saved has this file beside it, for those who have no agwm.
ProbeConfig.register_for_auto_class()
ProbeForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
