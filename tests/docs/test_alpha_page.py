"""The page on alpha is what its records say."""

from __future__ import annotations

import numpy as np
import pytest

from docs import make_alpha
from tests.experiments.reporting.synthetic import make_records, write_records


@pytest.mark.skipif(not make_alpha.RESULTS.is_dir(), reason="no records in docs/results/alpha")
def test_the_page_is_up_to_date():
    expected = make_alpha.page()
    assert make_alpha.PAGE.read_text(encoding="utf-8") == expected, "run: python -m docs.make_alpha"


def test_a_task_that_vanilla_does_not_learn_is_left_out(tmp_path):
    runs = {run.label for run in make_records()}
    assert "vanilla" in runs
    write_records(tmp_path, [run for run in make_records() if run.task == "rte"])
    assert make_alpha.entering(make_alpha.by_task([tmp_path])) == {}
    assert "rte, tiny is left out" in make_alpha.section([tmp_path])


def test_seeds_to_see_a_point():
    # by simulation: a paired z-test of so many seeds finds one point in eight of ten cases
    rng, spread = np.random.default_rng(0), 1.7
    count = make_alpha.seeds_to_see(spread)
    means = rng.normal(1.0, spread / np.sqrt(count), 20_000)
    assert np.mean(np.abs(means) > 1.96 * spread / np.sqrt(count)) == pytest.approx(0.8, abs=0.02)


def test_the_picture_of_the_cost_has_every_scheme(tmp_path):
    make_alpha.draw_cost(tmp_path / "cost.png")
    assert (tmp_path / "cost.png").stat().st_size > 10_000
