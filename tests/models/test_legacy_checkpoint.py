"""An old checkpoint of a masked language model is made plain: same weights, for today's classes."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AutoModelForMaskedLM,
    BertConfig,
    BertForPreTraining,
)

import agwm
from agwm.models.packaged.legacy_checkpoint import convert_reactions
from agwm.models.packaged.smiles_tokenizer import ATOMS
from agwm.models.pretrained import load_pretrained

SIZES = dict(vocab_size=8, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
# Keys that old configs have, and that today's transformers refuses or reads otherwise.
OLD = {
    "max_length": 20,
    "eos_token_ids": 0,
    "bos_token_id": 0,
    "top_k": 50,
    "num_labels": 2,
    "temperature": 1.0,
}


@pytest.fixture(params=["bert", "albert"])
def made(request, tmp_path):
    """A model, and the folder made from its old files."""
    torch.manual_seed(0)
    if request.param == "bert":
        model = BertForPreTraining(BertConfig(**SIZES))
    else:
        model = AlbertForMaskedLM(AlbertConfig(**SIZES, embedding_size=4))
    config, weights, vocabulary = (tmp_path / name for name in ("config.json", "weights.bin", "vocab.txt"))
    values = model.config.to_dict()
    del values["model_type"], values["architectures"]  # as rxnfp's
    config.write_text(json.dumps({**values, **OLD}))
    torch.save(model.state_dict(), weights, _use_new_zipfile_serialization=False)
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nC\nO\n>>\n")
    folder = tmp_path / "plain"
    folder.mkdir()
    convert_reactions(request.param, type(model).__name__, ATOMS)([config, weights, vocabulary], folder)
    return model, folder


def test_weights_and_head_are_those_of_the_checkpoint(made):
    model, folder = made
    loaded, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"]
    old = model.state_dict()
    assert all(torch.equal(tensor, old[key]) for key, tensor in loaded.state_dict().items())
    loaded.save_pretrained(folder / "again")  # today's transformers refuses some keys of old configs


def test_it_is_injected_with_its_head(made):
    _, folder = made
    model = AutoModelForMaskedLM.from_pretrained(folder)
    batch = {
        "input_ids": torch.tensor([[2, 5, 4, 6, 3]]),
        "labels": torch.tensor([[-100, -100, 5, -100, -100]]),
    }
    plain = model(**batch).loss
    mixup = agwm.inject(model, seed=0)
    assert torch.equal(model(**batch).loss, plain)  # at W = W0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05)
    model(**batch).loss.backward()
    assert all(bool(factor.grad.abs().sum() > 0) for factor in mixup.attention.parameters())


def test_it_is_loaded_as_a_classifier(made):
    model, folder = made
    loaded = load_pretrained(str(folder), ("no", "yes"), seed=1)
    assert loaded.num_loaded == sum(1 for _ in model.base_model.parameters())
    assert loaded.tokenizer("CO>>C")["input_ids"] == [2, 5, 6, 7, 5, 3]
