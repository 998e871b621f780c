"""Scores that chance explains: by hand, and against answers that know nothing."""

from __future__ import annotations

import numpy as np
import pytest

from agwm.data.metrics import METRICS, compute_metric
from agwm.experiments.reporting.chance import CHANCE_NOTE, chance_limit, count_at_chance, is_at_chance
from agwm.experiments.reporting.page import report_files
from agwm.experiments.reporting.rows import markdown_table, summarize
from agwm.experiments.reporting.tables import make_table, wide_table
from tests.experiments.records import make_record


def runs_of(scores, metric="accuracy", constant=0.5092, num_test=872, task="rte"):
    changes = {"num_test": num_test, "metric": metric, "constant": constant, "is_degenerate": False}
    return [make_record("vanilla", seed, score, task=task, **changes) for seed, score in enumerate(scores)]


def test_accuracy_just_above_the_largest_class_is_chance():
    # two binomial standard errors at 0.5092 of 872 examples are 0.0339
    runs = runs_of((0.5149, 0.5275, 0.5401, 0.5430, 0.5432, 0.80, None))
    assert [is_at_chance(run) for run in runs] == [True, True, True, True, False, False, None]
    assert count_at_chance(runs) == 4


def test_correlations_have_their_own_errors():
    assert chance_limit("spearman", 0.0, 1501) == pytest.approx(2 / 1500**0.5)
    assert chance_limit("pearson", 0.0, 1501) == pytest.approx(2 / 1500**0.5)
    assert chance_limit("matthews", 0.0, 1043) == pytest.approx(2 / 1043**0.5)
    assert chance_limit("f1", 0.8, 408) is None
    assert chance_limit("accuracy", 0.5, 1) is None and chance_limit("spearman", 0.0, 1) is None


@pytest.mark.parametrize("metric", ["accuracy", "spearman", "pearson", "matthews"])
def test_answers_that_know_nothing_are_within_the_limit(metric):
    """About 98 % of them, since the limit is at two standard errors and one-sided."""
    generator = np.random.default_rng(0)
    draw = (
        generator.standard_normal
        if metric in ("spearman", "pearson")
        else lambda n: generator.integers(0, 2, n)
    )
    limit = chance_limit(metric, 0.5 if metric == "accuracy" else 0.0, 200)
    within = [compute_metric(metric, draw(200), draw(200)) <= limit for _ in range(500)]
    assert 0.96 < np.mean(within) < 0.99


def test_what_cannot_be_judged_is_not_counted_as_judged():
    assert count_at_chance(runs_of((0.5, 0.6), metric="f1")) is None
    assert count_at_chance(runs_of((0.5,), num_test=None)) is None
    assert count_at_chance(runs_of((0.5,), constant=None)) is None
    assert count_at_chance(runs_of((None,))) == 0
    judged = [name for name in METRICS if chance_limit(name, 0.5, 100) is not None]
    assert len(judged) == 4 and all(name in CHANCE_NOTE for name in judged)


def test_tables_show_the_count():
    runs = runs_of((0.5149, 0.5275, 0.80))
    assert "(2 not above chance) |" in wide_table(make_table(runs))
    lines = markdown_table(summarize(runs)).splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in (lines[0], lines[2])]
    assert dict(zip(*cells, strict=True))["not above chance"] == "2"
    lines = markdown_table(summarize(runs_of((0.5,), metric="f1"))).splitlines()
    assert lines[2].split("|")[9].strip() == "-"
    page = report_files(runs, "command")["report.md"]
    assert "Made from 3 records (0 failed, 0 degenerate, 2 not above chance)" in page
    assert CHANCE_NOTE in page
