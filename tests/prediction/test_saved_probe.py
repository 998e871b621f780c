"""A saved probe is loaded by the predictor, and answers as before it was saved."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agwm.cards import CardFacts
from agwm.errors import ModelError
from agwm.evaluation.predictions import model_logits
from agwm.methods.probe import Probe
from agwm.prediction.predictor import load_predictor
from tests.methods.probe_jobs import probe_job, rows_of


@pytest.mark.parametrize("is_pair", [False, True])
def test_it_answers_as_before_it_was_saved(tiny_model, is_pair, tmp_path):
    made, _, test, pad = probe_job(tiny_model, is_pair)
    outcome = dataclasses.replace(Probe().run(made), card=CardFacts(max_length=32))
    outcome.save(tmp_path / "saved")
    rows = rows_of(is_pair, 40, 1)
    texts = [(row["sentence1"], row["sentence2"]) if is_pair else row["sentence1"] for row in rows]
    predictor = load_predictor(tmp_path / "saved", device="cpu")
    expected = model_logits(outcome.model, list(test), pad).softmax(1).numpy()
    np.testing.assert_allclose(predictor.predict(texts).outputs, expected, atol=1e-5)
    if is_pair:
        with pytest.raises(ModelError, match="Row 1 is no pair of texts"):
            predictor.predict(["the cat is good"])
