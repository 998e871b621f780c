"""Fixtures of the tests of the page."""

from __future__ import annotations

import pytest

from agwm.model_selection.reporting.page import sections_of
from tests.model_selection.reporting.kinds_of_records import MAKERS


@pytest.fixture(scope="session")
def sections():
    """Return the sections of the page of a kind of record, drawn once."""
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = sections_of(*MAKERS[name]())
        return kept[name]

    return of
