"""Encode texts as text: a special token that a user wrote (``</s>``, ``[SEP]``) is not read as one."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from agwm.errors import AgwmWarning, DataError
from agwm.processing import special_ids

__all__ = ["Encoder"]

_COLUMNS = {"input_ids": "ids", "token_type_ids": "type_ids", "attention_mask": "attention_mask"}
# transformers' roles. Another special token was added by somebody, who may mean to write it.
_ROLES = ("bos", "eos", "sep", "pad", "cls", "mask")
_MARK = "\U0010ffff"  # no character, so no text has it


class Encoder:
    """Encode texts with a tokenizer. Texts without special tokens get what the tokenizer's own call gives.

    The option ``split_special_tokens`` of transformers is not enough: a Unigram model (T5, XLM-R, XLNet,
    DeBERTa-v3) has ``</s>`` in its vocabulary, and finds it there all the same. So an example that holds a
    special token is encoded by a copy of the tokenizer in which those tokens have names that no text has.

    Args:
        tokenizer: The tokenizer; it is not changed.
        max_length: Largest number of tokens; longer examples are cut. None: never.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self._options = {"truncation": max_length is not None, "max_length": max_length, "verbose": False}
        special = special_ids(tokenizer)
        roles = {getattr(tokenizer, f"{role}_token_id") for role in _ROLES}
        self.unknown = tokenizer.unk_token_id
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._names = [str(token) for token in tokenizer.convert_ids_to_tokens(sorted(special))]
        self._without_role = special - roles - {self.unknown}
        # any text may hold the unknown token; but GPT-2 has one token for unknown, end and padding
        self._sought = special if self.unknown in roles else special - {self.unknown}
        self._copy: Tokenizer | None = None
        self._has_warned = False

    def __call__(self, texts: Sequence[Sequence[str]], start: int = 0) -> dict[str, list[list[int]]]:
        """Return column -> a list for each example.

        Args:
            texts: The first texts of the examples and, for pairs, the second texts.
            start: Index of the first example, for messages.

        Raises:
            DataError: If a special token in a text cannot be read as text.
        """
        held = [self._names_one(row) for row in zip(*texts, strict=True)]
        shown = [["" if no else text for text, no in zip(part, held, strict=True)] for part in texts]
        encoded = self.tokenizer(*shown, **self._options)
        columns = {name: list(values) for name, values in encoded.items()}
        frame = self.tokenizer(*[[""]] * len(texts))["input_ids"][0]  # lists: "" alone is taken for no pair
        expected = _count(frame, self._sought)
        for place, ids in enumerate(columns["input_ids"]):
            if held[place] or _count(ids, self._sought) != expected:
                row = [part[place] for part in texts]
                self._warn(self._roleless(row) if held[place] else ids)
                plain = self._as_text(row, set(columns))
                self._check(plain["input_ids"] if plain else ids, frame, start + place)
                for name, values in plain.items():
                    columns[name][place] = values
        return columns

    def _names_one(self, row: Iterable[str]) -> bool:
        """Return True if a special token stands in the texts of a tokenizer that is written in Python.

        Such a tokenizer may take an end token in the text for its own (ByT5), so its ids do not tell.
        """
        if self._backend is not None:
            return False
        return any(token in text for text in row for token in self._names)

    def _as_text(self, row: Sequence[str], columns: set[str]) -> dict[str, list[int]]:
        """Encode an example whose texts hold special tokens; return nothing where there is no way."""
        if self._backend is None:  # a tokenizer written in Python
            one = [[text] for text in row]
            encoded = self.tokenizer(*one, split_special_tokens=True, **self._options)
            return {name: list(encoded[name][0]) for name in columns}
        if not columns <= set(_COLUMNS):
            return {}
        if self._copy is None:
            self._copy = _rename(self._backend, self._names)
            if self._copy is None:
                return {}
            if self.max_length is not None:
                self._copy.enable_truncation(self.max_length, direction=self.tokenizer.truncation_side)
        encoding = self._copy.encode(row[0], row[1] if len(row) > 1 else None)
        return {name: list(getattr(encoding, _COLUMNS[name])) for name in columns}

    def _check(self, ids: Sequence[int], frame: Sequence[int], index: int) -> None:
        """Raise if an example has a special token beyond those that the tokenizer puts around it.

        Raises:
            DataError: If it has.
        """
        sought = self._sought - {self.unknown}
        if _count(ids, sought) == _count(frame, sought):
            return
        counts = Counter(i for i in ids if i in sought)
        counts.subtract(frame)
        token = self.tokenizer.convert_ids_to_tokens(counts.most_common(1)[0][0])
        raise DataError(
            f"Example {index + 1} holds a special token: expected text alone, got {token!r}, which this"
            " tokenizer cannot read as text. Write it in another way, as with a space in it."
        )

    def _roleless(self, row: Sequence[str]) -> list[int]:
        """Return the ids of special tokens without a role that stand in texts."""
        names = self.tokenizer.convert_ids_to_tokens(list(self._without_role))
        found = zip(names, self._without_role, strict=True)
        return [index for name, index in found if any(str(name) in text for text in row)]

    def _warn(self, ids: Sequence[int]) -> None:
        found = sorted(self._without_role.intersection(ids))
        if found and not self._has_warned:
            self._has_warned = True
            token = self.tokenizer.convert_ids_to_tokens(found[0])
            warnings.warn(
                f"Special tokens in texts are read as text: expected none, got {token!r}. If it is a mark"
                " of yours, tokenizer.add_tokens keeps it whole.",
                AgwmWarning,
                stacklevel=4,
            )


def _count(ids: Iterable[int], sought: set[int]) -> int:
    return sum(map(sought.__contains__, ids))


def _rename(backend: Tokenizer, tokens: Sequence[str]) -> Tokenizer | None:
    """Return a copy in which tokens keep their ids under other names; None if they are made by merges."""
    names = {token: f"{_MARK}{index}{_MARK}" for index, token in enumerate(tokens)}
    content = json.loads(backend.to_str())
    for added in content["added_tokens"]:
        added["content"] = names.get(added["content"], added["content"])
    model = content["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): index for token, index in model["vocab"].items()}
    else:  # Unigram has pairs of piece and score
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    try:
        copy = Tokenizer.from_str(json.dumps(content))
    except Exception:  # the library raises nothing more special
        return None
    copy.no_truncation()
    copy.no_padding()
    same = all(copy.token_to_id(new) == backend.token_to_id(old) for old, new in names.items())
    return copy if same and copy.get_vocab_size() == backend.get_vocab_size() else None
