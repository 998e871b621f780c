"""``MixupTrainer`` on models of other families, and on a ``datasets.Dataset`` that a tokenizer pads."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from transformers import BertTokenizer

import agwm
from tests.tiny_models import TINY_MODELS, tiny_bert
from tests.trainer_runs import arguments, state

QUICK = {"num_train_epochs": 1, "per_device_train_batch_size": 3}


def rows_of(batch, times=4):
    """Return the rows of a batch, several times."""
    count = len(next(iter(batch.values())))
    return [{key: value[place] for key, value in batch.items()} for place in range(count)] * times


@pytest.mark.parametrize("name", TINY_MODELS)
def test_families(name, tmp_path):
    tiny = TINY_MODELS[name]
    model = tiny.build()
    made = agwm.MixupTrainer(
        model,
        arguments(tmp_path, **QUICK, save_strategy="epoch"),
        train_dataset=rows_of(tiny.batch()),
        search={"attention_learning_rate": 0.05},
    )
    before = state(model)
    made.train()
    assert agwm.mixup_of(model) is None
    assert any(not torch.equal(before[key], value) for key, value in model.state_dict().items())
    (folder,) = tmp_path.glob("checkpoint-*")
    again = type(model).from_pretrained(folder)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    if tiny.generates:
        model.eval()  # as Trainer's, it is left in training mode
        ids = {key: value for key, value in tiny.batch().items() if key in ("input_ids", "attention_mask")}
        assert torch.equal(model.generate(**ids, max_new_tokens=3), again.generate(**ids, max_new_tokens=3))


def test_a_dataset_with_texts_is_padded_by_the_tokenizer(tmp_path):
    words = "[PAD] [UNK] [CLS] [SEP] as good bad it gets".split()
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    texts = ["as good as it gets", "bad", "it gets bad", "good"] * 5
    dataset = Dataset.from_dict({"text": texts, "label": [int("bad" in text) for text in texts]})
    dataset = dataset.map(lambda row: tokenizer(row["text"]), batched=True)
    made = agwm.MixupTrainer(
        tiny_bert(num_layers=1),
        arguments(tmp_path, num_train_epochs=2, learning_rate=5e-3),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=tokenizer,
        search={"attention_learning_rate": 0.05},
    )
    made.train()
    assert made.evaluate()["eval_loss"] < 0.69
    made.save_model(str(tmp_path / "model"))
    assert (tmp_path / "model" / "tokenizer_config.json").exists()
    assert "text" in dataset.column_names  # the user's data set is as it was
