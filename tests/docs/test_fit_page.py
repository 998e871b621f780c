"""What the page on `fit` tells of its runs is what their files say."""

from __future__ import annotations

from docs import make_fit


def test_the_page_is_up_to_date():
    assert make_fit.PAGE.read_text(encoding="utf-8") == make_fit.page(), "run: python -m docs.make_fit"


def test_there_are_the_runs_and_draws_that_the_page_tells_of():
    assert len(make_fit.draws()) >= 10
    for name in ("sst2", "stsb", "messages"):
        text = (make_fit.RESULTS / f"{name}.txt").read_text(encoding="utf-8")
        assert text.startswith("$ agwm fit train.csv") and "Report: model/report.html" in text
