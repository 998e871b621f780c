"""Folders of the probe: for single texts and for pairs, prediction gives what the fitted model gives."""

from __future__ import annotations

from dataclasses import replace

import datasets
import numpy as np
import pytest
from transformers import pipeline

from agwm.cards import CardFacts
from agwm.data import DynamicPadding, encode
from agwm.data.tasks import Task
from agwm.evaluation.predictions import model_logits
from agwm.methods.probe import Probe, ProbeSettings
from agwm.models.pretrained import quiet_transformers
from agwm.prediction import load_predictor
from agwm.testing import pretrained
from agwm.testing.jobs import job_of

WORDS = "the a man woman cat dog is was good bad big small".split()
LENGTH = 10


@pytest.mark.parametrize("is_stock", [True, False], ids=["stock", "own"])
@pytest.mark.parametrize("num_texts", [1, 2])
def test_a_probe_predicts_as_it_was_fitted(num_texts: int, is_stock: bool, tmp_path) -> None:
    draw = np.random.default_rng(0)
    names = ("sentence1", "sentence2")[:num_texts]
    columns = {
        name: [" ".join(draw.choice(WORDS, size)) for size in draw.integers(1, 9, 24)] for name in names
    }
    columns["label"] = [int("good" in text) for text in columns["sentence1"]]
    loaded = pretrained("bert", 2, tmp_path)
    task = Task("t", names, ("class 0", "class 1"))
    examples = list(encode(datasets.Dataset.from_dict(columns), loaded.tokenizer, task, LENGTH))
    collate = DynamicPadding(loaded.tokenizer)
    outcome = Probe(ProbeSettings(is_stock)).run(
        replace(job_of(loaded), examples=examples, collate=collate)
    )
    folder = tmp_path / "model"
    folder.mkdir()
    with quiet_transformers():
        outcome.write(folder, CardFacts(max_length=LENGTH))
    predictor = load_predictor(folder)
    rows = list(zip(*(columns[name] for name in names), strict=True))
    found = predictor.predict(rows)
    wanted = model_logits(outcome.model, examples, collate).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(found.outputs, wanted, atol=1e-6)
    assert predictor.max_length == LENGTH and wanted.std(axis=0).max() > 1e-3
    with quiet_transformers():
        classify = pipeline("text-classification", model=str(folder), device="cpu", truncation=True)
        given = [{"text": row[0], "text_pair": row[-1]} if num_texts == 2 else row[0] for row in rows]
        assert [one["label"] for one in classify(given)] == found.labels
