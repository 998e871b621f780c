"""Decide whether the labels of a file are classes or scores, and convert them."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from agwm.data._labels import (
    class_index,
    finite_number,
    is_fraction,
    is_number,
    is_rounded,
    is_whole,
    spell,
    whole_spelling,
)
from agwm.data.tables import Table
from agwm.errors import DataError, shown

__all__ = ["Labels", "check_names", "convert_labels", "infer_labels", "spell_labels"]

Labels = list[str]
_LIKE_NOTHING = {"nan", "none", "null", "na", "n/a", "<na>", "nat", "#n/a"}


def spell_labels(table: Table, column: str) -> tuple[Labels, list[str]]:
    """Return the labels of a table as text, and notes on spellings that became one.

    Args:
        table: The table.
        column: Its column of labels.

    Raises:
        DataError: If a label is missing, or is no text and no number.
    """
    cells = table.columns[column]
    spelled = [spell(cell, table.at(index)) for index, cell in enumerate(cells)]
    missing = [index for index, text in enumerate(spelled) if text is None]
    if missing:
        raise DataError(
            f"No label in {table.at(missing[0])}: expected a label in each row, got none in"
            f" {len(missing)} of {len(cells)}. Fill in or remove these rows."
        )
    labels = [text for text in spelled if text is not None]
    notes = []
    stripped = {cell for cell in cells if isinstance(cell, str) and cell.strip() != cell}
    merged = sorted({cell.strip() for cell in stripped} & {cell for cell in cells if isinstance(cell, str)})
    if merged:
        notes.append(f"blanks around labels removed: {shown(merged[0], 40)} is one class")
    kinds = Counter(_kind(cell) for cell in cells)
    if len(kinds) > 1:
        found = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        notes.append(f"labels are of several types ({found}): those written alike are one class")
    return labels, notes


def _kind(cell: object) -> str:
    if isinstance(cell, bool):
        return "true/false"
    if isinstance(cell, (str, bytes)):
        return "text"
    return "number" if isinstance(cell, (numbers.Real, Decimal)) else "date"


def check_names(names: Sequence[str], fewest: int = 2) -> tuple[str, ...]:
    """Return the classes that the user states.

    Args:
        names: The classes.
        fewest: How many there have to be, 2 or 1.

    Raises:
        DataError: If they are not as many different texts.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name.strip() == name for name in names):
        raise DataError(
            f"Wrong label names: expected texts without blanks around them, got {shown(names)}. Correct"
            " label_names."
        )
    if len(set(names)) < max(fewest, len(names)) or "" in names:
        count = "one" if fewest == 1 else "two"
        raise DataError(
            f"Wrong label names: expected {count} or more different ones, got {shown(names)}. Correct"
            " label_names."
        )
    return tuple(names)


def infer_labels(
    labels: Labels, table: Table, regression: bool | None = None
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Find the classes of a task from its training labels.

    Args:
        labels: Labels of the training file.
        table: The training file.
        regression: True for scores, False for classes, None to tell from the labels.

    Returns:
        The class names in index order, or None for regression, and notes. Names that the file itself has
        come first; whole numbers go by value and then by spelling, texts by code point.

    Raises:
        DataError: If all labels are one class, decimals have a comma, or floats have lost digits.
    """
    if table.class_names is not None and not regression:
        return check_names(table.class_names), []
    spellings = set(labels)
    are_numbers = all(map(is_number, spellings))
    has_fractions = are_numbers and any(map(is_fraction, spellings))
    commas = [text for text in spellings if "," in text]
    if regression is None and commas and all(is_number(text.replace(",", ".", 1)) for text in spellings):
        raise DataError(
            f"Labels of {table.file} have a decimal comma: expected 0.5, got {shown(min(commas), 40)}."
            " Write a point, or pass regression=False for classes."
        )
    if regression or (regression is None and has_fractions):
        told = "labels are numbers with a fraction: scores, not classes"
        return None, [] if regression else [told]
    notes = []
    if are_numbers and not has_fractions:
        rounded = next((index for index, text in enumerate(labels) if is_rounded(text)), None)
        if rounded is not None:
            raise DataError(
                f"The label in {table.at(rounded)} has lost digits: expected a whole number below 2**53,"
                f" got {shown(labels[rounded], 80)}. Write such labels as text, or pass regression=True for"
                " scores."
            )
        changed = sorted(text for text in spellings if not is_whole(text))
        spellings = {whole_spelling(text) or text for text in spellings}
        if changed:
            notes.append(_whole_note(changed))
    if all(map(is_whole, spellings)):
        ordered = sorted(spellings, key=lambda text: (int(text), text))
    else:
        ordered = sorted(spellings)
    odd = [name for name in ordered if name.lower() in _LIKE_NOTHING]
    if odd:
        notes.append(
            f"{shown(odd[0], 40)} is a class ({labels.count(odd[0])} rows): is it a missing label?"
        )
    if len(ordered) < 2:
        raise DataError(
            f"All {len(labels)} labels in {table.file} are {shown(ordered[0], 80)}: expected two or more"
            " classes. Pass label_names or regression=True."
        )
    return tuple(ordered), notes


def convert_labels(
    labels: Labels, table: Table, names: tuple[str, ...] | None, are_stated: bool = False
) -> tuple[list[int] | list[float], list[str]]:
    """Turn labels into class indices, or finite numbers for regression.

    Args:
        labels: Labels of a file.
        table: The file.
        names: The classes, or None for regression.
        are_stated: The user named the classes: whole numbers that are no names are positions, if all
            labels of the file are.

    Returns:
        One number per example, and notes.

    Raises:
        DataError: If a label is unknown, or no finite number.
    """
    if names is None:
        return [finite_number(label, table.at(index)) for index, label in enumerate(labels)], []
    places = {name: index for index, name in enumerate(names)}
    found, notes = dict(places), []
    for text in set(labels) - set(places):
        whole = whole_spelling(text)
        if whole in places:
            found[text] = places[whole]
    changed = sorted(set(found) - set(places))
    if changed:
        notes.append(_whole_note(changed))
    positions = {str(index): index for index in range(len(names))}
    wholes = {text: whole_spelling(text) or text for text in set(labels)}
    if are_stated and not set(labels) & set(found) and set(wholes.values()) <= set(positions):
        found = {text: positions[whole] for text, whole in wholes.items()}
        pairs = [f"{index} = {shown(name, 40)}" for name, index in places.items()]
        notes.append(f"labels are positions in label_names: {_listed(pairs)}")
    values = []
    for index, label in enumerate(labels):
        if label not in found:
            class_index(label, names, table.at(index))
        values.append(found[label])
    return values, notes


def _whole_note(labels: Sequence[str]) -> str:
    classes = [whole_spelling(label) or label for label in labels]
    return f"labels {_listed(labels)} are whole numbers: classes {_listed(classes)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
