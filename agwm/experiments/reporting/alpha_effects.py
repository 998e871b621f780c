"""Measure how far alpha moved in each run, and compare the score with the run's controls."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from agwm.experiments.record import Record
from agwm.experiments.reporting.comparisons import control_of, controlled, unlearned_of
from agwm.experiments.reporting.runs import has_own_alpha, labels_of, learns_alpha

__all__ = ["AlphaEffect", "alpha_effects", "start_of_alpha"]

# An optional number on each weight, beside mean, min and max: mean of |alpha - alpha at the start|.
FROM_START = "from_start"


@dataclass(frozen=True)
class AlphaEffect:
    """Movement of alpha in one run, and scores relative to the controls of the same seed.

    Attributes:
        run: The run that mixed with an alpha of its own.
        is_learned: It learned alpha; not with a learning rate of 0.
        drawn: Label of agwm that differs in learning nothing of alpha; None: there is none.
        held: Label of the control with alpha held at 1; None: there is none.
        moved: Mean of 1 - alpha over the mixed matrices.
        lowest: Smallest entry of any alpha.
        from_start: Mean distance of alpha from its start; None: not in the record.
        over_drawn: Score minus that of ``drawn``; None: one of the two has none on this seed.
        over_held: Score minus that of ``held``, likewise.
    """

    run: Record
    is_learned: bool
    drawn: str | None
    held: str | None
    moved: float
    lowest: float
    from_start: float | None
    over_drawn: float | None
    over_held: float | None

    @property
    def reference(self) -> str | None:
        """The closest control: the one that does not learn alpha, if there is one."""
        return self.held if self.drawn is None else self.drawn

    @property
    def difference(self) -> float | None:
        """Score minus the score of ``reference``; None: there is no reference, or nothing was learned."""
        if not self.is_learned:
            return None
        return self.over_held if self.drawn is None else self.over_drawn


def alpha_effects(runs: Sequence[Record]) -> list[AlphaEffect]:
    """Compare every run that has its own alpha with its controls, by task and seed; only agwm has controls.

    Args:
        runs: Runs of one model and size.
    """
    scores = {(run.label, run.task, run.seed): run.score for run in runs}
    agwm = labels_of(controlled(runs))
    held = {label: control_of(runs, label) for label in agwm}
    drawn = {label: unlearned_of(runs, label) for label in agwm}

    def over(run: Record, control: str | None) -> float | None:
        other = None if control is None else scores.get((control, run.task, run.seed))
        return None if other is None or run.score is None else run.score - other

    found = []
    for run in runs:
        if not has_own_alpha(run):
            continue
        numbers = list(run.train_info.alpha.values())
        starts = [one[FROM_START] for one in numbers if FROM_START in one]
        found.append(
            AlphaEffect(
                run=run,
                is_learned=learns_alpha(run),
                drawn=drawn.get(run.label),
                held=held.get(run.label),
                moved=statistics.fmean(1.0 - one["mean"] for one in numbers),
                lowest=min(one["min"] for one in numbers),
                from_start=statistics.fmean(starts) if len(starts) == len(numbers) else None,
                over_drawn=over(run, drawn.get(run.label)),
                over_held=over(run, held.get(run.label)),
            )
        )
    return found


def start_of_alpha(run: Record) -> float | None:
    r"""Return the expected mean of 1 - alpha before training, from the settings of a run.

    A factor is drawn from :math:`N(1, \sigma)` and cut at 1, so its mean is
    :math:`1 - \sigma/\sqrt{2\pi}`; alpha has two of them in the form ``rank1``, else one.

    Returns:
        The number, or None where the settings are not in the record.
    """
    mixing = run.settings.get("mixing", {})
    if "init_std" not in mixing or "alpha" not in mixing:
        return None
    factor = 1.0 - mixing["init_std"] / math.sqrt(2 * math.pi)
    return 1.0 - factor ** (2 if mixing["alpha"] == "rank1" else 1)
