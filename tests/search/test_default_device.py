"""A search runs on the device of the model, whatever device the caller makes tensors on by default."""

from __future__ import annotations

import torch

import agwm
from tests.search_runs import tiny_classifier, vector_batches


def outcome(tmp_path, default: str, scheme: str):
    torch.manual_seed(0)
    model, batches = tiny_classifier(dropout=0.1), vector_batches(4)
    with torch.device(default):
        mixup = agwm.inject(model, seed=0)
        inner = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
        outer = torch.optim.AdamW(mixup.attention.parameters(), lr=0.1)
        agwm.build_engine(
            mixup,
            batches[:2],
            batches[2:],
            inner,
            outer,
            3,
            {"scheme": scheme},
            gradient_clipping=0.1,
            checkpoint=tmp_path / f"{default}.safetensors",
            progress=False,
        ).run()
    return [tensor.detach() for tensor in (*model.parameters(), *mixup.attention.parameters())]


def test_default_device_changes_nothing(tmp_path):
    for scheme in ("central", "forward"):
        usual, other = (outcome(tmp_path, device, scheme) for device in ("cpu", "meta"))
        assert all(torch.equal(one, two) for one, two in zip(usual, other, strict=True))
