"""Say what looks like a mistake in the examples, though nothing is wrong that could be refused."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from agwm.data.summary import PartFacts, shown_name

__all__ = ["data_doubts"]

_FEW = 10  # classes; an id column has more
_MOST_NAMED = 3


def data_doubts(train: PartFacts, test: PartFacts, sources: Sequence[str]) -> list[str]:
    """Return one line for everything doubtful in a training set and its test set.

    Args:
        train: What the training set holds.
        test: What the test set holds; it may be empty.
        sources: Names of the two.

    Example:
        >>> facts = PartFacts(4, {"Bug": 1, "bug": 3}, None, 0, 0, 0, 0)
        >>> for line in data_doubts(facts, facts, ("train.csv", "test.csv")): print(line)
        train.csv: classes 'Bug' and 'bug' differ in case, spaces or Unicode form alone.
        train.csv: class 'Bug' has one example alone.
    """
    train_name, test_name = sources
    lines, warning = [], "the model is tested on what it was trained on."
    if train.num_shared == train.num_examples and test.num_shared == test.num_examples:
        lines.append(f"{train_name} and {test_name} hold the same texts: {warning}")
    elif test.num_shared * 10 > test.num_examples:
        lines.append(
            f"{test.num_shared} of {test.num_examples} texts of {test_name} are in {train_name}: {warning}"
        )
    present = {name: count for name, count in train.classes.items() if count}
    lines += [f"{train_name}: {line}" for line in _class_doubts(present, train.num_examples)]
    absent = [name for name in present if not test.classes.get(name)]
    if absent and test.num_examples:
        lines.append(f"{test_name}: no example of class {_names(absent)}.")
    return lines


def _class_doubts(classes: dict[str, int], num_examples: int) -> list[str]:
    lines = []
    alike = defaultdict(list)
    for name in classes:
        alike[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    for names in alike.values():
        if len(names) > 1:
            quoted = " and ".join(ascii(name) if _look_alike(names) else repr(name) for name in names)
            lines.append(f"classes {quoted} differ in case, spaces or Unicode form alone.")
    single = [name for name, count in classes.items() if count == 1]
    if len(classes) > _FEW and 2 * len(classes) > num_examples:
        lines.append(f"{len(classes)} classes in {num_examples} examples: is the label column one of ids?")
    elif single:
        kind = "class" if len(single) == 1 else "classes"
        verb = "has" if len(single) == 1 else "have"
        lines.append(f"{kind} {_names(single)} {verb} one example alone.")
    for name in classes:
        if name in ("-1", "-100"):
            lines.append(f"class {name!r}: does it mark examples without a label? Leave them out then.")
    return lines


def _look_alike(names: Sequence[str]) -> bool:
    """Return True if the names cannot be told apart on a screen."""
    return len({unicodedata.normalize("NFC", name) for name in names}) < len(names)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(repr(shown_name(name)) for name in names[:_MOST_NAMED]) + more
