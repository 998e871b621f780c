"""The uniform soup: finetunings from one start whose weights are averaged."""

from __future__ import annotations

import dataclasses

import torch

from agwm.methods import weight_average
from agwm.methods.vanilla import Vanilla
from agwm.methods.weight_average import WeightAverage, WeightAverageSettings
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import pretrained


def state(model):
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def test_of_one_run_it_is_vanilla():
    vanilla = state(Vanilla().run(job_of(pretrained("bert"))).model)
    one = state(WeightAverage(WeightAverageSettings(num_runs=1)).run(job_of(pretrained("bert"))).model)
    assert all(torch.equal(one[name], vanilla[name]) for name in vanilla)


def test_it_is_the_mean_of_vanilla_s_of_its_seeds():
    outcome = WeightAverage(WeightAverageSettings(num_runs=3)).run(job_of(pretrained("bert"), seed=5))
    seeds = [weight_average._seed_of(5, number) for number in range(3)]
    assert seeds[0] == 5 and len(set(seeds)) == 3
    runs = [state(Vanilla().run(job_of(pretrained("bert"), seed=seed)).model) for seed in seeds]
    moved = 0.0
    for name, found in state(outcome.model).items():
        expected = torch.stack([run[name].double() for run in runs]).mean(0)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)
        moved += float((found - runs[0][name]).norm())
    assert moved > 1e-3 and outcome.passes == 3 * 3


def test_the_average_itself_is_scored():
    scores = []

    def evaluate(model):
        scores.append(float(model.classifier.weight.detach().sum()))
        return {"dev_sum": scores[-1]}

    job = dataclasses.replace(job_of(pretrained("bert")), evaluate=evaluate)
    outcome = WeightAverage().run(job)
    assert len(scores) == 4 and outcome.history[-1]["dev_sum"] == scores[-1]
    assert scores[-1] == float(outcome.model.classifier.weight.detach().sum())
    assert abs(scores[-1] - sum(scores[:3]) / 3) < 1e-5
