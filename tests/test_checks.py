"""Checks of input: every kind of setting, by name and in one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pytest

import agwm
from agwm.checks import (
    Count,
    Fraction,
    Interval,
    NonNegative,
    Precision,
    Schedule,
    check_choice,
    check_value,
    is_a,
    options,
)
from agwm.errors import ConfigError, SplitError
from agwm.hypergradient.best_response import BestResponse, response_vector
from agwm.methods import METHODS
from agwm.mixing.alpha import ALPHA_FORMS, Alpha, AlphaForm
from agwm.mixing.functions import _FUNCTIONS, Formula
from agwm.training.loop import _DTYPES, _SCHEDULES

OPEN = Annotated[float, Interval(0, 1, is_open=True)]


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (int, [0, -3, np.int64(2)], [True, 1.0, "1", None]),
        (float, [0, 0.5, np.float32(1)], [False, "1", float("nan"), float("inf"), None, 1j]),
        (bool, [True, False], [0, 1, None, "yes"]),
        (str, ["", "a"], [1, None, b"a"]),
        (Any, [None, [1]], []),
        (Mapping[str, int], [{}, {"a": 1}], [{1: 1}, {"a": "1"}, {"a": True}, [], None]),
        (Count, [1, 7], [0, True, 1.5]),
        (NonNegative, [0, 0.1], [-1e-9, float("inf"), float("nan")]),
        (Fraction, [0, 1, 0.5], [1.01, -0.01]),
        (OPEN, [1, 0.1], [0, 1.5]),
        (Count | None, [None, 3], [0, "null"]),
        (list[Count], [[], [1, 2]], [[0], (1,), 1, [1, "a"]]),
        (tuple[str, ...], [(), ("a",)], [["a"], "a", (1,)]),
        (Schedule, ["linear"], ["linar", None, 3, ["linear"]]),
        (AlphaForm | type[Alpha], ["rank1", ALPHA_FORMS["row"]], ["rank2", object, 3, None]),
    ],
    ids=str,
)
def test_values_of_a_kind(kind, right, wrong):
    for value in right:
        assert is_a(kind, value)
        check_value("x", kind, value)
    for value in wrong:
        assert not is_a(kind, value)
        with pytest.raises(ConfigError, match=r"^x is .*: expected .*, got .*\.") as error:
            check_value("x", kind, value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Count, 0, "x is out of range: expected an integer >= 1, got 0. Correct it."),
        (OPEN, 0, "x is out of range: expected a number > 0 and <= 1, got 0. Correct it."),
        (Fraction | None, 2, "x is out of range: expected a number in [0, 1] or null, got 2. Correct it."),
        (int, None, "x is of the wrong type: expected an integer, got null. Correct it."),
        (list[str], "a", "x is of the wrong type: expected a list, each a text, got 'a'. Correct it."),
        (
            Schedule,
            "linar",
            "x is unknown: expected one of linear, cosine, constant, got 'linar'."
            " Did you mean 'linear'? Correct it.",
        ),
    ],
)
def test_messages(kind, value, message):
    with pytest.raises(ConfigError) as error:
        check_value("x", kind, value)
    assert str(error.value) == message


def test_the_error_and_the_remedy_are_the_caller_s():
    with pytest.raises(SplitError, match=r"Did you mean 'left'\? Look left\."):
        check_choice("side", "lift", ["left", "right"], "Look left.", SplitError)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agwm.SearchConfig(schedule="linar"), "SearchConfig.schedule .* Did you mean 'linear'"),
        (lambda: agwm.SearchConfig(attention_schedule="cosin"), "Did you mean 'cosine'"),
        (lambda: agwm.SearchConfig(stratified="no"), "stratified .* expected true or false, got 'no'"),
        (lambda: agwm.SearchConfig(roll_back=1), "roll_back .* expected true or false, got 1"),
        (lambda: agwm.TrainingConfig(learning_rate=float("inf")), "learning_rate is out of range"),
        (lambda: agwm.TrainingConfig(precision="bfloat16"), "precision is unknown: expected one of fp32"),
        (lambda: agwm.MixingConfig(formula="convx"), "formula is unknown.* Did you mean 'convex'"),
        (lambda: agwm.MixingConfig(alpha="rank2"), "alpha is unknown.* Did you mean 'rank1'"),
        (lambda: agwm.MixingConfig(init_std=True), "init_std is out of range: expected a number >= 0"),
        (lambda: agwm.MixingConfig(include="query"), "include is of the wrong type: expected a list"),
        (lambda: agwm.Hypergradient(scheme="centrl"), "hypergradient.scheme .* Did you mean 'central'"),
        (
            lambda: agwm.Hypergradient(epsilon=True),
            "epsilon is out of range: expected a number > 0",
        ),
        (lambda: agwm.FinetuneConfig(seed=-1), "seed is out of range"),
    ],
)
def test_settings_are_checked_where_they_are_written(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("method", [m for m in METHODS.values() if m.settings_class], ids=lambda m: m.name)
def test_every_method_checks_every_setting(method):
    for entry in dataclasses.fields(method.settings_class):
        with pytest.raises(ConfigError, match=f"{method.settings_class.__name__}.{entry.name} is "):
            method.settings_class(**{entry.name: object()})


def test_literals_name_what_the_code_knows():
    assert set(options(AlphaForm)) == set(ALPHA_FORMS)
    assert set(options(Formula)) == set(_FUNCTIONS)
    assert set(options(Schedule)) == set(_SCHEDULES)
    assert set(options(Precision)) == {"fp32", *_DTYPES}
    assert options(BestResponse) == ("identity", "sgd", "optimizer")
    with pytest.raises(ConfigError, match="Did you mean 'optimizer'"):
        response_vector("optimiser", [], None)


def test_choices_need_no_literal_type():
    assert is_a(Literal["a"], "a") and not is_a(Literal["a"], "b")
