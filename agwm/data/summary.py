"""Say in one line what a set of examples holds: classes, empty, shared and repeated examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np

from agwm.data.tasks import Task
from agwm.errors import shown

__all__ = ["PartFacts", "part_facts", "part_line", "texts_of"]

_MOST_CLASSES = 8
_LONGEST_NAME = 40  # characters


@dataclass(frozen=True)
class PartFacts:
    """Counts of a set of examples.

    Attributes:
        num_examples: All of them.
        classes: Name of a class -> its examples, in index order; empty for regression.
        scores: Least, mean and greatest score; None for classes, and where there is no example.
        num_empty: Examples with an empty text.
        num_shared: Examples whose texts are in the other set too.
        num_repeated: Examples whose texts stand further up in this set.
        num_contrary: Those of the repeated ones whose label is another one there.
    """

    num_examples: int
    classes: dict[str, int]
    scores: tuple[float, float, float] | None
    num_empty: int
    num_shared: int
    num_repeated: int
    num_contrary: int


def texts_of(examples: datasets.Dataset, task: Task) -> list[tuple[str, ...]]:
    """Return the texts of each example."""
    return list(zip(*(list(examples[name]) for name in task.text_columns), strict=True))


def part_facts(examples: datasets.Dataset, other: datasets.Dataset, task: Task) -> PartFacts:
    """Count what a set of examples holds.

    Args:
        examples: The set.
        other: The set beside it: the test set of a training set, or the other way round. It may be empty.
        task: The task of both.

    Example:
        >>> from agwm.data.tasks import get_task
        >>> rows = {"sentence1": ["a b", "a b", "c d", ""], "label": [0, 1, 1, 1]}
        >>> facts = part_facts(
        ...     datasets.Dataset.from_dict(rows),
        ...     datasets.Dataset.from_dict({"sentence1": ["c d"], "label": [1]}),
        ...     get_task("sst2"),
        ... )
        >>> part_line("a.csv", facts, "b.csv", "")
        'a.csv: 4 examples, 2 classes: positive 3, negative 1; 1 empty; 1 also in b.csv; 1 repeated, ...'
    """
    texts, labels = texts_of(examples, task), list(examples["label"])
    elsewhere = set(texts_of(other, task))
    first: dict[tuple[str, ...], Any] = {}
    contrary = repeated = 0
    for text, label in zip(texts, labels, strict=True):
        if text in first:
            repeated += 1
            contrary += first[text] != label
        else:
            first[text] = label
    counts: Counter[Any] = Counter() if task.is_regression else Counter(labels)
    return PartFacts(
        num_examples=len(texts),
        classes={name: counts[index] for index, name in enumerate(task.label_names or ())},
        scores=(min(labels), float(np.mean(labels)), max(labels))
        if task.is_regression and labels
        else None,
        num_empty=sum(not all(one.strip() for one in text) for text in texts),
        num_shared=sum(text in elsewhere for text in texts),
        num_repeated=repeated,
        num_contrary=contrary,
    )


def part_line(source: str, facts: PartFacts, other: str, cut: str) -> str:
    """Say in one line what a set of examples holds.

    Args:
        source: Name of the set.
        facts: What it holds.
        other: Name of the set beside it.
        cut: Texts that are cut, in words; "" where that is not known.
    """
    if not facts.num_examples:
        return f"{source or 'test set'}: no examples."
    if facts.scores is not None:
        low, mean, high = facts.scores
        labels = f"scores from {low:g} to {high:g}, mean {mean:.3g}"
    else:
        largest = sorted(facts.classes.items(), key=lambda item: -item[1])
        listed = [f"{shown_name(name)} {count}" for name, count in largest[:_MOST_CLASSES]]
        more = [f"{len(largest) - _MOST_CLASSES} more"] if len(largest) > _MOST_CLASSES else []
        labels = f"{len(largest)} classes: {', '.join(listed + more)}"
    parts = [f"{facts.num_examples} examples, {labels}", cut]
    parts.append(f"{facts.num_empty} empty" if facts.num_empty else "")
    parts.append(f"{facts.num_shared} also in {other}" if facts.num_shared else "")
    contrary = f", {facts.num_contrary} of them with another label" if facts.num_contrary else ""
    parts.append(f"{facts.num_repeated} repeated{contrary}" if facts.num_repeated else "")
    return f"{source}: {'; '.join(part for part in parts if part)}."


def shown_name(name: str) -> str:
    """Return the name of a class, quoted and cut where it would be hard to read in a line."""
    plain = name.isprintable() and name == name.strip() and len(name) <= _LONGEST_NAME
    return name if plain and name else shown(name, _LONGEST_NAME)
