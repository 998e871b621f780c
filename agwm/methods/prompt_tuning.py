"""Prompt tuning: train embeddings before the tokens of a frozen model, with the peft library."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from agwm.methods.adapters import ADAPTER, fresh_modules, peft_library
from agwm.methods.virtual_tokens import VirtualTokens, VirtualTokenSettings, pools_last_token
from agwm.models.families import word_embeddings
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["PromptTuning", "PromptTuningSettings", "pools_first"]

_INITS = {"vocabulary": "SAMPLE_VOCAB", "normal": "RANDOM"}


@dataclass(frozen=True)
class PromptTuningSettings(VirtualTokenSettings):
    """Settings of :class:`PromptTuning`.

    Attributes:
        init: Initial prompt: ``"vocabulary"``: embeddings of random tokens; ``"normal"``: draws from
            N(0, 1), which are far from all embeddings.
        keep_first: True keeps the first token before the prompt, if the model classifies at the first
            position. False lets the model classify at the first virtual token, peft's own way.
    """

    init: Literal["vocabulary", "normal"] = "vocabulary"
    keep_first: bool = True


def pools_first(model: PreTrainedModel) -> bool:
    """Return True if the classifier reads the first position."""
    summary = getattr(model, "sequence_summary", None)
    if summary is not None:
        return getattr(summary, "summary_type", None) == "first"
    return not pools_last_token(model)


def _first_tokens(batch: Mapping[str, Tensor]) -> Tensor:  # shape: (batch,)
    """Return the id of each example's first token that is not padding."""
    tokens = batch["input_ids"]
    mask = batch.get("attention_mask")
    start = torch.zeros_like(tokens[:, 0]) if mask is None else mask.long().argmax(1)
    return tokens.gather(1, start[:, None])[:, 0]


class PromptTuning(VirtualTokens):
    r"""Soft prompts: the input is :math:`[e_1; P; E(x)]`, and :math:`P \in R^{m \times H}` is trained.

    The head is trained as well. :math:`e_1` is the frozen embedding of the token that begins most training
    examples (``[CLS]``). BERT, RoBERTa, ELECTRA and DeBERTa classify at the first position, so
    :math:`e_1` stands there, where peft would put the first virtual token. Other families have no
    :math:`e_1`.

    Reference:
        Lester et al., "The power of scale for parameter-efficient prompt tuning", EMNLP 2021.
    """

    name = "prompt_tuning"
    settings_class = PromptTuningSettings
    first: Tensor | None = None

    def keeps_first(self, model: PreTrainedModel) -> bool:
        """Return True if the first token stands before the prompt."""
        return self.settings.keep_first and pools_first(model)

    def added(self, model: PreTrainedModel) -> int:
        """Return the length of the prompt, including the first token if it stands before."""
        return self.settings.num_virtual_tokens + self.keeps_first(model)

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the model takes no embeddings, or would classify at padding."""
        super().check(loaded, recipe)
        model, tokenizer = loaded.model, loaded.tokenizer
        takes_embeddings = "inputs_embeds" in inspect.signature(model.forward).parameters
        if model.config.is_encoder_decoder or not takes_embeddings:
            raise self.refuse(
                model, "expected a classifier that takes embeddings in place of tokens, got one without."
            )
        if tokenizer is not None and tokenizer.padding_side == "right":
            self._check_padding(model, is_right=True)

    def _check_padding(self, model: PreTrainedModel, is_right: bool) -> None:
        if is_right and pools_last_token(model):
            raise self.refuse(
                model,
                "expected padding on the left, as it classifies at the last position when it is given"
                " embeddings, got padding on the right.",
                "Set padding_side='left' in the tokenizer's files.",
            )

    def adapter_config(self, loaded: Pretrained) -> Any:
        """Return the settings of the prompt."""
        return peft_library(self.name).PromptTuningConfig(
            task_type="SEQ_CLS",
            num_virtual_tokens=self.added(loaded.model),
            # peft would take the width of the layers. ELECTRA's embeddings can be narrower.
            token_dim=word_embeddings(loaded.model)[0].embedding_dim,
            prompt_tuning_init=_INITS[self.settings.init],
            # peft does not find these numbers in DistilBERT's settings.
            num_layers=getattr(loaded.model.config, "num_hidden_layers", None),
            num_attention_heads=getattr(loaded.model.config, "num_attention_heads", None),
            modules_to_save=fresh_modules(loaded),
        )

    def before_training(self, model: Any, batches: Iterable[Mapping[str, Tensor]], num_steps: int) -> None:
        """Find the token that begins most examples, and put its embedding before the prompt."""
        batches = list(batches)
        super().before_training(model, batches, num_steps)
        plain = model.get_base_model()
        masks = [batch["attention_mask"] for batch in batches if "attention_mask" in batch]
        self._check_padding(plain, any(bool((mask[:, -1] == 0).any()) for mask in masks))
        if not self.keeps_first(plain):
            return
        tokens, counts = torch.cat([_first_tokens(batch) for batch in batches]).unique(return_counts=True)
        with torch.no_grad():
            self.first = word_embeddings(plain)[0](tokens[counts.argmax()]).clone()
        self.after_step(model)

    def edit_gradients(self, model: Any) -> None:
        """Set the gradient of the first token's embedding to 0, so that clipping does not count it."""
        if self.first is not None:
            model.prompt_encoder[ADAPTER].embedding.weight.grad[0] = 0.0

    @torch.no_grad()
    def after_step(self, model: Any) -> None:
        """Restore the first token's embedding, which weight decay has changed."""
        if self.first is not None:
            model.prompt_encoder[ADAPTER].embedding.weight[0] = self.first
