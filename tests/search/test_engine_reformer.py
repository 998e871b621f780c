"""Models whose layers bypass autograd are refused, not searched wrongly."""

import pytest
import torch

import agwm
from agwm.errors import ModelError
from tests.architectures import ARCHITECTURES


def test_reformer_is_refused_by_the_engine():
    entry = ARCHITECTURES["reformer"]
    model = entry.build()
    mixup = agwm.inject(model)
    with pytest.raises(ModelError, match="Cannot search alpha of ReformerForSequenceClassification"):
        agwm.build_engine(
            mixup,
            [entry.batch()],
            [entry.batch()],
            inner_optimizer=torch.optim.AdamW(model.parameters()),
            outer_optimizer=torch.optim.AdamW(mixup.attention.parameters()),
            train_iters=1,
        )
