"""Registration of agwm's hypergradient in programs of Betty, as soon as they import Betty."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["register_with_betty"]

_ENGINE = "betty.engine"  # every program of Betty imports it
_OURS = "agwm.hypergradient._betty"
_REGISTERING = "agwm.hypergradient.search_step"


def register_with_betty() -> None:
    """Make ``Config(type="agwm")`` known: now if Betty is imported already, else right after its import.

    ``import agwm`` promises it to programs that use nothing else of agwm, and does not import Betty itself,
    which takes seconds.
    """
    if _ENGINE in sys.modules:
        _register()
    elif not any(isinstance(finder, _AfterBetty) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterBetty())


def _register() -> None:
    if _OURS not in sys.modules:  # else agwm is importing Betty itself, and registers when it has done so
        importlib.import_module(_REGISTERING)


class _AfterBetty(MetaPathFinder):
    """Finds one module as the other finders do, and registers once it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _ENGINE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register()

            loader.exec_module = execute_and_register
        return spec
