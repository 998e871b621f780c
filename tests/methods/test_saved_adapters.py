"""What prompt tuning and prefix-tuning save is enough to load it again, as their cards say."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest
import torch

from agwm.errors import ModelError
from agwm.methods.prefix_tuning import PrefixTuning, PrefixTuningSettings
from agwm.methods.prompt_tuning import PromptTuning, PromptTuningSettings
from agwm.models.pretrained import load_pretrained
from agwm.testing.jobs import job_of, side_of
from agwm.testing.tiny_models import FAMILIES, batch, pretrained
from agwm.testing.tokens import save_tokenizer
from tests.methods.cells import refusal_of

CARDS = Path(__file__).resolve().parents[2] / "docs" / "methods"
METHODS = {
    "prompt_tuning": PromptTuning(PromptTuningSettings(num_virtual_tokens=4, epochs=1)),
    "prefix_tuning": PrefixTuning(PrefixTuningSettings(num_virtual_tokens=4, epochs=1)),
}
CELLS = [(name, family) for name in METHODS for family in FAMILIES if refusal_of(name, family) is None]
NAMES = ["no", "perhaps", "yes"]


def load_as_the_card_says(name, folder, base):
    """Run the lines of the card's only block of Python with two folders; return the model."""
    text = (CARDS / f"{name}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    values = {"folder": str(folder), "base": str(base)}
    exec(textwrap.dedent(block), values)
    return values["model"]


@pytest.mark.parametrize(("name", "family"), CELLS)
def test_three_classes_come_back_with_their_names(name, family, tmp_path):
    base, folder = tmp_path / "base", tmp_path / "saved"
    pretrained(family).model.save_pretrained(base)  # it has a head of two classes
    save_tokenizer(base)
    loaded = load_pretrained(str(base), NAMES, seed=3)
    loaded.tokenizer.padding_side = side_of(family)
    outcome = METHODS[name].run(job_of(loaded))
    outcome.save(folder)
    again = load_as_the_card_says(name, folder, base)
    inputs = {key: value for key, value in batch().items() if key != "labels"}
    with torch.no_grad():
        expected = outcome.model(**inputs).logits
        torch.testing.assert_close(again(**inputs).logits, expected)
    assert expected.shape == (8, 3) and again.config.id2label == dict(enumerate(NAMES))
    assert json.loads((folder / "config.json").read_text())["problem_type"] == "single_label_classification"
    assert all(
        str(tmp_path) not in path.read_text() for path in folder.iterdir() if path.suffix != ".safetensors"
    )
    # without its weights the folder is no base model, and is never loaded as one with a random head
    with pytest.raises(ModelError, match="Cannot load model"):
        load_pretrained(str(folder), NAMES, seed=3)


@pytest.mark.parametrize("name", METHODS)
def test_a_regression_comes_back(name, tmp_path):
    base = tmp_path / "base"
    pretrained("bert").model.save_pretrained(base)
    save_tokenizer(base)
    loaded = load_pretrained(str(base), None, seed=3)
    outcome = METHODS[name].run(job_of(loaded, num_labels=1))
    outcome.save(tmp_path / "saved")
    again = load_as_the_card_says(name, tmp_path / "saved", base)
    inputs = batch(num_labels=1)
    with torch.no_grad():
        found, expected = again(**inputs), outcome.model(**inputs)
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.loss, expected.loss)
