"""Take a finetuned model further with the outer examples, once W is learned.

Each takes a ground, the finetuned weights, settings and a seed, and returns a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import agwm
from agwm.methods.wise_ft import interpolate_
from agwm.training.loop import make_loader
from outer_data.ground import Ground
from outer_data.trainings import Settings, pretrained_weights

COEFFICIENTS = 10  # WiSE-FT tries 0, 0.1, ..., 1
EPOCHS = 20  # of alpha after the fact, over the outer examples
BATCH = 16


def nothing(ground: Ground, tuned: Mapping[str, Tensor], settings: Settings, seed: int) -> nn.Module:
    """Return the model as it was finetuned."""
    model = ground.make_model()
    model.load_state_dict(tuned)
    return model.eval()


def wise_ft(ground: Ground, tuned: Mapping[str, Tensor], settings: Settings, seed: int) -> nn.Module:
    """Go back towards W0 by one coefficient: that of the least loss on the outer examples."""
    model, start = nothing(ground, tuned, settings, seed), pretrained_weights(ground)
    losses = {}
    for number in range(COEFFICIENTS + 1):
        interpolate_(model, start, tuned, number / COEFFICIENTS)
        losses[number / COEFFICIENTS] = _mean_loss(model, ground)
    interpolate_(model, start, tuned, min(losses, key=lambda c: losses[c]))
    return model


def alpha_after(form: str) -> Callable[[Ground, Mapping[str, Tensor], Settings, int], nn.Module]:
    """Return what learns alpha alone on the outer examples, with W as it was finetuned."""

    def run(ground: Ground, tuned: Mapping[str, Tensor], settings: Settings, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = ground.make_model()
        mixup = agwm.inject(model, include=ground.include, alpha=form, seed=seed)
        model.load_state_dict(tuned)  # W; the mixup has copies of W0
        model.requires_grad_(False).train()
        rate = settings.attention_learning_rate
        optimizer = torch.optim.AdamW(mixup.attention.parameters(), lr=rate, weight_decay=0.0)
        loader = make_loader(ground.outer, BATCH, ground.collate, seed)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
        device = next(model.parameters()).device
        for _ in range(EPOCHS):
            for batch in loader:
                model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                mixup.attention.project_()
                schedule.step()
        mixup.merge()
        return model.requires_grad_(True).eval()

    return run


@torch.no_grad()
def _mean_loss(model: nn.Module, ground: Ground) -> float:
    device = next(model.parameters()).device
    total, ordered = 0.0, sorted(ground.outer, key=lambda row: len(row["input_ids"]))  # little padding
    model.eval()
    for start in range(0, len(ordered), BATCH):
        rows = ordered[start : start + BATCH]
        batch = {name: tensor.to(device) for name, tensor in ground.collate(rows).items()}
        total += float(model(**batch).loss) * len(rows)
    return total / len(ordered)
