"""Versions of what computes: the libraries, Python and the machine."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import torch

from agwm._version import __version__

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Return the versions of the libraries that compute, and of the machine."""
    names = ("betty-ml", "datasets", "numpy", "tokenizers", "torch", "transformers")
    found = {name: importlib.metadata.version(name) for name in names}
    found["torch"] = str(torch.__version__)  # tells the build, +cpu or +cu130, which metadata may not
    return {
        "agwm": __version__,
        **found,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not on Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
