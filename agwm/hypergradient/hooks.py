"""Methods that a user's class defines: Betty's hooks, found by name, and overrides of Betty's methods."""

from __future__ import annotations

import difflib
import warnings
from typing import Any

from agwm.errors import AgwmWarning, ConfigError
from agwm.hypergradient._betty import ImplicitProblem

__all__ = ["HOOKS", "check_names", "owner_of", "warn_of_misspelt_hooks"]

HOOKS: tuple[str, ...] = (
    "configure_train_data_loader",
    "configure_module",
    "configure_optimizer",
    "configure_scheduler",
    "param_groups",
    "get_batch",
    "on_inner_loop_start",
    "grad_callback",
    "param_callback",
    "custom_optimizer_step",
    "epoch_callback",
    "training_step",
)


def warn_of_misspelt_hooks(own: type, base: type) -> None:
    """Warn of methods of a problem that are close to a hook's name: Betty finds hooks by name only.

    Args:
        own: The problem's class.
        base: The class of ours that it was made from; what that has is no misspelling.
    """
    for name in dir(own):
        if name.startswith("_") or name in HOOKS or hasattr(base, name) or not callable(getattr(own, name)):
            continue
        close = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.85)
        if close:
            warnings.warn(
                f"{own.__name__}.{name} is never called: expected the name of a hook of Betty's, got one"
                f" close to {close[0]!r}. Rename it.",
                AgwmWarning,
                stacklevel=4,
            )


def owner_of(problem: Any, name: str) -> str | None:
    """Return the name of the user's class that defines an attribute of a problem; None: nobody but us."""
    if name in vars(problem):
        return type(problem).__name__
    for kind in type(problem).__mro__:
        if kind.__module__.startswith(("agwm.", "betty.")) or kind is object:
            continue
        if name in vars(kind):
            return kind.__name__
    return None


def check_names(problem: Any) -> None:
    """Raise if a user's problem has an attribute by the name of one that agwm adds to Betty's problems.

    Raises:
        ConfigError: If it has.
    """
    added = {
        name
        for kind in type(problem).__mro__
        if kind.__module__.startswith("agwm.hypergradient.")
        for name in vars(kind)
        if not name.startswith("__") and not hasattr(ImplicitProblem, name)
    }
    for name in sorted(added):
        owner = owner_of(problem, name)
        if owner is not None:
            raise ConfigError(
                f"Name of an attribute is taken: expected {owner} to leave {name!r} to agwm, got one of its"
                " own. Rename it."
            )
