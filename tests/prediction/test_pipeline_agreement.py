"""A saved model answers row by row as the pipeline of transformers does."""

from __future__ import annotations

import random

import numpy as np
import pytest
import transformers
from transformers import pipeline

from agwm.data import encode
from agwm.data.tasks import Task
from agwm.models.pretrained import quiet_transformers
from agwm.prediction import load_predictor
from tests.data.test_plain_text import CORPUS, rows
from tests.prediction.saved_models import LENGTH, NAMES, TOKENIZERS, save

WORDS = " ".join(CORPUS[:3]).split()


def texts(seed: int = 0) -> list[str]:
    """Return short and long texts in a mixed order, some with special tokens of the families."""
    draw = random.Random(seed)
    plain = [" ".join(draw.choices(WORDS, k=draw.choice([1, 2, 4, 8, 40]))) for _ in range(12)]
    marks = [
        "[SEP]",
        "</s>",
        "<s> the",
        "the [CLS] lamp </s> works",
        "<pad>",
        "a<mask>b",
        "[PAD] the [MASK]",
    ]
    return [*plain, *marks, "Ünïcode 😀 x", "  the  lamp  ", "the\nlamp\tworks"]


def answers(folder, given, **options):
    """Return the probabilities by class and the first class of each text, as the pipeline has them."""
    with quiet_transformers():
        classify = pipeline("text-classification", model=str(folder), device="cpu", truncation=True)
        found = classify(given, top_k=None, **options)
    names = classify.model.config.id2label.values()
    scores = np.array(
        [[{one["label"]: one["score"] for one in row}[name] for name in names] for row in found]
    )
    return scores, [row[0]["label"] for row in found]


@pytest.mark.parametrize("is_pair", [False, True], ids=["single", "pair"])
@pytest.mark.parametrize("family", TOKENIZERS)
def test_classes_agree_in_every_family(family: str, is_pair: bool, tmp_path) -> None:
    folder = save(tmp_path / "model", family, text_columns=["one", "two"][: 1 + is_pair])
    one, other = texts(), texts(1)
    given = [{"text": a, "text_pair": b} for a, b in zip(one, other, strict=True)] if is_pair else one
    scores, labels = answers(folder, given)
    found = load_predictor(folder, "cpu").predict(list(zip(one, other, strict=True)) if is_pair else one, 5)
    assert found.labels == labels and found.label_names == tuple(NAMES)
    np.testing.assert_allclose(found.outputs, scores, rtol=0, atol=1e-5)
    assert scores.std(axis=0).max() > 1e-3  # the texts are told apart
    assert any(note.endswith(f"cut at {LENGTH} tokens") for note in found.notes)


def test_scores_agree(tmp_path) -> None:
    folder = save(tmp_path / "model", num_labels=1)
    scores, _ = answers(folder, texts())
    found = load_predictor(folder, "cpu").predict(texts())
    assert found.problem_type == "regression" and found.label_names is None
    np.testing.assert_allclose(found.outputs, scores, rtol=0, atol=1e-5)
    assert found.labels == found.outputs[:, 0].tolist() and found.outputs.dtype == np.float64


def test_several_labels_agree(tmp_path) -> None:
    folder = save(tmp_path / "model", problem_type="multi_label_classification")
    scores, _ = answers(folder, texts())
    found = load_predictor(folder, "cpu").predict(texts())
    np.testing.assert_allclose(found.outputs, scores, rtol=0, atol=1e-5)
    wanted = [[name for name, p in zip(NAMES, row, strict=True) if p > 0.5] for row in scores]
    assert found.labels == wanted and {len(row) for row in wanted} - {1}


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "bart"])
def test_saved_tokenizer_reads_texts_as_training_does(family: str, tmp_path) -> None:
    tokenizer = TOKENIZERS[family]()
    saved = load_predictor(save(tmp_path / "model", family), "cpu").tokenizer
    trained = encode(rows(*texts()), tokenizer, Task("t", ("sentence1",), ("a", "b")), LENGTH)["input_ids"]
    assert saved(texts(), truncation=True)["input_ids"] == list(trained)
    assert tokenizer(texts(), truncation=True, max_length=LENGTH)["input_ids"] != list(trained)


@pytest.mark.parametrize("family", ["xlnet", "t5"])
def test_special_tokens_that_a_unigram_tokenizer_finds_are_told(family: str, tmp_path) -> None:
    predictor = load_predictor(save(tmp_path / "model", family), "cpu")
    (note,) = predictor.predict(["the lamp", "the </s> lamp", "a <b> lamp"]).notes
    assert note == "1 text with a special token that the tokenizer reads as such: '</s>' in text 2"
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "model").split_special_tokens
