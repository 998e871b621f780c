"""WiSE-FT: one coefficient between pretrained and finetuned weights, chosen on held-out examples."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from agwm.methods.vanilla import Vanilla
from agwm.methods.wise_ft import WiseFt, WiseFtSettings, interpolate_
from agwm.models.families import head_names
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import pretrained


def test_the_line_between_two_models_has_both_ends():
    model = pretrained("bert").model
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    end = {name: value + torch.randn_like(value) for name, value in start.items()}
    backbone = {name: value for name, value in start.items() if not name.startswith("classifier")}
    for coefficient in (0.0, 0.3, 1.0):
        model.load_state_dict(end, strict=False)
        interpolate_(model, backbone, end, coefficient)
        for name, found in model.named_parameters():
            if name not in backbone:
                assert torch.equal(found, end[name])
            elif coefficient in (0, 1):
                assert torch.equal(found, (start, end)[int(coefficient)][name])
            else:
                expected = start[name].double() + coefficient * (end[name].double() - start[name].double())
                torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_model_lies_between_the_pretrained_one_and_vanilla_s():
    before = pretrained("bert").model.state_dict()
    job = job_of(pretrained("bert"), epochs=4)
    vanilla = Vanilla().run(job_of(pretrained("bert"), epochs=4)).model.state_dict()
    outcome = WiseFt(WiseFtSettings(num_intervals=4)).run(job)
    record = outcome.history[-1]
    coefficient = record["coefficient"]
    assert coefficient in (0, 0.25, 0.5, 0.75, 1) and record["held_out_loss"] > 0
    head = set(head_names(outcome.model))
    assert head and len(head) < len(before)
    for name, value in outcome.model.named_parameters():
        factor = 1.0 if name in head else coefficient
        expected = before[name].double() + factor * (vanilla[name].double() - before[name].double())
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_ruined_backbone_goes_most_of_the_way_back():
    class Ruined(WiseFt):
        def after_step(self, model):
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if name in self._pretrained and parameter.ndim > 1:
                        parameter.copy_(50 * torch.randn_like(parameter))

    outcome = Ruined().run(job_of(pretrained("bert"), epochs=2))
    assert outcome.history[-1]["coefficient"] < 0.5


def test_useful_weights_are_kept_for_the_most_part():
    outcome = WiseFt().run(job_of(pretrained("bert"), epochs=6))
    assert outcome.history[-1]["coefficient"] >= 0.5


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_other_labels(kind):
    num_labels = 1 if kind == "regression" else 2
    job = job_of(pretrained("bert", num_labels), num_labels=num_labels)
    if num_labels > 1:
        job.loaded.model.config.problem_type = kind
        rows = [{**row, "labels": torch.tensor([1.0, float(row["labels"])])} for row in job.examples]
        job = dataclasses.replace(job, examples=rows)
    assert 0 <= WiseFt().run(job).history[-1]["coefficient"] <= 1
