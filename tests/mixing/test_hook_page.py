"""The page of architectures says what the code does."""

from __future__ import annotations

import pytest
import transformers

from docs.make_architectures import PAGE, render
from tests.architectures import ARCHITECTURES


def test_page_names_every_architecture():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in ARCHITECTURES if f"\n| {name} |" not in text] == []


def test_page_is_up_to_date():
    text = PAGE.read_text(encoding="utf-8")
    if f"transformers {transformers.__version__} " not in text:
        pytest.skip("the page was written with another release of transformers")
    assert text == render(), "run `python -m docs.make_architectures`"
