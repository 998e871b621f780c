"""Result of the recipe: the finetuned model, the learned alpha, the history and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm._version import __version__
from agwm.files import make_folder, write_json, write_text
from agwm.finiteness import check_tensors, check_weights
from agwm.mixing.alpha import Attention
from agwm.mixing.saving import plain_state, write_hugging_face, write_tensors
from agwm.recipe.config import FinetuneConfig
from agwm.scores import finite_or_null

__all__ = ["FinetuneResult"]

_CARD = """---
library_name: transformers
tags: [agwm, finetuning, low-resource]
---
# {name}, finetuned by attention-guided weights mixup

A plain checkpoint of `{name}` (starting from `{base}`): its weights are the mixed weights
`alpha * W + (1 - alpha) * W0` of task weights `W` and pretrained weights `W0`; loading it needs no agwm.
Finetuned with agwm {version} on {num_examples} examples, {search} inner steps of search in all and {final}
steps of final finetuning. The learned attention parameters lie beside it in `alpha.safetensors`: for each
mixed weight the factors whose product is alpha.

## How it went
{scores}

## Settings
```yaml
{settings}```

## Source
Somayajula, Liang, Zhang, Singh, Xie: Generalizable and Stable Finetuning of Pretrained Language Models on
Low-Resource Texts, NAACL 2024.
"""


@dataclass(frozen=True)
class FinetuneResult:
    """Outcome of :func:`agwm.finetune`.

    Attributes:
        model: The finetuned model, plain, with the mixed weights, in evaluation mode.
        attention: The learned factors of alpha, averaged over the K searches.
        initial_attention: The start of the factors, averaged likewise, to tell how far alpha moved.
        history: Records of ``phase``, ``step``, losses and what ``evaluate`` returned.
        seconds: Wall time of the stages ``search`` and ``final``.
        num_steps: Optimizer steps on W in the stages ``search`` (all K together) and ``final``.
        config: The settings.
        num_examples: Size of the training set.
    """

    model: nn.Module
    attention: Attention
    initial_attention: Attention
    history: list[dict[str, Any]]
    seconds: dict[str, float]
    num_steps: dict[str, int]
    config: FinetuneConfig
    num_examples: int

    @property
    def alpha(self) -> dict[str, Tensor]:
        """The learned alpha of each mixed weight, in full."""
        return self.attention.in_full()

    @property
    def initial_alpha(self) -> dict[str, Tensor]:
        """The alpha that the factors of ``initial_attention`` make of each mixed weight, in full."""
        return self.initial_attention.in_full()

    def save_pretrained(self, directory: str | Path) -> None:
        """Save a plain Hugging Face checkpoint, the factors of alpha and a model card.

        Nothing is written unless all weights are finite. A score that is not finite is null in the history.

        Writes ``config.json`` and ``model.safetensors`` (for a plain ``nn.Module`` only the latter),
        ``alpha.safetensors``, ``agwm_history.json`` and ``README.md``, each file whole.

        Args:
            directory: Folder to write; made if missing.

        Raises:
            DataError: If the folder cannot be written.
            DivergenceError: If a weight or alpha is not finite.
            ModelError: If the state of a plain ``nn.Module`` holds more than tensors.
        """
        remedy = "Nothing is written: finetune again with a lower learning rate."
        check_weights(self.model, " in the finetuned model", remedy)
        check_tensors(dict(self.attention.named_parameters()), " in the learned alpha", remedy)
        folder = make_folder(directory)
        if isinstance(self.model, PreTrainedModel):
            write_hugging_face(self.model, folder)
        else:
            write_tensors(folder / "model.safetensors", plain_state(self.model))
        write_tensors(folder / "alpha.safetensors", self.attention.state_dict())
        write_json(folder / "agwm_history.json", finite_or_null(self.history))
        write_text(folder / "README.md", self._card())

    def _card(self) -> str:
        base = getattr(getattr(self.model, "config", None), "_name_or_path", "") or "a local model"
        last = self.history[-1] if self.history else {}
        scores = "\n".join(
            f"- {key}: {value:.4f}" for key, value in last.items() if isinstance(value, float)
        )
        return _CARD.format(
            name=type(self.model).__name__,
            base=Path(base).name,
            version=__version__,
            num_examples=self.num_examples,
            search=self.num_steps["search"],
            final=self.num_steps["final"],
            scores=scores or "Nothing was evaluated.",
            settings=yaml.safe_dump(self.config.to_dict(), sort_keys=False),
        )
