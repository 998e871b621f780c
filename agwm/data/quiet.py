"""Hide the progress bars of the ``datasets`` library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import datasets

__all__ = ["quiet_datasets"]


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Hide the bars of ``datasets`` within the block, then restore the earlier setting."""
    is_shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if is_shown:
            datasets.enable_progress_bars()
