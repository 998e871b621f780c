"""A finetuned model as a plain checkpoint: weights, config, tokenizer and card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agwm.cards import CARD_FILE, CardFacts, card_text, loading_code
from agwm.files import write_text
from agwm.mixing.saving import write_hugging_face
from agwm.processing import write_processing_class

__all__ = ["write_plain"]


def write_plain(model: Any, tokenizer: Any, folder: Path, facts: CardFacts) -> None:
    """Write a model that transformers can load, its tokenizer and its card into a new folder."""
    write_hugging_face(model, folder, tokenizer)
    write_processing_class(tokenizer, folder, facts.max_length, as_text=True)
    about = "A plain checkpoint: transformers loads it without agwm."
    code = loading_code(model, True, facts.text_columns)
    write_text(folder / CARD_FILE, card_text(model, about, code, facts))
