"""Texts as the tokenizer of a saved model reads them: as the pipeline of transformers has them, and cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from transformers import PreTrainedTokenizerBase

from agwm.data.tables import counted
from agwm.errors import DataError, shown
from agwm.processing import special_ids

__all__ = ["Texts", "Tokens", "as_rows", "tokenize"]

Texts: TypeAlias = Sequence[str] | Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Tokens:
    """Tokens of texts.

    Attributes:
        examples: The tokenizer's columns of each text.
        marked: Positions of texts in which the tokenizer found special tokens.
        notes: What was done to texts; a short line each.
    """

    examples: list[dict[str, list[int]]]
    marked: list[int]
    notes: list[str]


def as_rows(texts: Texts) -> list[tuple[str, ...]]:
    """Return texts as tuples of one or two.

    Raises:
        DataError: If they are of another type, or of both kinds.
    """
    if isinstance(texts, (str, bytes)):
        raise DataError(f"texts is one text: expected a list of them, got {shown(texts, 80)}. Use [text].")
    rows = [(row,) if isinstance(row, str) else row for row in texts]
    for place, row in enumerate(rows, start=1):
        is_row = isinstance(row, (tuple, list)) and len(row) in (1, 2)
        if not is_row or not all(isinstance(text, str) for text in row):
            raise DataError(
                f"Text {place} is no text: expected a text, or a pair (text, text), got {shown(row, 80)}."
                " Correct it."
            )
        if len(row) != len(rows[0]):
            first = "pairs" if len(rows[0]) == 2 else "single texts"
            raise DataError(
                f"Texts are of both kinds: expected {first} as the first is, got {shown(row, 80)} as text"
                f" {place}. Predict them one kind at a time."
            )
    return [tuple(row) for row in rows]


def tokenize(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[str, ...]], max_length: int | None
) -> Tokens:
    """Tokenize texts by the tokenizer's own call, without padding.

    Args:
        tokenizer: Tokenizer of the model.
        rows: Texts, or pairs of them; one or more.
        max_length: Largest number of tokens; None: any.

    Returns:
        The tokens, with notes on rows that were cut, or of which a part was taken for a special token.

    Raises:
        DataError: If a row has no token.
    """
    whole = tokenizer(*_parts(rows), verbose=False)
    columns = {name: list(values) for name, values in whole.items()}
    lengths = [len(ids) for ids in columns["input_ids"]]
    if 0 in lengths:
        place = lengths.index(0)
        raise DataError(
            f"Text {place + 1} has no token: expected a text, got {shown(rows[place][0], 80)}. Fill in or"
            " remove the row."
        )
    long = [place for place, length in enumerate(lengths) if max_length is not None and length > max_length]
    if long:
        cut = tokenizer(*_parts([rows[place] for place in long]), truncation=True, max_length=max_length)
        for name, values in cut.items():
            for place, value in zip(long, values, strict=True):
                columns[name][place] = value
    notes = [f"{len(long)} of {counted(len(rows), 'text')} cut at {max_length} tokens"] if long else []
    marked = _marked(tokenizer, rows, columns["input_ids"])
    if marked:
        place, name = next(iter(marked.items()))
        notes.append(
            f"{counted(len(marked), 'text')} with a special token that the tokenizer reads as such:"
            f" {shown(name, 40)} in text {place + 1}"
        )
    examples = [{name: values[place] for name, values in columns.items()} for place in range(len(rows))]
    return Tokens(examples, list(marked), notes)


def _marked(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[str, ...]], ids: Sequence[list[int]]
) -> dict[int, str]:
    """Return position -> special token of texts in which the tokenizer of a Unigram model found one."""
    special = special_ids(tokenizer) - {tokenizer.unk_token_id}
    names = [str(token) for token in tokenizer.convert_ids_to_tokens(sorted(special))]
    empty = tokenizer(*_parts([("",) * len(rows[0])]))["input_ids"][0]
    frame = sum(map(special.__contains__, empty))
    found = {}
    for place, row in enumerate(rows):
        held = [name for name in names if any(name in text for text in row)]
        if held and sum(map(special.__contains__, ids[place])) > frame:
            found[place] = held[0]
    return found


def _parts(rows: Sequence[tuple[str, ...]]) -> list[list[str]]:
    return [list(part) for part in zip(*rows, strict=True)]
