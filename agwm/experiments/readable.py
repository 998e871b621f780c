"""Check that a model can read the examples of a task, as they are written and as long as they are."""

from __future__ import annotations

from agwm.data import check_known, count_unknown, encode, token_lengths
from agwm.data.quiet import quiet_datasets
from agwm.errors import ConfigError, DataError
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import Examples
from agwm.models.positions import max_tokens
from agwm.models.pretrained import Pretrained
from agwm.models.vocabulary import check_reading

__all__ = ["check_readable", "longest_example"]

_FEW = 200  # examples that are looked at first


def check_readable(config: RunConfig, examples: Examples, loaded: Pretrained) -> None:
    """Raise unless a model can read every example, cut to ``max_length``.

    Tokens are counted only where ``max_length`` is above the number of positions of the model.

    Raises:
        ConfigError: If an example is longer than the model reads.
        DataError: If the tokenizer knows no word of the training set, or an example is empty and the
            tokenizer puts no token around it.
        ModelError: If the model cannot read what its tokenizer writes.
    """
    task, tokenizer = examples.task, loaded.tokenizer
    check_reading(config.model, tokenizer, loaded.model, task.is_pair)
    limit = max_tokens(loaded.model)
    for part, rows in (("training", examples.train), ("test", examples.test)):
        if tokenizer.num_special_tokens_to_add(task.is_pair) == 0:
            for index, texts in enumerate(zip(*(rows[name] for name in task.text_columns), strict=True)):
                if not "".join(texts).strip():
                    raise DataError(
                        f"Example {index + 1} of the {part} set is empty: expected a text, as model"
                        f" {config.model!r} gives it no token, got {texts[0][:200]!r}. Remove it."
                    )
        if limit is not None and config.max_length > limit:
            for index, length in enumerate(token_lengths(rows, tokenizer, task)):
                if min(length, config.max_length) > limit:
                    raise ConfigError(
                        f"Example {index + 1} of the {part} set is too long for model {config.model!r}:"
                        f" expected at most {limit} tokens, got {length}. Pass --set max_length={limit},"
                        " which cuts it."
                    )
    _check_words(config, examples, loaded)


def _check_words(config: RunConfig, examples: Examples, loaded: Pretrained) -> None:
    """Look at a few training examples, and at all of them only if the tokenizer knows no word of those.

    Raises:
        DataError: If it knows no word of any.
    """
    for rows in (examples.train.select(range(min(_FEW, len(examples.train)))), examples.train):
        with quiet_datasets():
            encoded = encode(rows, loaded.tokenizer, examples.task, config.max_length)
        if count_unknown(encoded, loaded.tokenizer) < len(encoded):
            return
    check_known(encoded, loaded.tokenizer)


def longest_example(config: RunConfig, examples: Examples, loaded: Pretrained) -> int:
    """Return the number of tokens in the longest example, cut to ``max_length``.

    Raises:
        DataError: If an example cannot be read.
    """
    both = (examples.train, examples.test)
    lengths = (token_lengths(rows, loaded.tokenizer, examples.task) for rows in both)
    return min(config.max_length, max(max(found, default=0) for found in lengths))
