"""Scores of a user's function: any kind of number becomes a plain one, and nothing else passes."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from agwm.errors import ConfigError
from agwm.scores import finite_or_null, plain_scores


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (0.5, 0.5),
        (3, 3),
        (True, True),
        (np.float16(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.bool_(True), True),
        (np.array(0.5), 0.5),
        (np.array([7]), 7),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([0.5], requires_grad=True), 0.5),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (torch.tensor(3), 3),
        (torch.tensor(False), False),
        (Fraction(1, 2), 0.5),
        (float("inf"), math.inf),
        (np.float32("-inf"), -math.inf),
    ],
)
def test_numbers_of_any_library_are_plain_ones(value, plain):
    got = plain_scores({"score": value}, "evaluate")["score"]
    assert got == plain and type(got) is type(plain)
    json.dumps(got)


@pytest.mark.parametrize("value", [math.nan, np.float32("nan"), torch.tensor(math.nan)])
def test_nan_is_a_number(value):
    got = plain_scores({"score": value}, "evaluate")["score"]
    assert type(got) is float and math.isnan(got)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("0.5", "got str"),
        (None, "got NoneType"),
        ([0.5], "got list"),
        (np.zeros(4), r"got ndarray of shape \(4,\)"),
        (np.zeros(0), r"got ndarray of shape \(0,\)"),
        (torch.zeros(2, 2), r"got Tensor of shape \(2, 2\)"),
        (1j, "got complex"),
        (np.complex64(1), "got complex64"),
        (np.str_("high"), "got str_"),
        (Decimal("nan"), "got Decimal"),
        ({"f1": 0.5}, "got dict"),
    ],
)
def test_other_values_are_refused_by_name(value, named):
    with pytest.raises(ConfigError, match=f"Score 'bad' of validate is no number: .*{named}") as caught:
        plain_scores({"good": 1.0, "bad": value}, "validate")
    assert "\n" not in str(caught.value)


def test_anything_but_a_mapping_of_names_is_refused():
    with pytest.raises(ConfigError, match="Result of evaluate is unusable.*got float"):
        plain_scores(0.5, "evaluate")
    with pytest.raises(ConfigError, match="is no text: expected a str, got 3"):
        plain_scores({3: 0.5}, "evaluate")


def test_json_gets_null_for_numbers_it_lacks():
    history = [{"phase": "final", "f1": math.nan, "nested": [(1.0, -math.inf)]}]
    assert finite_or_null(history) == [{"phase": "final", "f1": None, "nested": [[1.0, None]]}]
