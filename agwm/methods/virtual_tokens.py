"""What prompt tuning and prefix-tuning share: trained vectors before the tokens, which take up length."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm.errors import MethodError
from agwm.finetune_config import check_range
from agwm.methods.adapters import Adapter, quiet_peft
from agwm.methods.method import Job, Outcome, Settings

__all__ = ["VirtualTokenSettings", "VirtualTokens", "positions"]


@dataclass(frozen=True)
class VirtualTokenSettings(Settings):
    """What prompt tuning and prefix-tuning can set.

    Attributes:
        learning_rate: Peak learning rate; None: that of ``vanilla``, far too small here.
        epochs: Passes over the training set; None: those of ``vanilla``.
        num_virtual_tokens: m, trained vectors before the tokens.
    """

    learning_rate: float | None = 1e-2
    epochs: int | None = 20
    num_virtual_tokens: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "num_virtual_tokens", 1)


def positions(model: PreTrainedModel) -> int | None:
    """Return how many tokens the model has absolute positions for; None where positions do not end."""
    for name, module in model.base_model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "wpe"):
            # RoBERTa counts from the index after that of padding.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


class VirtualTokens(Adapter):
    """An adapter that puts vectors before the tokens of every example; it is saved as peft does."""

    def added(self, model: PreTrainedModel) -> int:
        """Return how many positions the adapter takes.

        Args:
            model: The pretrained model.
        """
        return self.settings.num_virtual_tokens

    def check_length(self, model: PreTrainedModel, max_length: int) -> None:
        """Raise where examples and virtual tokens together are longer than the model reads."""
        limit, added = positions(model), self.added(model)
        if limit is not None and max_length + added > limit:
            raise MethodError(
                f"Method {self.name!r} makes examples too long for {type(model).__name__}: expected at"
                f" most {limit} tokens, got max_length {max_length} and {added} before them. Set max_length"
                f" to {limit - added} or less, or lower rivals.{self.name}.num_virtual_tokens."
            )

    def before_training(
        self, model: nn.Module, batches: Iterable[Mapping[str, Tensor]], num_steps: int
    ) -> None:
        """Raise where the longest training example does not fit."""
        longest = max((batch["input_ids"].shape[1] for batch in batches), default=0)
        self.check_length(model.get_base_model(), longest)

    def run(self, job: Job) -> Outcome:
        """Finetune on all examples; adapter and head are saved, the frozen weights are not."""
        outcome = super().run(job)

        def save(folder: Path) -> None:
            with quiet_peft():
                # Never the embeddings, which are frozen: to find that out peft would ask the hub.
                outcome.model.save_pretrained(folder, save_embedding_layers=False)
            job.loaded.tokenizer.save_pretrained(folder)

        return dataclasses.replace(outcome, save=save)
