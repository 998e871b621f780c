"""Rows that a tiny model can learn, and that model in a folder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.data.test_plain_text import CORPUS
from tests.prediction.saved_models import make

WORDS = list(dict.fromkeys(" ".join(CORPUS[:3]).split()))
CLASSES = ["bug", "praise", "question"]


def tiny_model(folder: Path, family: str = "bert") -> str:
    """Save a tiny model with random weights, and return its folder's name."""
    model, tokenizer = make(family, 2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def made_rows(count: int = 60, seed: int = 1, noise: float = 0.0) -> list[dict[str, Any]]:
    """Return rows whose class is told by a word, but for a part of them; all texts differ."""
    draw, rows, seen = random.Random(seed), [], set()
    while len(rows) < count:
        kind = len(rows) % len(CLASSES)
        words = [draw.choice(WORDS[3:]) for _ in range(6)]
        text = " ".join([*words, WORDS[kind], WORDS[kind]])
        if text not in seen:
            seen.add(text)
            answer = draw.randrange(len(CLASSES)) if draw.random() < noise else kind
            rows.append({"text": text, "other": " ".join(words[:3]), "label": CLASSES[answer]})
    return rows
