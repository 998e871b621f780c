"""Base of prompt tuning and prefix-tuning: trained vectors before the tokens."""

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
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = [
    "VirtualTokenSettings",
    "VirtualTokens",
    "count_from_first_token",
    "pools_last_token",
    "positions",
]


@dataclass(frozen=True)
class VirtualTokenSettings(Settings):
    """Settings of prompt tuning and prefix-tuning.

    Attributes:
        learning_rate: Peak learning rate; None: the rate of ``vanilla``, far too small here.
        epochs: Passes over the training set; None: as many as ``vanilla`` makes.
        num_virtual_tokens: m, trained vectors before the tokens.
    """

    learning_rate: NonNegative | None = 1e-2
    epochs: Annotated[int, Interval(0)] | None = 20
    num_virtual_tokens: Count = 20


def pools_last_token(model: PreTrainedModel) -> bool:
    """Return whether a decoder's classifier looks for the last token; in embeddings it finds none."""
    return hasattr(model, "score")


def positions(model: PreTrainedModel) -> int | None:
    """Return how many tokens the model has absolute positions for; None where positions do not end."""
    for name, module in model.base_model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "wpe"):
            # RoBERTa counts from the index after that of padding.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


def count_from_first_token(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give a decoder positions that count virtual tokens and tokens, but no padding; a forward pre-hook.

    Padding on the left lies between both. Left to itself the model would count it, and how far an example
    is from its virtual tokens would depend on the longest of its batch. peft takes no positions.
    """
    mask = kwargs.get("attention_mask")
    tokens = kwargs.get("input_ids")
    tokens = kwargs.get("inputs_embeds") if tokens is None else tokens
    if mask is None or tokens is None or kwargs.get("position_ids") is not None:
        return args, kwargs
    places = (mask.long().cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    return args, {**kwargs, "position_ids": places}


class VirtualTokens(Adapter):
    """An adapter that puts vectors before the tokens of every example; it is saved as peft does."""

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Put the adapter around the model; in a decoder, leave padding out of the positions."""
        model: Any = super().reparametrize(loaded, recipe, seed)
        plain = model.get_base_model()
        if pools_last_token(plain) and "position_ids" in inspect.signature(plain.forward).parameters:
            plain.register_forward_pre_hook(count_from_first_token, with_kwargs=True)
        return model

    def added(self, model: PreTrainedModel) -> int:
        """Return how many positions the adapter takes.

        Args:
            model: The pretrained model.
        """
        return self.settings.num_virtual_tokens

    def check_length(self, model: PreTrainedModel, max_length: int) -> None:
        """Raise where examples and virtual tokens together are longer than the model reads.

        Raises:
            MethodError: If they are.
        """
        limit, added = positions(model), self.added(model)
        if limit is not None and max_length + added > limit:
            raise MethodError(
                f"Method {self.name!r} makes examples too long for {type(model).__name__}: expected at"
                f" most {limit} tokens, got max_length {max_length} and {added} before them. Set max_length"
                f" to {limit - added} or less, or lower rivals.{self.name}.num_virtual_tokens."
            )

    def before_training(self, model: Any, batches: Iterable[Mapping[str, Tensor]], num_steps: int) -> None:
        """Raise where the longest training example does not fit."""
        longest = max((batch["input_ids"].shape[1] for batch in batches), default=0)
        self.check_length(model.get_base_model(), longest)

    def run(self, job: Job) -> Outcome:
        """Finetune on all examples; adapter, head and config are saved, the frozen weights are not."""
        outcome = super().run(job)
        model: Any = outcome.model

        def save(folder: Path) -> None:
            with quiet_peft():
                # Never the embeddings, which are frozen: to find that out peft would ask the hub.
                model.save_pretrained(folder, save_embedding_layers=False)
            # peft's own settings hold neither the number of labels nor their names.
            model.get_base_model().config.save_pretrained(folder)
            job.loaded.tokenizer.save_pretrained(folder)

        return dataclasses.replace(outcome, save=save)
