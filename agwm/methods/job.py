"""The job that a method gets, and the outcome that it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from agwm.cards import CardFacts
from agwm.checkpoints import Checkpoints
from agwm.folders import whole_folder
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.training.config import TrainingConfig
from agwm.training.loop import Collate, Evaluate

__all__ = ["Job", "Outcome"]


@dataclass(frozen=True)
class Job:
    """Everything that a method needs for a run.

    Attributes:
        loaded: The pretrained model on its device, its tokenizer and the names of its fresh parameters.
        examples: Encoded training examples.
        collate: Function that makes a padded batch from a list of examples.
        evaluate: Function of the model that returns scores during training, for the record.
        seed: Seed of all random draws.
        training: Settings of one-level training. A config calls them ``vanilla``.
        recipe: Settings of the two-level recipe.
        progress: True to show bars; None: only on a terminal.
        class_weights: Weights of the classes in the loss of every training, shape (classes,); None: all 1.
            See :func:`agwm.training.class_weights.class_weighted`.
        checkpoints: Those of this run, which its trainings are taken up from; None: there are none.
    """

    loaded: Pretrained
    examples: Sequence[Any]
    collate: Collate
    evaluate: Evaluate | None
    seed: int
    training: TrainingConfig
    recipe: FinetuneConfig
    progress: bool | None = None
    class_weights: Tensor | None = None
    checkpoints: Checkpoints | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of a method's run.

    Attributes:
        model: The finetuned model. It is plain if the method can be merged into a plain model.
        passes: Number of forward and backward passes of a batch in training.
        history: Losses and scores measured during training.
        write: Function that writes model, tokenizer and card into a new folder, of the facts for the card.
        alpha: Name of a mixed weight -> mean, min and max of its alpha; empty without mixing.
        seconds: Name of a stage -> its time in seconds.
        card: Facts for the card; empty until the model is scored.
    """

    model: nn.Module
    passes: float
    history: list[dict[str, Any]]
    write: Callable[[Path, CardFacts], None]
    alpha: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    card: CardFacts = field(default_factory=CardFacts)

    def save(self, directory: str | Path) -> None:
        """Save model, tokenizer and card in a folder, which is swapped whole.

        Raises:
            DataError: If the folder cannot be written; what was in it is unchanged.
            DivergenceError: If a weight is not finite.
        """
        with whole_folder(directory) as folder:
            self.write(folder, self.card)
