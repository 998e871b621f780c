"""The bar of a selection, and the lines that stand for it where there is no terminal."""

from __future__ import annotations

import pytest

from agwm.model_selection import progress
from agwm.model_selection.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_a_minute_says_what_is_done_and_left(clock):
    told: list[str] = []
    with Progress(200, 100, None, told.append) as bar:
        bar.stage("choosing settings")
        clock[0] += 60
        bar.update(10)  # too early for an estimate
        clock[0] += 30
        bar.update(10)  # too early for a line
        clock[0] += 30
        bar.update(30)
        bar.stage("cross-validation")
        clock[0] += 59
        bar.update(10)
        clock[0] += 1
        bar.update(30)
        clock[0] += 60
        bar.update(10)  # the end tells of itself
    assert told == [
        "choosing settings: 55% done.",
        "choosing settings: 75% done, about 2 min left.",
        "cross-validation: 95% done, about 20 s left.",
    ]


@pytest.mark.parametrize("shown", [True, False])
def test_who_chose_the_bar_or_none_gets_no_line(clock, capsys, shown):
    told: list[str] = []
    with Progress(100, 0, shown, told.append) as bar:
        bar.stage("choosing settings")
        clock[0] += 500
        bar.update(50)
    assert not told
    assert ("choosing settings:  50%" in capsys.readouterr().err) == shown
