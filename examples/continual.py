"""Learn a new task without losing the old one, by an outer loss that sees both.

python examples/continual.py --tasks-dir path/to/tasks --jobs 2 --output-dir output/continual

The old task is the sentiment of reviews (UCI, restaurants), the new one tells apart intents of a bank's
customers (Banking77). The model has learned the old task, and has a head for each. The inner examples are
of the new task alone. The outer ones are half of the old and half of the new: alpha says how far each
weight may go from where it was. Scores are those on test rows of both tasks.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from outer_data.ground import Ground, accuracy, draw, encode, padded, read_rows
from outer_data.reviews import SENTIMENTS, pretrained, review_rows
from outer_data.runs import flags, main
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import agwm
from agwm.training.lengths import GroupedByLength
from agwm.training.loop import train

OLD, NEW = 0, 1
INTENTS = (  # of one topic, so that they are not told apart at once
    "card_arrival",
    "card_delivery_estimate",
    "card_not_working",
    "card_payment_fee_charged",
    "card_payment_not_recognised",
    "card_payment_wrong_exchange_rate",
    "card_swallowed",
    "card_linking",
    "card_acceptance",
    "card_about_to_expire",
)
OLD_ROWS, NEW_ROWS, OUTER, DEV, TEST = 400, 240, 120, 100, 400


class TwoHeads(nn.Module):
    """An encoder with a linear head for each of two tasks, on the mean of its token vectors."""

    def __init__(self, encoder: nn.Module, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(0.1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            size = encoder.config.hidden_size
            self.heads = nn.ModuleList(nn.Linear(size, len(names)) for names in (SENTIMENTS, INTENTS))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, task: Tensor, labels: Tensor
    ) -> SimpleNamespace:
        """Return the mean loss of a batch of both tasks, and logits: -inf where a task has no class."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1)
        vectors = self.dropout((hidden * mask).sum(dim=1) / mask.sum(dim=1))
        logits = vectors.new_full((len(vectors), len(INTENTS)), -torch.inf)
        losses = vectors.new_zeros(())
        for number, head in enumerate(self.heads):
            own = task == number
            if own.any():
                found = head(vectors[own])
                losses = losses + nn.functional.cross_entropy(found, labels[own], reduction="sum")
                logits[own, : found.shape[1]] = found
        return SimpleNamespace(loss=losses / len(vectors), logits=logits)


def make(given: argparse.Namespace, seed: int) -> Ground:
    """Draw the rows, and let the model learn the old task once for each seed."""
    folder = Path(given.tasks_dir)
    loaded = pretrained(given.model)
    number = given.outer or OUTER
    old = review_rows(folder, "uci-yelp")
    new = [row for row in read_rows(folder / "banking77", "train") if row[1] in INTENTS]
    tested = [row for row in read_rows(folder / "banking77", "test") if row[1] in INTENTS]
    old_parts = draw(old, (OLD_ROWS, number // 2, DEV, TEST), seed)
    new_parts = draw(new, (NEW_ROWS, number // 2, DEV), seed)
    coded = partial(encode, tokenizer=loaded.tokenizer)
    learned, old_outer, *old_rows = (coded(part, names=SENTIMENTS, task=OLD) for part in old_parts)
    inner, new_outer, dev = (coded(part, names=INTENTS, task=NEW) for part in new_parts)
    test = coded(draw(tested, (min(TEST, len(tested)),), seed)[0], names=INTENTS, task=NEW)
    rows = {"dev": (old_rows[0], dev), "test": (old_rows[1], test)}
    collate = partial(padded, pad=loaded.tokenizer.pad_token_id)

    def model_of(weights: dict[str, Tensor] | None) -> nn.Module:
        model = TwoHeads(_fresh_encoder(given.model), seed)
        if weights is not None:
            model.load_state_dict(weights)
        return model.to(given.device)

    path = Path(given.output_dir) / f"old-{seed}.safetensors"
    if not path.is_file():
        model = model_of(None)
        config = agwm.TrainingConfig(epochs=5, learning_rate=1e-4)
        train(model, learned, collate=collate, config=config, seed=seed, progress=False)
        save_file({name: tensor.cpu() for name, tensor in model.state_dict().items()}, path)
    weights = load_file(path)

    def score(model: nn.Module, part: str) -> dict[str, float]:
        kept, gained = (accuracy(model, one, collate) for one in rows[part])
        return {"old": kept, "new": gained}

    return Ground(
        make_model=lambda: model_of(weights),
        inner=inner,
        outer=GroupedByLength(old_outer + new_outer),
        collate=collate,
        score=score,
        include="encoder.encoder.layer.*",
        new="heads",
    )


def _fresh_encoder(name: str) -> nn.Module:
    return deepcopy(pretrained(name).model.base_model)


if __name__ == "__main__":
    main(make, flags(__doc__))
