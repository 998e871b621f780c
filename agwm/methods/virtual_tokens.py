"""Base class of prompt tuning and prefix-tuning, which train vectors before the tokens."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm.checks import Count, Interval, NonNegative
from agwm.errors import MethodError
from agwm.methods.adapters import Adapter, quiet_peft
from agwm.methods.method import Job, Outcome, Settings
from agwm.models.positions import max_tokens
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = [
    "VirtualTokenSettings",
    "VirtualTokens",
    "count_from_first_token",
    "pools_last_token",
]


@dataclass(frozen=True)
class VirtualTokenSettings(Settings):
    """Settings of prompt tuning and prefix-tuning.

    Attributes:
        learning_rate: Peak learning rate; None: the rate of ``vanilla``, far too small here.
        epochs: Passes over the training set; None: as many as ``vanilla`` makes.
        num_virtual_tokens: m, the number of trained vectors before the tokens.
    """

    learning_rate: NonNegative | None = 1e-2
    epochs: Annotated[int, Interval(0)] | None = 20
    num_virtual_tokens: Count = 20


def pools_last_token(model: PreTrainedModel) -> bool:
    """Return True if the model is a decoder that classifies at the last token of its input ids.

    Given embeddings instead of ids, the model cannot find that token.
    """
    return hasattr(model, "score")


def count_from_first_token(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Forward pre-hook: give a decoder positions that count virtual tokens and tokens, but no padding.

    Padding on the left lies between virtual tokens and tokens. By itself the model would count it. The
    distance of an example from its virtual tokens would then depend on the longest example of the batch.
    peft accepts no positions, so this hook sets them.
    """
    mask = kwargs.get("attention_mask")
    tokens = kwargs.get("input_ids")
    tokens = kwargs.get("inputs_embeds") if tokens is None else tokens
    if mask is None or tokens is None or kwargs.get("position_ids") is not None:
        return args, kwargs
    places = (mask.long().cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    return args, {**kwargs, "position_ids": places}


class VirtualTokens(Adapter):
    """Base class of adapters that put vectors before the tokens of every example."""

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Put the adapter around the model. In a decoder, leave padding out of the positions."""
        model: Any = super().reparametrize(loaded, recipe, seed)
        plain = model.get_base_model()
        if pools_last_token(plain) and "position_ids" in inspect.signature(plain.forward).parameters:
            plain.register_forward_pre_hook(count_from_first_token, with_kwargs=True)
        return model

    def added(self, model: PreTrainedModel) -> int:
        """Return the number of positions that the adapter takes.

        Args:
            model: The pretrained model.
        """
        return self.settings.num_virtual_tokens

    def check_length(self, model: PreTrainedModel, max_length: int) -> None:
        """Raise if examples and virtual tokens together are longer than the model reads.

        Raises:
            MethodError: If they are too long.
        """
        limit, added = max_tokens(model), self.added(model)
        if limit is not None and max_length + added > limit:
            raise MethodError(
                f"Method {self.name!r} makes examples too long for {type(model).__name__}: expected at"
                f" most {limit} tokens, got max_length {max_length} and {added} before them. Set max_length"
                f" to {limit - added} or less, or lower rivals.{self.name}.num_virtual_tokens."
            )

    def before_training(self, model: Any, batches: Iterable[Mapping[str, Tensor]], num_steps: int) -> None:
        """Raise if the longest training example and the virtual tokens do not fit the model."""
        longest = max((batch["input_ids"].shape[1] for batch in batches), default=0)
        self.check_length(model.get_base_model(), longest)

    def run(self, job: Job) -> Outcome:
        """Finetune on all examples. ``save`` writes adapter, head and config, but no frozen weights."""
        outcome = super().run(job)
        model: Any = outcome.model

        def save(folder: Path) -> None:
            with quiet_peft():
                # The embeddings are frozen, so never save them. peft would ask the hub to find that out.
                model.save_pretrained(folder, save_embedding_layers=False)
            # peft's own settings hold neither the number of labels nor their names.
            model.get_base_model().config.save_pretrained(folder)
            job.loaded.tokenizer.save_pretrained(folder)

        return dataclasses.replace(outcome, save=save)
