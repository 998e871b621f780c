"""The plan: settings of a fold are chosen by models that saw neither it nor what they were scored on."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import BertConfig

from agwm.errors import ConfigError
from agwm.methods import METHODS
from agwm.model_selection.budget import BUDGETS
from agwm.model_selection.candidates import base_rate, candidate_names, is_trained, made_with
from agwm.model_selection.cells import TrialsRecord
from agwm.model_selection.folds import make_folds
from agwm.model_selection.options import FitOptions
from agwm.model_selection.plan import Plan, make_pairs
from agwm.model_selection.record import TrialRecord

CONFIG = BertConfig(hidden_size=384)


def plan(names=("constant", "probe", "vanilla", "agwm"), num_folds=5, **options) -> Plan:
    labels = [0, 1] * 50
    folds = make_folds(labels, np.arange(100), "single_label_classification", num_folds, 2, seed=3)
    return Plan(FitOptions(**options), list(names), folds, CONFIG, False)


@pytest.mark.parametrize("num_folds", [3, 4, 5, 10])
def test_each_fold_is_in_a_pair_and_trials_see_neither_fold(num_folds):
    made = plan(num_folds=num_folds)
    assert {fold for pair in make_pairs(num_folds) for fold in pair} == set(range(num_folds))
    cells = made.trial_cells()
    assert len(cells) == 2 * 2 * len(make_pairs(num_folds))  # repeats, trained candidates, pairs
    for cell in cells:
        first, second = cell.held_out
        assert not set(cell.train) & (set(first) | set(second)) and not set(first) & set(second)
        assert len(cell.train) + len(first) + len(second) == 100


def test_the_scores_on_one_fold_choose_for_the_other():
    made = plan(names=["constant", "vanilla"])
    low, high = made.settings("vanilla", 80)

    def trials(best):
        return [TrialRecord(one, 0.9 if one is best else 0.5) for one in (low, high)]

    # Of each pair the first fold's scores are for the low rate, and the second's for the high one.
    found = {cell.name: TrialsRecord((trials(low), trials(high)), 1.0, 1.0) for cell in made.trial_cells()}
    for cell in made.fold_cells(found, "accuracy"):
        if cell.candidate == "vanilla":
            is_first = cell.fold in (0, 2, 4)  # its settings are scored on the pair's second fold
            assert cell.settings == (high if is_first else low)
            assert len(cell.trials) == 2
        assert not set(cell.train) & set(cell.test)
    worst = {cell.settings["learning_rate"] for cell in made.fold_cells(found, "log_loss") if cell.settings}
    assert worst == {low["learning_rate"], high["learning_rate"]}


def test_failed_trials_choose_nothing_and_the_first_settings_are_taken():
    made = plan(names=["constant", "vanilla"])
    low, high = made.settings("vanilla", 80)
    failed = [TrialRecord(low, None, "diverged"), TrialRecord(high, None, "diverged")]
    found = {cell.name: TrialsRecord((failed, failed), 1.0, 0.0) for cell in made.trial_cells()}
    assert {cell.settings.get("learning_rate") for cell in made.fold_cells(found, "accuracy")} == {
        None,
        low["learning_rate"],
    }


@pytest.mark.parametrize("budget", list(BUDGETS))
def test_every_trained_candidate_has_as_many_trials(budget):
    names = candidate_names(None, list(BUDGETS[budget].candidates))
    made = plan(names=names, budget=budget)
    counts = {
        len(settings) + len(made.longer(settings[0]))
        for name in names
        if (settings := made.settings(name, 80))
    }
    assert counts == {BUDGETS[budget].num_trials}
    assert not made.settings("constant", 80) and not made.settings("probe", 80)


def test_given_settings_are_not_chosen():
    made = plan(learning_rate=1e-3, epochs=4)
    assert made.settings("vanilla", 80) == [{"learning_rate": 1e-3, "epochs": 4}]
    assert made.trial_cells() == []
    assert plan(learning_rate=1e-3).trial_cells() and plan(epochs=2).trial_cells()


def test_passes_of_a_cell_are_those_of_its_method():
    made = plan(names=["constant", "vanilla", "agwm"])
    for cell in made.trial_cells():
        method, training, recipe = made_with(cell.candidate, cell.settings[0], 1)
        one = method.passes(training, recipe, len(cell.train), False)
        assert made.passes(cell) == pytest.approx(one * len(cell.settings))
    assert made.passes_of("constant", {}, 80) == 0


@pytest.mark.parametrize("name", [name for name in METHODS if is_trained(name)])
def test_the_settings_reach_the_method(name):
    settings = {"learning_rate": 0.0123, "epochs": 7}
    method, training, recipe = made_with(name, settings, 5)
    own = method.settings
    rates = {getattr(own, "learning_rate", None) or training.learning_rate}
    epochs = {getattr(own, "epochs", None) or training.epochs}
    assert rates == {0.0123} and epochs == {7}
    assert recipe.search.learning_rate == recipe.final.learning_rate == 0.0123 and recipe.final.epochs == 7


def test_rates_fit_small_and_large_models():
    sizes = [64, 384, 768, 1024, 4096]
    rates = [base_rate("vanilla", BertConfig(hidden_size=size)) for size in sizes]
    assert rates == sorted(rates, reverse=True) and rates[3] == 2e-5
    assert rates[0] == 1e-3 and rates[-1] == 1e-5
    assert base_rate("lora", CONFIG) == pytest.approx(10 * base_rate("vanilla", CONFIG))


def test_the_constant_answer_is_always_a_candidate():
    assert candidate_names(["probe"], []) == ["constant", "probe"]
    assert candidate_names(["probe", "constant"], []) == ["constant", "probe"]
    with pytest.raises(ConfigError, match="got none"):
        candidate_names([], ["probe"])
