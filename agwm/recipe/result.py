"""Result of the recipe: the finetuned model, the learned alpha, the history and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm.cards import CARD_FILE, CardFacts, card_text, loading_code, plain_text
from agwm.files import write_json, write_text
from agwm.finiteness import check_tensors, check_weights
from agwm.folders import whole_folder
from agwm.mixing.alpha import Attention
from agwm.mixing.saving import plain_state, write_hugging_face, write_tensors
from agwm.processes import process_number
from agwm.processing import (
    check_processing_class,
    reads_texts,
    tell_no_tokenizer,
    tokenizer_of_base,
    write_processing_class,
)
from agwm.recipe.config import AlphaConfig, FinetuneConfig
from agwm.scores import finite_or_null
from agwm.shards import gathered_state

__all__ = ["FinetuneResult"]

_ABOUT = """A plain checkpoint: its weights are the mixed weights `alpha * W + (1 - alpha) * W0` of task
weights `W` and pretrained weights `W0`; loading it needs no agwm. {steps}
The learned attention parameters lie beside it in `alpha.safetensors`: for each mixed weight the factors
whose product is alpha."""

_METHOD = "attention-guided weights mixup"
_STEPS = "It took {search} inner steps of search in all and {final} steps of final finetuning."
_STEPS_OF_ALPHA = "`W` was finetuned before; it took {alpha} steps on `alpha` alone, on other examples."

_MORE = """## How it went
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
    """Outcome of :func:`agwm.finetune`, and of :func:`agwm.learn_alpha`.

    Attributes:
        model: The finetuned model, plain, with the mixed weights, in evaluation mode.
        attention: The learned factors of alpha, averaged over the K searches.
        initial_attention: The start of the factors, averaged likewise, to tell how far alpha moved.
        history: Records of ``phase``, ``step``, losses and what ``evaluate`` returned.
        seconds: Wall time of the stages ``search`` and ``final``; of ``alpha`` where it alone was learned.
        num_steps: Optimizer steps on W in the stages ``search`` (all K together) and ``final``; on alpha
            in the stage ``alpha``.
        config: The settings.
        num_examples: Size of the training set; of the outer one where alpha alone was learned.
        labels: Class -> number of training examples; empty where labels are no classes.
        processing_class: The tokenizer that was given; None: none was.
    """

    model: nn.Module
    attention: Attention
    initial_attention: Attention
    history: list[dict[str, Any]]
    seconds: dict[str, float]
    num_steps: dict[str, int]
    config: FinetuneConfig | AlphaConfig
    num_examples: int
    labels: Mapping[str, int] = field(default_factory=dict)
    processing_class: Any = None

    @property
    def alpha(self) -> dict[str, Tensor]:
        """The learned alpha of each mixed weight, in full."""
        return self.attention.in_full()

    @property
    def initial_alpha(self) -> dict[str, Tensor]:
        """The alpha that the factors of ``initial_attention`` make of each mixed weight, in full."""
        return self.initial_attention.in_full()

    def save_pretrained(
        self, directory: str | Path, *, processing_class: Any = None, card: CardFacts | None = None
    ) -> None:
        """Save a plain Hugging Face checkpoint with its tokenizer, the factors of alpha and a model card.

        Nothing is written unless all weights are finite. A score that is not finite is null in the history.

        Writes ``config.json`` and ``model.safetensors`` (for a plain ``nn.Module`` only the latter), the
        tokenizer, ``alpha.safetensors``, ``agwm_history.json`` and ``README.md``. The folder is swapped
        whole: an earlier save in it stays until the new one is on the disk. Files of your own go along. Of
        several processes the first alone writes; call it in all, for they gather sharded weights together.

        Args:
            directory: Folder to write; made if missing.
            processing_class: The tokenizer; None: the one that :func:`agwm.finetune` was given. Without any
                the folder is saved, as the weights are whole, with a warning, and with the tokenizer that
                lies on this disk where the model was loaded from; ``pipeline`` can use no folder without.
            card: Facts for the card, such as task, scores and cut length, which is saved in the tokenizer.

        Raises:
            ConfigError: If the tokenizer cannot be saved, or does not fit the model.
            DataError: If the folder cannot be written.
            DivergenceError: If a weight or alpha is not finite.
            ModelError: If the state of a plain ``nn.Module`` holds more than tensors.
        """
        given = self.processing_class if processing_class is None else processing_class
        self.check()
        state = gathered_state(self.model)
        if process_number():
            return
        check_processing_class(given, self.model)
        base = tokenizer_of_base(self.model) if given is None else None
        with whole_folder(directory) as folder:
            self.write_into(folder, base if given is None else given, card, state)
        if given is None and reads_texts(self.model):
            older = (Path(directory) / "tokenizer_config.json").exists()
            there = "one of an earlier save" if older else "none, so that pipeline() cannot use the folder"
            if base is not None:
                there = "the one of the model that it was finetuned from"
            tell_no_tokenizer(self.model, directory, there)

    def check(self) -> None:
        """Raise unless what would be saved is finite.

        Raises:
            DivergenceError: If a weight or alpha is not finite.
        """
        remedy = "Nothing is written: finetune again with a lower learning rate."
        check_weights(self.model, " in the finetuned model", remedy)
        check_tensors(dict(self.attention.named_parameters()), " in the learned alpha", remedy)

    def write_into(
        self,
        folder: Path,
        processing_class: Any,
        card: CardFacts | None = None,
        state: dict[str, Tensor] | None = None,
    ) -> None:
        """Write the files of :meth:`save_pretrained` into a new folder, one after another."""
        facts = card or CardFacts()
        if isinstance(self.model, PreTrainedModel):
            write_hugging_face(self.model, folder, processing_class, state)
        else:
            state = plain_state(self.model) if state is None else state
            write_tensors(folder / "model.safetensors", state)
        if processing_class is not None:
            write_processing_class(processing_class, folder, facts.max_length)
        write_tensors(folder / "alpha.safetensors", self.attention.state_dict())
        write_json(folder / "agwm_history.json", finite_or_null(self.history))
        write_text(folder / CARD_FILE, self._card(facts, processing_class is not None))

    def _card(self, facts: CardFacts, has_tokenizer: bool) -> str:
        last = self.history[-1] if self.history else {}
        scores = "\n".join(
            f"- {plain_text(key)}: {value:.4f}" for key, value in last.items() if isinstance(value, float)
        )
        facts = replace(
            facts,
            method=facts.method or _METHOD,
            seed=self.config.seed if facts.seed is None else facts.seed,
            num_examples=facts.num_examples or self.num_examples,
            labels=facts.labels or self.labels,
        )
        steps = _STEPS_OF_ALPHA if "alpha" in self.num_steps else _STEPS
        about = _ABOUT.format(steps=steps.format(**self.num_steps))
        more = _MORE.format(
            scores=scores or "Nothing was evaluated.",
            settings=yaml.safe_dump(self.config.to_dict(), sort_keys=False),
        )
        code = loading_code(self.model, has_tokenizer, facts.text_columns)
        return card_text(self.model, about, code, facts, more)
