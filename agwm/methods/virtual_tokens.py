"""Base class of prompt tuning and prefix-tuning, which train vectors before the tokens."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm.cards import CARD_FILE, PACKAGE, CardFacts, base_name, card_text
from agwm.checks import Count, Interval, NonNegative
from agwm.errors import MethodError
from agwm.files import write_text
from agwm.methods.adapters import ADAPTER, Adapter, quiet_peft
from agwm.methods.method import Settings
from agwm.mixing.saving import write_config
from agwm.models.positions import max_tokens
from agwm.models.pretrained import Pretrained
from agwm.models.sources import PACKAGED_MODEL, is_packaged
from agwm.processing import write_processing_class
from agwm.recipe.config import FinetuneConfig

_ABOUT = """An adapter and a head: trained vectors before the tokens of every text, and the new weights of
the head. The frozen weights of the pretrained model are not in this folder."""

_CODE = """{imports}from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

base = {base}
config = AutoConfig.from_pretrained(".")
plain = AutoModelForSequenceClassification.from_pretrained(
    base, config=config, ignore_mismatched_sizes=True  # the base may have a head for other labels
)
model = PeftModel.from_pretrained(plain, ".").eval()
tokenizer = AutoTokenizer.from_pretrained(".")
print(model(**tokenizer("A text.", return_tensors="pt", truncation=True)).logits)
"""

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

    def write(self, model: Any, tokenizer: Any, folder: Path, facts: CardFacts) -> None:
        """Write adapter, head, config, tokenizer and card into a new folder, but no frozen weights."""
        plain = model.get_base_model()
        base = facts.base or base_name(plain.config._name_or_path or "")
        settings = model.peft_config[ADAPTER]
        place = settings.base_model_name_or_path
        settings.base_model_name_or_path = base  # a path is nobody's business
        try:
            with quiet_peft():
                # The embeddings are frozen, so never save them. peft would ask the hub to find that out.
                model.save_pretrained(folder, save_embedding_layers=False)
        finally:
            settings.base_model_name_or_path = place
        # peft's own settings hold neither the number of labels nor their names.
        write_config(plain, folder, tokenizer)
        write_processing_class(tokenizer, folder, facts.max_length, as_text=True)
        write_text(folder / CARD_FILE, card_text(plain, _ABOUT, _code(base), facts))


def _code(base: str) -> str:
    """Return code that puts the adapter on its base model, where that can be found by name."""
    lines, place = "", repr(base)
    if base == PACKAGED_MODEL:
        lines, place = f"from {PACKAGE} import get_model_path\n", "get_model_path()"
    elif is_packaged(base):
        lines, place = "from agwm.models.sources import locate\n", f"locate({base!r})[0]"
    elif "/" not in base:
        place += "  # the pretrained model: its folder, or its name on the hub"
    return _CODE.format(imports=lines, base=place)
