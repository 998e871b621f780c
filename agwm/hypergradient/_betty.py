"""The only module that imports Betty: feature check, registration, adoption.

``register`` makes a hypergradient known to Betty under a ``Config.type`` and gives its search step to the
problems of any Betty program that asks for that type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agwm.betty_release import REMEDY
from agwm.errors import ConfigError
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient

try:
    import betty.hypergradient as betty_hypergradient
    from betty.configs import Config, EngineConfig
    from betty.engine import Engine
    from betty.logging.logger_base import get_logger
    from betty.problems import ImplicitProblem
except ImportError as error:
    raise ImportError(f"agwm needs Betty 0.2.1, got: {error}. Run: {REMEDY}") from None


def missing_features() -> list[str]:
    """List what agwm needs and the installed Betty lacks; the version string is not to be trusted."""
    needs = {
        "Config.precision": "precision" in getattr(Config, "__dataclass_fields__", {}),
        "EngineConfig.strategy": "strategy" in getattr(EngineConfig, "__dataclass_fields__", {}),
        "hypergradient.jvp_fn_mapping": hasattr(betty_hypergradient, "jvp_fn_mapping"),
        "ImplicitProblem.training_step_exec": hasattr(ImplicitProblem, "training_step_exec"),
        "ImplicitProblem.meta_trainable_parameters": hasattr(ImplicitProblem, "meta_trainable_parameters"),
    }
    return [name for name, is_there in needs.items() if not is_there]


if missing_features():
    raise ImportError(
        f"agwm needs Betty 0.2.1, got one without {missing_features()[0]} (an old pip picks 0.1.1 on"
        f" Python 3.11 and newer). Run: {REMEDY}"
    )


@dataclass
class HypergradientConfig(Config):
    """Betty's ``Config`` with the settings of our hypergradient; give it to the inner problem.

    Attributes:
        hypergradient: Settings, or a mapping of their names; None: the defaults.
    """

    type: str = HYPERGRADIENT_TYPE
    hypergradient: Hypergradient | Mapping[str, Any] | None = None


_adopters: dict[str, type] = {}
_adopted: dict[tuple[type, type], type] = {}


def register(kind: str, hypergradient: Callable[..., Any], step: type) -> None:
    """Make a hypergradient known to Betty.

    Args:
        kind: The ``Config.type`` that asks for it.
        hypergradient: ``f(vector, curr, prev, sync)``, as Betty calls it.
        step: A subclass of Betty's ``ImplicitProblem``. The problems of every engine in which a problem
            asks for the type become instances of it.
    """
    betty_hypergradient.jvp_fn_mapping[kind] = hypergradient
    _adopters[kind] = step


class _Unregistered:
    """Comes first in an adopted class: making that class is no news for the user's own bases."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        pass


def _adopt(problem: Any, step: type) -> None:
    """Put ``step`` between the classes of the user and Betty's.

    Python orders the bases of a class so that a class comes before its own base: the user's classes, then
    ``step``, then ``ImplicitProblem``. The user's overrides are called first, and their ``super()`` reaches
    ``step``.

    Raises:
        ConfigError: If the problem is of another kind of Betty's.
    """
    own = type(problem)
    if isinstance(problem, step):
        return
    if not isinstance(problem, ImplicitProblem):
        raise ConfigError(
            f"Problem {problem.name!r} cannot be in an engine with type {HYPERGRADIENT_TYPE!r}: expected a"
            f" subclass of ImplicitProblem, got {own.__name__}. Derive it from ImplicitProblem."
        )
    if (own, step) not in _adopted:
        body = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
        _adopted[own, step] = type(own.__name__, (_Unregistered, own, step), body)
    problem.__class__ = _adopted[own, step]


_stock_initialize = Engine.initialize


def _initialize(engine: Engine) -> None:
    for kind in {problem.config.type for problem in engine.problems} & set(_adopters):
        for problem in engine.problems:
            _adopt(problem, _adopters[kind])
    _stock_initialize(engine)
    known: Any = tuple(_adopters.values())
    for problem in engine.problems:
        if isinstance(problem, known):
            problem._leaves = engine.leaves


Engine.initialize = _initialize


@contextmanager
def quiet_betty() -> Iterator[None]:
    """Silence Betty's announcements, which go to standard output, for the body."""
    logger = get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)
