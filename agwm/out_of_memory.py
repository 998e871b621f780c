"""Errors that say that memory does not hold a batch, in one line that says what to lower."""

from __future__ import annotations

import sys

__all__ = ["out_of_memory"]

_WORDS = ("out of memory", "not enough memory", "cannot allocate memory", "can't allocate memory")


def out_of_memory(error: BaseException) -> str | None:
    """Return a line that says what to lower; None if the error is another.

    Example:
        >>> out_of_memory(MemoryError())
        'Out of memory: expected room for a batch on this device, got none. Raise gradient_accumulation ...'
        >>> out_of_memory(ValueError("no")) is None
        True
    """
    torch = sys.modules.get("torch")  # who has not loaded it has not filled the memory of a device
    of_torch = getattr(torch, "OutOfMemoryError", MemoryError)
    text = str(error).lower()
    is_it = isinstance(error, MemoryError | of_torch) or (
        isinstance(error, RuntimeError | OSError) and any(words in text for words in _WORDS)
    )
    if not is_it:
        return None
    return (
        "Out of memory: expected room for a batch on this device, got none. Raise gradient_accumulation"
        " or lower batch_size (in a config, in the sections vanilla, search and final; agwm fit:"
        " --gradient-accumulation), set precision to bf16 there, lower --max-length or --jobs, or take a"
        " smaller --model."
    )
