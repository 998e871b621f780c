"""The interval of a score on a card: as wide as another draw of the examples makes it."""

from __future__ import annotations

import pytest
import torch

from agwm.data.metrics import METRICS, compute_metric
from agwm.evaluation import intervals
from agwm.evaluation.intervals import score_interval


@pytest.mark.parametrize("metric", METRICS)
def test_an_interval_holds_the_score_and_narrows_with_more_examples(metric, monkeypatch):
    monkeypatch.setattr(intervals, "_DRAWS", 99)
    generator = torch.Generator().manual_seed(1)
    widths = []
    for number in (30, 480):
        labels = torch.randint(0, 2, (number,), generator=generator)
        wrong = torch.rand(number, generator=generator) < 0.2
        found = torch.where(wrong, 1 - labels, labels)
        low, high = score_interval(metric, found, labels.tolist())
        assert low < compute_metric(metric, found, labels) < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.5)  # as the root of 16


def test_one_example_has_no_interval_and_a_constant_answer_none_that_warns():
    low, high = score_interval("matthews", torch.tensor([1]), [1])
    assert low != low and high != high
    assert score_interval("matthews", torch.zeros(20), [0, 1] * 10) == (0.0, 0.0)
