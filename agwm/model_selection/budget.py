"""Budgets: which candidates are tried, on how many folds, with how many settings."""

from __future__ import annotations

from dataclasses import dataclass

from agwm.model_selection.candidates import Settings, is_trained

__all__ = ["BUDGETS", "Budget", "longer_settings", "trial_settings"]


@dataclass(frozen=True)
class Budget:
    """Size of a model selection.

    Attributes:
        candidates: Names of the candidates that are tried unless the user names others.
        num_folds: K of the cross-validation.
        num_repeats: Number of its repetitions, each on other folds.
        rates: Factors of a candidate's learning rate that are tried.
        more_epochs: Factors of the number of epochs that are tried with the best of these rates.
    """

    candidates: tuple[str, ...]
    num_folds: int
    num_repeats: int
    rates: tuple[float, ...]
    more_epochs: tuple[float, ...] = ()

    @property
    def num_trials(self) -> int:
        """Number of settings that each trained candidate is tried with."""
        return len(self.rates) + len(self.more_epochs)


_SMALL = ("probe", "vanilla")
_NORMAL = (*_SMALL, "lora")
# agwm takes several times as long, and where all rows are of one kind nothing speaks for it: docs/alpha.md.
BUDGETS: dict[str, Budget] = {
    "small": Budget(_SMALL, 5, 1, (1.0, 3.0)),
    "normal": Budget(_NORMAL, 5, 1, (1.0, 3.0)),
    "large": Budget(
        (
            *_NORMAL,
            "agwm",
            "frozen",
            "wise_ft",
            "weight_average",
            "setfit",
            "r_drop",
            "mixout",
            "re_init",
            "top_k",
        ),
        5,
        3,
        (0.3, 1.0, 3.0),
        (2.0,),
    ),
}


def trial_settings(
    name: str, budget: Budget, rate: float | None, epochs: int | None, base: tuple[float, int]
) -> list[Settings]:
    """Return the settings of the first trials: those of each learning rate.

    Args:
        name: The candidate.
        budget: The budget.
        rate: Learning rate that the user gave; None: it is chosen.
        epochs: Number of epochs that the user gave; None: it is chosen.
        base: The candidate's :func:`base_rate` and :func:`base_epochs`.
    """
    if not is_trained(name):
        return []
    rates = [rate] if rate is not None else [float(f"{base[0] * factor:.2g}") for factor in budget.rates]
    return [{"learning_rate": one, "epochs": epochs or base[1]} for one in rates]


def longer_settings(best: Settings, budget: Budget, epochs: int | None) -> list[Settings]:
    """Return the settings of the further trials: those of the best learning rate, with more epochs."""
    if epochs is not None:
        return []
    return [{**best, "epochs": round(best["epochs"] * factor)} for factor in budget.more_epochs]
