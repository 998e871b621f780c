"""What every method must do in every family, or refuse with a reason before training."""

from __future__ import annotations

import dataclasses
import re
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from agwm.errors import MethodError
from agwm.methods import METHODS, PLACES, OneLevelMethod
from agwm.methods.vanilla import Vanilla
from agwm.testing import check_method
from agwm.testing.methods import check_class, check_learning, check_repetition, check_saving, refusal
from agwm.testing.resuming import check_resuming
from agwm.testing.tiny_models import FAMILIES
from tests.methods.cells import CELLS, WORKING, refusal_of, small_method

# What a method overrides -> where it acts. Before anything else it may also look at the model alone.
HOOKS = {
    "initialize": "initialization",
    "reparametrize": "reparametrization",
    "begin_step": "loss",
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
    "mixout": {"begin_step", "edit_gradients"},  # draw masks and drop them; "official" scales the gradient
    "r_drop": {"initialize"},  # refuses a model without dropout
    "child_f": {"initialize", "before_step", "after_step"},  # seeds masks; holds weights if told to
    "dps_dense": {"initialize"},  # finds the weights
    "dps_mix": {"begin_step"},  # draws masks
    "prompt_tuning": {"edit_gradients", "after_step"},  # keep one row of the prompt as it is
}
WITHOUT_STEPS = ("probe",)
EPOCHS = 3  # so many are enough to see a loss fall
PAGE = Path(__file__).parents[2] / "docs" / "methods" / "index.md"


@pytest.mark.parametrize(("name", "family"), CELLS)
def test_refuses_or_leaves_the_model_as_it_was(name, family):
    reason = refusal(partial(small_method, name), family)
    assert reason == refusal_of(name, family)
    assert reason is None or reason.endswith("Choose another method.")


# An encoder, an encoder with a decoder, and a decoder, whose head has no bias: these are tried each time
# with every method, and all families with the method that the package is for.
QUICK = ("bert", "bart", "llama")
# These run another method's code with other numbers of steps or a fixed alpha: one family each time.
OF_ANOTHER = ("vanilla_steps", "vanilla_long", "as_drawn")


def marks(name, family, num_labels=2):
    """Return the marks of a case: most families are slow, and so are most of their scores."""
    is_quick = family in (QUICK[:1] if name in OF_ANOTHER else QUICK) or name == "agwm"
    has_scores = family == "bert" or (family == "llama" and name == "agwm")
    return () if is_quick and (num_labels == 2 or has_scores) else pytest.mark.slow


WORKING_CASES = [pytest.param(*case, marks=marks(*case)) for case in WORKING]
LEARNING_CASES = [
    pytest.param(name, family, labels, marks=marks(name, family, labels))
    for name, family in WORKING
    for labels in (2, 1)
]


@pytest.mark.parametrize(("name", "family", "num_labels"), LEARNING_CASES)
def test_learns_and_trains_the_head(name, family, num_labels):
    if name == "setfit" and num_labels == 1:
        assert "expected one class for each example, got scores" in refusal_of(name, family, 1)
        return
    outcome = check_learning(partial(small_method, name, EPOCHS), family, num_labels, EPOCHS)
    losses = [record["loss"] for record in outcome.history if "loss" in record]
    # a probe has no steps
    assert num_labels == 1 or not losses or losses[-1] < losses[0]
    assert losses or name in WITHOUT_STEPS


@pytest.mark.parametrize("name", METHODS)
def test_repeats_by_seed(name):
    check_repetition(partial(small_method, name, 1), "bert")


@pytest.mark.parametrize("name", METHODS)
def test_goes_on_where_it_was_stopped(name):
    check_resuming(partial(small_method, name, 2), "bert")


@pytest.mark.parametrize(("name", "family"), WORKING_CASES)
def test_saves_a_loadable_checkpoint(name, family):
    check_saving(partial(small_method, name, 1), family)


@pytest.mark.parametrize("name", METHODS)
def test_says_where_it_acts_and_has_a_card(name):
    assert METHODS[name].name == name
    check_class(METHODS[name])
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
    start = next(number for number, line in enumerate(lines) if line.startswith("|  | "))
    assert lines[start].strip("| ").split(" | ") == list(FAMILIES)
    rows = [line.strip("| ").split(" | ") for line in lines[start + 2 : start + 2 + len(METHODS)]]
    found = {
        (row[0].strip("`"), family): cell
        for row in rows
        for family, cell in zip(FAMILIES, row[1:], strict=True)
    }
    assert found == {cell: "yes" if cell in WORKING else "refused" for cell in CELLS}


class Own(Vanilla):
    name = "own"


class Shouting(Own):
    name = "an own method"


class Elsewhere(Own):
    acts_on = ("weather",)


class Still(Own):
    def edit_gradients(self, model):
        for parameter in model.parameters():
            parameter.grad = None


class Headless(Own):
    def initialize(self, loaded, seed):
        loaded.model.classifier.requires_grad_(False)


class Moody(Own):
    def initialize(self, loaded, seed):
        loaded.model.classifier.bias.data += 1e-3 * (time.perf_counter() % 1)


class Deaf(Own):
    def edit_gradients(self, model):
        torch.manual_seed(0)

    def run(self, job):
        return super().run(dataclasses.replace(job, seed=3))


class Miser(Own):
    def extra_passes(self, num_batches):
        self.calls = getattr(self, "calls", 0)
        return -num_batches

    def run(self, job):
        return dataclasses.replace(super().run(job), passes=1000)


class Meddler(Own):
    def check(self, loaded, recipe):
        loaded.model.classifier.weight.data += 1


class Mumbler(Own):
    def check(self, loaded, recipe):
        raise MethodError("no")


class Loser(Own):
    def run(self, job):
        outcome = super().run(job)

        def write(folder, facts):
            outcome.write(folder, facts)
            model = AutoModelForSequenceClassification.from_pretrained(folder)
            model.classifier.weight.data += 1
            model.save_pretrained(folder)

        return dataclasses.replace(outcome, write=write)


class Forgetful(Own):
    """Halves the gradient in every second step, and keeps no account of it."""

    steps = 0

    def edit_gradients(self, model):
        self.steps += 1
        for parameter in model.parameters():
            if parameter.grad is not None and self.steps % 2:
                parameter.grad.mul_(0.5 + self.steps)


def test_an_own_method_is_checked_without_being_registered():
    assert check_method(Own, families=["bert", "bart"], epochs=4) == {"bert": None, "bart": None}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Shouting, "expected a name that is an identifier, got 'an own method'"),
        (Elsewhere, "acts_on: expected names out of initialization.*got weather"),
        (Meddler, "expected check.. to leave the model as it was"),
        (Mumbler, "expected a refusal of the form"),
        (Still, "expected a loss below"),
        (Headless, "expected a head that trains, got untrained classifier"),
        (Moody, "expected one model from one seed, got another model"),
        (Deaf, "got the same model from another seed"),
        (Miser, "as passes.. says, got 1000"),
        (Forgetful, "expected a run that was stopped after step 2 of 6 to go on .* got another model"),
        (Loser, "expected the same outputs from the saved model"),
    ],
)
def test_a_broken_rule_is_named(method, message):
    with pytest.raises(MethodError, match=message):
        check_method(method, families=["bert"], epochs=2)
