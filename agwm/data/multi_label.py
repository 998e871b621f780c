"""Several labels an example: a column of lists, or a column of 0 and 1 for each label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agwm.data._infer import check_names
from agwm.data._labels import class_index, is_whole, spell
from agwm.data.label_lists import as_list, read_lists
from agwm.data.tables import Table, counted
from agwm.errors import DataError, shown

__all__ = ["is_multi_label", "read_multi_labels"]

_YES, _NO = {"1", "true", "yes"}, {"0", "false", "no"}
_Matrix = np.ndarray
Found = tuple[tuple[str, ...], list[_Matrix], list[list[str]]]


def is_multi_label(table: Table, columns: Sequence[str], stated: bool | None) -> bool:
    """Return whether an example has several labels: as stated, or as columns and cells tell.

    Args:
        table: The training rows.
        columns: The label columns.
        stated: True or False; None: several columns, or a cell that is a list.

    Raises:
        DataError: If there are several columns, and one label an example is stated.
    """
    if stated is False and len(columns) > 1:
        raise DataError(
            f"One label an example stands in one column: expected one, got {len(columns)}"
            f" ({shown(list(columns), 80)}). Name one, or pass multi_label=True."
        )
    if stated is not None:
        return stated
    return len(columns) > 1 or any(as_list(cell) is not None for cell in table.columns[columns[0]])


def read_multi_labels(
    tables: Sequence[Table], columns: Sequence[str], label_names: Sequence[str] | None = None
) -> Found:
    """Return label names, and which of them each example has.

    Several columns are one for each label, named as it: cells are 0 or 1, true or false, yes or no. One
    column holds lists: of names, or all of one length of 0 and 1. In text a list is written as JSON or
    Python writes it, or as names with ``;``, ``|`` or ``,`` between them, whichever of these comes first
    here and is in a cell of the training rows. A list may be empty, and an empty cell is an empty list.

    Args:
        tables: The training rows, and the test rows if there are some.
        columns: The label columns.
        label_names: Names in index order; None: those of the columns, or those found in the training rows:
            whole numbers by value, texts by code point.

    Returns:
        The names; for each table an int64 array of 0 and 1, of shape (examples, labels); notes for each.

    Raises:
        DataError: If a cell is wrong, a label is unknown, or there is none.
    """
    if len(columns) > 1:
        return _of_columns(tables, columns, label_names)
    notes: list[list[str]] = [[] for _ in tables]
    rows = read_lists(tables, columns[0], notes[0])
    stated = check_names(label_names, fewest=1) if label_names is not None else tables[0].class_names
    if _are_flags(rows[0], stated):
        return _of_flags(tables, rows, stated, notes)
    spelled = [
        _spelled(table, lists, found) for table, lists, found in zip(tables, rows, notes, strict=True)
    ]
    names = stated or _sorted({label for labels in spelled[0] for label in labels})
    if not names:
        raise DataError(
            f"No example in {tables[0].file} has a label: expected names in column {shown(columns[0], 80)},"
            " got none. Name another column."
        )
    matrices = []
    for number, (table, labels) in enumerate(zip(tables, spelled, strict=True)):
        places = _places(names, labels) if label_names is not None else None
        if places is not None:
            pairs = ", ".join(f"{index} = {shown(name, 40)}" for index, name in enumerate(names[:3]))
            notes[number].append(f"labels are positions in label_names: {pairs}, ...")
        known = places or {name: index for index, name in enumerate(names)}
        hint = f" The labels are those of {tables[0].file}." if number and label_names is None else ""
        matrices.append(_matrix(table, labels, names, known, hint))
    _tell(names, matrices, notes)
    return tuple(names), matrices, notes


def _of_columns(
    tables: Sequence[Table], columns: Sequence[str], label_names: Sequence[str] | None
) -> Found:
    """Read columns of 0 and 1.

    Raises:
        DataError: If a cell is neither, or the names do not fit the columns.
    """
    names = tuple(columns) if label_names is None else check_names(label_names, fewest=1)
    if len(names) != len(columns):
        raise DataError(
            f"Label names do not fit the label columns: expected {len(columns)}, got {len(names)}. Name"
            " each column, or leave label_names out."
        )
    notes: list[list[str]] = [[] for _ in tables]
    matrices = [
        np.array(
            [[_flag(table, name, row) for name in columns] for row in range(len(table.columns[columns[0]]))]
        )
        for table in tables
    ]
    _tell(names, matrices, notes)
    return names, matrices, notes


def _flag(table: Table, column: str, row: int) -> int:
    cell = table.columns[column][row]
    where = f"{table.at(row)}, column {shown(column, 80)}"
    text = "" if as_list(cell) is not None else (spell(cell, where) or "").lower()
    text = text.removesuffix(".0")
    if text in _YES or text in _NO:
        return int(text in _YES)
    raise DataError(
        f"No label in {where}: expected 0 or 1 (true or false, yes or no), got {shown(cell, 80)}. Correct"
        " the cell, or name one column."
    )


def _are_flags(rows: Sequence[list], names: Sequence[str] | None) -> bool:
    """Return whether lists are zeros and ones, one for each label, and not names.

    They are if all are of one length, and that is the number of names or a value is there twice in one.
    """
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or lengths == {0}:
        return False
    try:
        if not all(float(value) in (0, 1) and not isinstance(value, str) for row in rows for value in row):
            return False
    except (TypeError, ValueError):
        return False
    return lengths == {len(names or ())} or any(len(set(row)) < len(row) for row in rows)


def _of_flags(
    tables: Sequence[Table],
    rows: Sequence[list[list]],
    stated: Sequence[str] | None,
    notes: list[list[str]],
) -> Found:
    """Read lists of zeros and ones.

    Raises:
        DataError: If one is of another length, or has another value.
    """
    length = len(rows[0][0])
    names = tuple(stated or map(str, range(length)))
    for table, lists in zip(tables, rows, strict=True):
        for row, flags in enumerate(lists):
            if len(flags) != len(names) or not _are_flags([flags], names):
                raise DataError(
                    f"The label in {table.at(row)} is wrong: expected {len(names)} zeros and ones, got"
                    f" {shown(flags, 80)}. Correct it, or label_names."
                )
    what = "named by label_names" if stated else "which are named by their position, from 0"
    notes[0].append(f"lists of zeros and ones for {counted(length, 'label')}, {what}")
    matrices = [np.array(lists).astype(np.int64) for lists in rows]
    _tell(names, matrices, notes)
    return names, matrices, notes


def _spelled(table: Table, lists: Sequence[list], notes: list[str]) -> list[list[str]]:
    """Return the labels of each example as text.

    Raises:
        DataError: If one is missing, a list or an object.
    """
    spelled, repeated = [], 0
    for row, labels in enumerate(lists):
        where = table.at(row)
        found = []
        for label in labels:
            text = spell(label, where)
            if text is None:
                raise DataError(
                    f"A label in {where} is missing: expected names, got {shown(labels, 80)}. Leave it out"
                    " of the list."
                )
            found.append(text)
        repeated += len(found) > len(set(found))
        spelled.append(list(dict.fromkeys(found)))
    if repeated:
        notes.append(f"{counted(repeated, 'row')} with a label twice: it counts once")
    return spelled


def _sorted(names: set[str]) -> tuple[str, ...]:
    if all(map(is_whole, names)):
        return tuple(sorted(names, key=lambda text: (int(text), text)))
    return tuple(sorted(names))


def _places(names: Sequence[str], labels: Sequence[Sequence[str]]) -> dict[str, int] | None:
    """Return positions in the stated names if all labels are such, and none is a name."""
    found = {label for row in labels for label in row}
    positions = {str(index): index for index in range(len(names))}
    return positions if found and found <= set(positions) and not found & set(names) else None


def _matrix(
    table: Table, labels: Sequence[Sequence[str]], names: Sequence[str], known: dict[str, int], hint: str
) -> _Matrix:
    """Return zeros and ones.

    Raises:
        DataError: If a label is unknown; the message ends with the hint.
    """
    matrix = np.zeros((len(labels), len(names)), dtype=np.int64)
    for row, found in enumerate(labels):
        for label in found:
            if label not in known:
                try:
                    class_index(label, names, table.at(row))
                except DataError as error:
                    raise DataError(f"{error}{hint}") from None
            matrix[row, known[label]] = 1
    return matrix


def _tell(names: Sequence[str], matrices: Sequence[_Matrix], notes: list[list[str]]) -> None:
    """Add notes on rows without a label, and on labels without a row."""
    for matrix, found in zip(matrices, notes, strict=True):
        without = int((matrix.sum(axis=1) == 0).sum())
        found += [f"{counted(without, 'row')} without any label"] if without else []
    unused = [shown(names[at], 40) for at in range(len(names)) if not matrices[0][:, at].any()]
    notes[0] += [f"no example of label {', '.join(unused[:5])}"] if unused else []
