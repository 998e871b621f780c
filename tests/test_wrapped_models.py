"""Models that somebody else spreads over processes are refused by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import agwm
from agwm.errors import ProcessError
from agwm.processes import check_shards
from agwm.testing.tiny_models import examples, pretrained
from agwm.training.loop import train


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def test_wrappers_are_refused_before_a_weight_changes(group):
    model = pretrained("bert").model
    wrapped = nn.parallel.DistributedDataParallel(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    collate = torch.utils.data.default_collate
    with pytest.raises(ProcessError, match="wrapped by DistributedDataParallel: expected the model itself"):
        agwm.finetune(wrapped, examples(), collate=collate)
    with pytest.raises(ProcessError, match="Pass its attribute 'module'"):
        train(wrapped, examples(), collate=collate, config=agwm.TrainingConfig(epochs=1), seed=1)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_weights_of_zero_are_refused():
    """DeepSpeed is not here: the attribute by which it knows its weights stands for it."""
    model = nn.Linear(2, 2)
    check_shards(model)
    model.weight.ds_id = 0
    with pytest.raises(ProcessError, match="DeepSpeed's ZeRO: .* got 'weight' without values. Use"):
        check_shards(model)
