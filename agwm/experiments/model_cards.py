"""Facts on a run for the card of its model: labels with their counts, and scores with their uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from agwm.cards import CardFacts, CardScore
from agwm.data.metrics import compute_metric
from agwm.data.tasks import Task
from agwm.evaluation.intervals import score_interval
from agwm.experiments.config import RunConfig
from agwm.models.files import model_name

__all__ = ["card_facts"]


def card_facts(
    config: RunConfig,
    task: Task,
    seed: int,
    labels: Sequence[Sequence[float]],
    predictions: Sequence[Tensor | None],
) -> CardFacts:
    """Return the facts on a run.

    Args:
        config: The experiment.
        task: The task.
        seed: The run's seed.
        labels: Labels of the training, dev and test examples.
        predictions: What the model answers for them; None where it was not asked.
    """
    scores = []
    for split, answers, found in zip(("train", "dev", "test"), labels, predictions, strict=True):
        if found is not None:
            value = compute_metric(task.metric, found, answers, task.positive_index)
            low, high = score_interval(task.metric, found, answers, task.positive_index)
            scores.append(CardScore(split, task.metric, value, low, high, len(answers)))
    counts = Counter(labels[0])
    names = task.label_names or ()
    return CardFacts(
        task=task.name,
        base=model_name(config.model),
        seed=seed,
        num_examples=len(labels[0]),
        labels={name: counts[index] for index, name in enumerate(names)},
        text_columns=tuple(config.data.text_columns if config.data.train_file else task.text_columns),
        max_length=config.max_length,
        scores=tuple(reversed(scores)),
    )
