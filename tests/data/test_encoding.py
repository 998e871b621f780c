"""Encoding and padding, with real tokenizers built on the spot."""

from __future__ import annotations

import pickle

import datasets
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from agwm.data import TASKS, DynamicPadding, encode, load_task
from agwm.errors import DataError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d"]


def tokenizer(pad: str | None = "[PAD]", **settings: object) -> PreTrainedTokenizerFast:
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    settings = {"model_max_length": 128, "model_input_names": names, **settings}
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=pad, unk_token="[UNK]", **settings)


PAIRS = datasets.Dataset.from_dict(
    {"sentence1": ["a b", "a"], "sentence2": ["c d c", "b"], "label": [1, 0]}
)


def test_pairs_are_encoded_without_padding() -> None:
    data = encode(PAIRS, tokenizer(), TASKS["rte"])
    assert data[0]["input_ids"] == [2, 4, 5, 3, 6, 7, 6, 3]
    assert data[0]["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert data[1]["input_ids"] == [2, 4, 3, 5, 3]
    assert data["labels"][:] == [1, 0] and data.features["labels"].dtype == "int64"


def test_single_texts_are_cut() -> None:
    rows = datasets.Dataset.from_dict({"sentence1": ["a b c d"], "label": [0]})
    data = encode(rows, tokenizer(), TASKS["cola"], max_length=4)
    assert data[0]["input_ids"] == [2, 4, 5, 3]


def test_many_rows_keep_their_order() -> None:
    rows = datasets.Dataset.from_dict({"sentence1": ["a", "b c"] * 1300, "label": list(range(2)) * 1300})
    data = encode(rows, tokenizer(), TASKS["cola"])
    assert len(data) == 2600
    assert data[2599]["input_ids"] == [2, 5, 6, 3] and data["labels"][:] == [0, 1] * 1300


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_to_the_longest(side: str) -> None:
    words = tokenizer(padding_side=side)
    batch = DynamicPadding(words)(list(encode(PAIRS, words, TASKS["rte"])))
    assert type(batch) is dict
    pads, mask = [0, 0, 0], [1] * 5
    row, seen = [2, 4, 3, 5, 3], [0] * 3
    assert batch["input_ids"][1].tolist() == (pads + row if side == "left" else row + pads)
    assert batch["attention_mask"][1].tolist() == (seen + mask if side == "left" else mask + seen)
    assert batch["input_ids"].shape == (2, 8)
    assert torch.equal(batch["labels"], torch.tensor([1, 0]))


def test_regression_labels_are_float32() -> None:
    rows = PAIRS.remove_columns("label").add_column("label", [2.5, 0.0])
    words = tokenizer()
    batch = DynamicPadding(words)(list(encode(rows, words, TASKS["stsb"])))
    assert batch["labels"].dtype == torch.float32
    torch.testing.assert_close(batch["labels"], torch.tensor([2.5, 0.0]))


@pytest.mark.slow
def test_worker_processes_give_the_same_batches() -> None:
    words = tokenizer()
    data = encode(load_task("paraphrase", train_size=10, test_size=1).train, words, TASKS["mrpc"])
    collate = DynamicPadding(words)
    plain = list(DataLoader(data, batch_size=4, collate_fn=collate))
    # Forked workers of a program with threads warn on new Pythons.
    workers = DataLoader(
        data, batch_size=4, collate_fn=collate, num_workers=2, multiprocessing_context="spawn"
    )
    for expected, batch in zip(plain, workers, strict=True):
        assert type(batch) is dict and batch.keys() == expected.keys()
        assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_collator_is_picklable_and_takes_tensors() -> None:
    words = tokenizer()
    collate = pickle.loads(pickle.dumps(DynamicPadding(words)))
    data = encode(PAIRS, words, TASKS["rte"])
    expected = collate(list(data))
    batch = collate(list(data.with_format("torch")))
    assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_no_padding_token() -> None:
    with pytest.raises(DataError, match=r"no padding token.*tokenizer.pad_token = "):
        DynamicPadding(tokenizer(pad=None))


def test_wrong_input() -> None:
    words = tokenizer()
    with pytest.raises(DataError, match="expected a column 'sentence2', got sentence1, label"):
        encode(PAIRS.remove_columns("sentence2"), words, TASKS["rte"])
    with pytest.raises(DataError, match="expected 5 to 128, got 4"):
        encode(PAIRS, words, TASKS["rte"], max_length=4)
    with pytest.raises(DataError, match="expected 5 to 128, got 129"):
        encode(PAIRS, words, TASKS["rte"], max_length=129)
    with pytest.raises(DataError, match="empty batch"):
        DynamicPadding(words)([])
    with pytest.raises(DataError, match="No padding value for 'extra'"):
        DynamicPadding(words)([{"input_ids": [1], "extra": [1]}])
