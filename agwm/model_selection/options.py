"""Options of a model selection, by the names of the command line's flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from agwm.checks import Count, Interval, NonNegative, Seed, check_fields

__all__ = ["FitOptions"]


@dataclass(frozen=True)
class FitOptions:
    """How methods are tried and one is chosen; the rows are handed over beside it.

    Attributes:
        model: ``"minilm"`` or another of ``docs/models.md``, a folder, or a name on the hub.
        methods: Names of candidates; None: those of the budget.
        budget: ``"small"``, ``"normal"`` or ``"large"``: candidates, folds, repeats and trials.
        metric: Name of the metric that decides; None: accuracy, spearman for scores, or micro_f1 for
            several labels an example.
        class_weight: ``"balanced"`` weighs the classes of the loss by their inverse frequency.
        learning_rate: Peak rate of every trained method; None: chosen inside of each training part.
        epochs: Passes over the training set; None: chosen likewise.
        max_length: Tokens of an example; longer ones are cut.
        gradient_accumulation: Micro-batches that a batch is cut into, one in memory at a time; see
            :class:`agwm.TrainingConfig`.
        seeds: Number of repetitions of the cross-validation; None: that of the budget.
        seed: Seed of the folds and of all training.
        device: ``"auto"``, or a name that PyTorch knows.
        jobs: Processes that train at the same time; None: one a core on the CPU, one elsewhere.
        trust_remote_code: Run code that comes with the model.
    """

    model: str = "minilm"
    methods: list[str] | None = None
    budget: Literal["small", "normal", "large"] = "normal"
    metric: str | None = None
    class_weight: Literal["balanced"] | None = None
    learning_rate: NonNegative | None = None
    epochs: Count | None = None
    max_length: Annotated[int, Interval(8)] = 128
    gradient_accumulation: Count = 1
    seeds: Count | None = None
    seed: Seed = 1017
    device: str = "auto"
    jobs: Count | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
