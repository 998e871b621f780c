"""The programs in examples/, loaded from their files, and settings that make their runs short."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

__all__ = ["FAST", "GLUE_LOWRES", "ROOT", "load_program", "main"]

ROOT = Path(__file__).resolve().parents[1]
GLUE_LOWRES = ROOT / "examples" / "glue_lowres.py"
FAST = ("vanilla.epochs=1", "search.epochs=1", "final.epochs=1", "search.evaluations=1", "device=cpu")


def load_program(name: str) -> ModuleType:
    """Load ``examples/<name>.py`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


main = load_program("glue_lowres").main
