"""Results of ``validate`` are plain numbers, and batches of the default loss are dicts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from agwm.errors import ConfigError, DataError
from tests.search_runs import Search, tiny_classifier, vector_batches

NUMBERS = {
    "int": (3, 3),
    "float": (0.5, 0.5),
    "bool": (True, True),
    "float64": (np.float64(0.5), 0.5),
    "float32": (np.float32(0.5), 0.5),
    "float16": (np.float16(0.5), 0.5),
    "int64": (np.int64(3), 3),
    "numpy bool": (np.bool_(True), True),
    "array": (np.array([[0.5]]), 0.5),
    "tensor": (torch.tensor(0.5), 0.5),
    "tensor of one": (torch.tensor([3]), 3),
    "parameter": (torch.nn.Parameter(torch.tensor([0.5])), 0.5),
    "infinity": (np.float32("inf"), math.inf),
}


def small(**options) -> Search:
    return Search(
        tiny_classifier(),
        "*weight",
        inner=vector_batches(3),
        outer=vector_batches(2),
        train_iters=4,
        **options,
    )


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_any_library(name, tmp_path):
    value, expected = NUMBERS[name]
    file = tmp_path / "state"
    search = small(validate=lambda engine: {"v": value}, valid_step=2, checkpoint=file, checkpoint_step=2)
    search.run()
    assert [(r["step"], r["v"]) for r in search.engine.history] == [(2, expected), (4, expected)]
    assert type(search.engine.history[0]["v"]) is type(expected)
    resumed = small()
    resumed.engine.resume(file)
    assert resumed.engine.history == search.engine.history
    assert math.isinf(expected) or json.dumps(search.engine.history, allow_nan=False)


def test_not_a_number_is_a_number(tmp_path):
    search = small(
        validate=lambda engine: {"v": np.float32("nan")}, valid_step=2, checkpoint=tmp_path / "x"
    )
    search.run()
    assert all(math.isnan(record["v"]) for record in search.engine.history)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("0.5", "str"),
        (None, "NoneType"),
        ([0.5], "list"),
        (torch.ones(2), r"Tensor of shape \(2,\)"),
        (np.ones(2), r"ndarray of shape \(2,\)"),
        (1j, "complex"),
        (torch.ones(1, dtype=torch.complex64), r"Tensor of shape \(1,\)"),
    ],
)
def test_what_is_no_number_is_refused_by_its_key(value, got):
    search = small(validate=lambda engine: {"good": 1.0, "bad": value}, valid_step=2)
    with pytest.raises(
        ConfigError, match=rf"Score 'bad' of validate is no number: expected one number, got {got}"
    ):
        search.run()
    assert search.engine.history == []


@pytest.mark.parametrize("kind", [tuple, list])
def test_batch_that_is_no_dict_is_one_clear_line(kind):
    batches = [kind(batch.values()) for batch in vector_batches(2)]
    search = Search(tiny_classifier(), "*weight", inner=batches, outer=vector_batches(2), train_iters=1)
    with pytest.raises(
        DataError, match=rf"Batch of problem 'inner' is unusable.*got a {kind.__name__}\. Collate"
    ):
        search.run()
