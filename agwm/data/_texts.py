"""The texts of a table: text in each row, and empty ones are told."""

from __future__ import annotations

from agwm.data.tables import Table
from agwm.errors import DataError, shown

__all__ = ["empty_texts_note", "read_texts"]


def read_texts(table: Table, column: str, is_named: bool = False) -> tuple[list[str], list[str]]:
    """Return the texts of a column, and a note on empty ones.

    Args:
        table: The table.
        column: Its column of texts.
        is_named: Name the column in the note.

    Raises:
        DataError: If a text is missing, is no text, or all are empty.
    """
    texts = []
    for index, cell in enumerate(table.columns[column]):
        if isinstance(cell, bytes):
            cell = _text_of(cell, table, column, index)
        if not isinstance(cell, str):
            raise DataError(
                f"No text in {table.at(index)}, column {shown(column, 80)}: expected a string, got"
                f" {shown(cell, 80)}. Fill in or remove the row."
            )
        texts.append(cell)
    _check_letters(texts, table, column)
    note = empty_texts_note(texts, column if is_named else None)
    if note is not None and not any(text.strip() for text in texts):
        raise DataError(
            f"All texts of {table.file} are empty: expected texts in column {shown(column, 80)}, got blanks"
            " alone. Name another column."
        )
    return texts, [] if note is None else [note]


def empty_texts_note(texts: list[str], column: str | None = None) -> str | None:
    """Return a note on texts that are empty, or blank; None if there are none.

    Args:
        texts: Texts of a column.
        column: Its name, if there is more than one.

    Example:
        >>> empty_texts_note(["a", "", " "])
        '2 texts are empty: examples 2, 3'
    """
    empty = [str(index) for index, text in enumerate(texts, start=1) if not text.strip()]
    if not empty:
        return None
    where = "" if column is None else f" of column {shown(column, 40)}"
    verb, more = ("is", "") if len(empty) == 1 else ("are", "s")
    places = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
    return f"{len(empty)} text{more}{where} {verb} empty: example{more} {places}"


def _text_of(cell: bytes, table: Table, column: str, index: int) -> str:
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(
            f"No text in {table.at(index)}, column {shown(column, 80)}: expected UTF-8, got the bytes"
            f" {shown(cell, 80)}. Write texts as text."
        ) from None


def _check_letters(texts: list[str], table: Table, column: str) -> None:
    """Raise for halves of letters, which JSON can write and no tokenizer reads.

    Raises:
        DataError: If there is one.
    """
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError:
        for index, text in enumerate(texts):
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise DataError(
                    f"No text in {table.at(index)}, column {shown(column, 80)}: expected whole letters, got"
                    f" half of a surrogate pair in {shown(text, 80)}. Write the row again."
                ) from None
