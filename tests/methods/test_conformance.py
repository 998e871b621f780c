"""What every method must do in every family, or refuse with a reason before training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from agwm.errors import MethodError
from agwm.methods import METHODS, PLACES, OneLevelMethod
from agwm.methods.virtual_tokens import count_from_first_token
from agwm.recipe.config import FinetuneConfig
from tests.methods.cells import (
    CELLS,
    EPOCHS,
    finetune_cell,
    job_of,
    refusal,
    side_of,
    small_method,
    unmoved_head,
)
from tests.methods.models import FAMILIES, batch, pretrained

# What a method overrides -> where it acts. Before anything else it may also look at the model alone.
HOOKS = {
    "initialize": "initialization",
    "reparametrize": "reparametrization",
    "loss": "loss",
    "edit_gradients": "gradient",
    "make_optimizer": "optimizer",
    "before_step": "optimizer",
    "after_step": "optimizer",
}
# What is overridden without acting there.
ELSEWHERE = {
    "prior_decay": {"reparametrize"},  # copies the pretrained weights
    "recadam": {"reparametrize"},  # the same
    "mixout": {"loss", "edit_gradients"},  # draw masks and drop them; "official" scales the gradient
    "r_drop": {"initialize"},  # refuses a model without dropout
    "child_f": {"initialize", "before_step", "after_step"},  # seeds masks; holds weights if told to
    "dps_dense": {"initialize"},  # finds the weights
    "dps_mix": {"loss"},  # draws masks
    "prompt_tuning": {"edit_gradients", "after_step"},  # keep one row of the prompt as it is
}
WORKING = [cell for cell in CELLS if refusal(*cell) is None]
PAGE = Path(__file__).parents[2] / "docs" / "methods" / "index.md"


@pytest.mark.parametrize(("name", "family"), CELLS)
def test_check_leaves_the_model_as_it_was(name, family):
    loaded = pretrained(family)
    before = {key: tensor.clone() for key, tensor in loaded.model.state_dict().items()}
    needs = [parameter.requires_grad for parameter in loaded.model.parameters()]
    try:
        small_method(name).check(loaded, FinetuneConfig())
    except MethodError as error:
        assert " expected " in f" {error}" and str(error).endswith("Choose another method.")
    after = loaded.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in after)
    assert needs == [parameter.requires_grad for parameter in loaded.model.parameters()]


@pytest.mark.parametrize(("name", "family"), WORKING)
def test_learns_and_trains_the_head(name, family):
    outcome = finetune_cell(name, family, epochs=EPOCHS)
    assert not unmoved_head(outcome, family)
    assert outcome.passes > 0 and outcome.seconds
    losses = [record["loss"] for record in outcome.history if "loss" in record]
    assert losses[-1] < losses[0]
    with torch.no_grad():
        logits = outcome.model(**batch(side=side_of(family))).logits
    assert torch.isfinite(logits).all() and not outcome.model.training


@pytest.mark.parametrize(("name", "family"), WORKING)
def test_regression(name, family):
    outcome = finetune_cell(name, family, num_labels=1, epochs=EPOCHS)
    assert not unmoved_head(outcome, family, num_labels=1)
    inputs = batch(num_labels=1, side=side_of(family))
    with torch.no_grad():
        before, after = (model(**inputs) for model in (pretrained(family, 1).model, outcome.model))
    assert after.logits.shape == (8, 1) and 0 <= float(after.loss) < float(before.loss)


@pytest.mark.parametrize("name", METHODS)
def test_repeats_by_seed(name):
    jobs = [job_of(pretrained("bert"), seed) for seed in (3, 3, 4)]
    states = [small_method(name, 1).run(job).model.state_dict() for job in jobs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize(("name", "family"), WORKING)
def test_saves_a_loadable_checkpoint(name, family, tmp_path):
    outcome = finetune_cell(name, family, tokenizer=tmp_path / "tokenizer")
    folder = tmp_path / "saved"
    outcome.save(folder)
    if (folder / "adapter_config.json").exists():
        again = PeftModel.from_pretrained(pretrained(family).model, folder)
        if family == "llama":  # what the cards of prompt tuning and prefix-tuning say to do
            again.get_base_model().register_forward_pre_hook(count_from_first_token, with_kwargs=True)
    else:
        again = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        torch.testing.assert_close(
            again.eval()(**batch(side=side_of(family))).logits,
            outcome.model(**batch(side=side_of(family))).logits,
        )


@pytest.mark.parametrize("name", METHODS)
def test_says_where_it_acts_and_has_a_card(name):
    assert METHODS[name].name == name
    assert set(METHODS[name].acts_on) <= set(PLACES)
    method = METHODS[name]
    if issubclass(method, OneLevelMethod):
        changed = {hook for hook in HOOKS if getattr(method, hook) is not getattr(OneLevelMethod, hook)}
        assert set(method.acts_on) <= {HOOKS[hook] for hook in changed}
        undeclared = {hook for hook in changed if HOOKS[hook] not in method.acts_on}
        assert undeclared == ELSEWHERE.get(name, set())
    link = re.search(rf"^\| \[`{name}`\]\((\w+\.md)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert link and (PAGE.parent / link[1]).exists(), "run python -m docs.make_methods"


def test_the_matrix_of_the_page_is_what_is_tested():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| | "))
    assert lines[start].strip("| ").split(" | ") == list(FAMILIES)
    rows = [line.strip("| ").split(" | ") for line in lines[start + 2 : start + 2 + len(METHODS)]]
    found = {
        (row[0].strip("`"), family): cell
        for row in rows
        for family, cell in zip(FAMILIES, row[1:], strict=True)
    }
    assert found == {cell: "yes" if cell in WORKING else "refused" for cell in CELLS}
