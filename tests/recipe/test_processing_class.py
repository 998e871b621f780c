"""The tokenizer that ``finetune`` is given: it pads the batches, and is saved beside the model."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoTokenizer, DataCollatorWithPadding, pipeline

import agwm
from agwm.errors import AgwmWarning, ConfigError, DataError
from agwm.testing.tokens import save_tokenizer
from tests.tiny_models import tiny_bert

CONFIG = agwm.FinetuneConfig(
    search=agwm.SearchConfig(batch_size=8, epochs=1, learning_rate=1e-2),
    final=agwm.TrainingConfig(batch_size=8, epochs=1, learning_rate=1e-2),
)


@pytest.fixture
def tokenizer(tmp_path):
    save_tokenizer(tmp_path / "tokenizer")
    return AutoTokenizer.from_pretrained(tmp_path / "tokenizer")


def encoded(tokenizer):
    texts = [f"the dog {'is very ' * (i % 3)}{('bad', 'good')[i % 2]}" for i in range(16)]
    return [{"text": text, **tokenizer(text), "labels": i % 2} for i, text in enumerate(texts)]


def model():
    torch.manual_seed(0)
    return tiny_bert()


def finetune(model, rows, **options):
    return agwm.finetune(model, rows, config=CONFIG, progress=False, **options)


def test_it_pads_as_a_collate_by_transformers_and_is_saved_beside_the_model(tokenizer, tmp_path):
    rows = encoded(tokenizer)
    result = finetune(model(), rows, processing_class=tokenizer)
    pad = DataCollatorWithPadding(tokenizer)
    plain = [{name: value for name, value in row.items() if name != "text"} for row in rows]
    by_hand = finetune(model(), plain, collate=pad)
    assert by_hand.processing_class is tokenizer
    state = by_hand.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in result.model.state_dict().items())
    result.save_pretrained(tmp_path / "out")
    classify = pipeline("text-classification", model=str(tmp_path / "out"))
    for row in rows:
        with torch.no_grad():
            chances = result.model(**tokenizer(row["text"], return_tensors="pt")).logits.softmax(1)[0]
        (found,) = classify(row["text"])
        assert found["score"] == pytest.approx(float(chances.max()), abs=1e-5)
        assert found["label"] == result.model.config.id2label[int(chances.argmax())]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| LABEL\\_0 | 8 |" in card and "| training examples | 16 |" in card


def test_it_may_be_given_when_saving(tokenizer, tmp_path):
    rows = [
        {name: torch.tensor(row[name]) for name in ("input_ids", "labels")} for row in encoded(tokenizer)
    ]
    rows = [row for row in rows if len(row["input_ids"]) == 5] * 4
    result = finetune(model(), rows, collate=torch.utils.data.default_collate)
    with pytest.warns(AgwmWarning, match="lies none, so that pipeline"):
        result.save_pretrained(tmp_path / "out")
    assert "pipeline(" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    result.save_pretrained(tmp_path / "out", processing_class=tokenizer)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == len(tokenizer)
    with pytest.warns(AgwmWarning, match="lies one of an earlier save"):
        result.save_pretrained(tmp_path / "out")
    result.model.config._name_or_path = str(tmp_path / "tokenizer")
    with pytest.warns(AgwmWarning, match="lies the one of the model that it was finetuned from"):
        result.save_pretrained(tmp_path / "third")
    again = AutoTokenizer.from_pretrained(tmp_path / "third")
    assert again.get_vocab() == tokenizer.get_vocab()
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()  # transformers makes an empty one of the rest
    with pytest.warns(AgwmWarning, match="lies none"):
        result.save_pretrained(tmp_path / "fourth")


def test_the_padding_token_becomes_the_models_and_a_failed_run_puts_its_own_back(tokenizer):
    tokenizer.pad_token = "[MASK]"
    given = model()
    given.config.pad_token_id = None
    with pytest.raises(ZeroDivisionError):
        finetune(given, encoded(tokenizer), processing_class=tokenizer, evaluate=lambda model: 1 // 0)
    assert given.config.pad_token_id is None
    finetune(given, encoded(tokenizer), processing_class=tokenizer)
    assert given.config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda tokenizer, rows: None, ConfigError, "Nothing makes batches: expected collate, or a tok"),
        (lambda tokenizer, rows: "bert", ConfigError, "processing_class is of the wrong type.*got str"),
        (lambda tokenizer, rows: tokenizer.add_tokens([f"new{i}" for i in range(99)]) and tokenizer,
         ConfigError, r"expected at most \d+ tokens.*got 1\d\d\. Pass the model's own tokenizer"),
        (lambda tokenizer, rows: setattr(tokenizer, "pad_token", None) or tokenizer,
         ConfigError, "has no padding token"),
        (lambda tokenizer, rows: [row.pop("input_ids") for row in rows] and tokenizer,
         DataError, "Examples are not encoded: expected input_ids.*Encode the texts first"),
        (lambda tokenizer, rows: [row.update(position_ids="word") for row in rows] and tokenizer,
         DataError, "Examples cannot be padded"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(change, error, message, tokenizer):
    rows = encoded(tokenizer)
    with pytest.raises(error, match=message) as caught:
        finetune(model(), rows, processing_class=change(tokenizer, rows))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_cannot_be_saved_is_refused_before_the_folder_is_touched(tokenizer, tmp_path):
    mixup = agwm.inject(model())
    with pytest.raises(ConfigError, match="processing_class is of the wrong type"):
        mixup.save_pretrained(tmp_path / "out", processing_class=math)
    assert not (tmp_path / "out").exists()
