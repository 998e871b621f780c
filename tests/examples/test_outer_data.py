"""The examples with outer data of their own: every method runs, and does what its name says."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import agwm
from agwm.files import read_json
from tests.fitting.made_rows import made_rows, tiny_model

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SMALL = {"INNER": 24, "OUTER": 8, "DEV": 8, "TEST": 12, "NEW_ROWS": 24, "OLD_ROWS": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tasks in the layout of the real ones, with few made-up rows, and a tiny model."""
    folder = tmp_path_factory.mktemp("tasks")
    tiny_model(folder / "tiny")
    texts = [row["text"].replace("\t", " ") for row in made_rows(200)]
    for name in ("uci-yelp", "uci-amazon", "uci-imdb", "banking77"):
        (folder / name).mkdir()
        names = [str(i % 2) for i in range(10)]
        if name == "banking77":
            names = list(importlib.import_module("continual").INTENTS)
        for part, rows in (("train", texts[:120]), ("test", texts[120:])):
            lines = [f"{text} {i % len(names)}\t{names[i % len(names)]}" for i, text in enumerate(rows)]
            (folder / name / f"{part}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def path():
    """Put the folder of the examples on the path, as running one of them does."""
    sys.path.insert(0, str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))


def small_example(name, monkeypatch):
    """Import an example, with parts of few rows."""
    module = importlib.import_module(name)
    for constant, value in SMALL.items():
        if hasattr(module, constant):
            monkeypatch.setattr(module, constant, value)
    return module


@pytest.fixture
def ground_of(folder, tmp_path, monkeypatch):
    def build(name, **more):
        module = small_example(name, monkeypatch)
        given = argparse.Namespace(
            tasks_dir=str(folder),
            model=str(folder / "tiny"),
            outer=None,
            device="cpu",
            output_dir=str(tmp_path),
            **more,
        )
        return module.make(given, 1), partial(module.make, given)

    return build


GROUNDS = {
    "continual": {},
    "noisy_labels": {"noise": 0.25},
    "domain_shift": {"source": "uci-amazon", "target": "uci-imdb"},
}


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def distance(first, second):
    return float(sum((first[name] - second[name]).pow(2).sum() for name in first) ** 0.5)


@pytest.mark.parametrize("name", GROUNDS)
def test_a_draw_is_the_same_twice_and_its_parts_are_disjoint(ground_of, name):
    ground, make = ground_of(name, **GROUNDS[name])
    again, other = make(1), make(2)
    assert ground.inner == again.inner and ground.outer == again.outer and ground.inner != other.inner
    first, second = (weights(one.make_model()) for one in (ground, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert len(ground.inner) == 24 and len(ground.outer) == 8
    scores = ground.score(ground.make_model(), "test")
    assert all(0 <= value <= 100 for value in scores.values())


def test_every_method_learns_from_what_its_name_says(ground_of):
    from outer_data.methods import METHODS
    from outer_data.trainings import Settings

    ground, _ = ground_of("continual")
    start = weights(ground.make_model())
    settings = Settings(learning_rate=3e-3, attention_learning_rate=0.1, strength=100.0, epochs=2)
    found = {name: weights(method.run(ground, settings, 1)) for name, method in METHODS.items()}
    assert all(distance(start, tuned) > 0 for tuned in found.values())
    old_head, new_head = "heads.0.weight", "heads.1.weight"
    for name in ("plain", "wise_ft", "decay_to_start", "after_scalar", "agwm_rank1"):
        assert torch.equal(found[name][old_head], start[old_head]), name  # no old example in the inner ones
    for name in ("union", "outer_only"):
        assert not torch.equal(found[name][old_head], start[old_head]), name
    assert all(not torch.equal(tuned[new_head], start[new_head]) for tuned in found.values())
    # what goes back by one coefficient, or by alpha, lies between the pretrained and the finetuned weights
    name = "encoder.encoder.layer.0.attention.self.query.weight"
    drift = found["plain"][name] - start[name]
    for method in ("wise_ft", "after_scalar", "after_rank1"):
        share = (found[method][name] - start[name]) / drift
        assert share.min() > -1e-2 and share.max() < 1.01, method
    assert (found["decay_to_start"][name] - start[name]).norm() < drift.norm()


@pytest.mark.parametrize("form", ["scalar", "rank1"])
def test_alpha_after_the_fact_is_what_the_package_learns(ground_of, form):
    """The tables are of the loop in the example; users call ``agwm.learn_alpha``."""
    from outer_data import afterwards, methods, trainings

    def without_dropout(model):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return model

    ground, _ = ground_of("domain_shift", **GROUNDS["domain_shift"])
    made = ground.make_model
    ground = dataclasses.replace(ground, make_model=lambda: without_dropout(made()))
    settings = trainings.Settings(learning_rate=3e-3, attention_learning_rate=0.1, strength=100.0, epochs=2)
    tuned = methods.METHODS["plain"].run(ground, settings, 1)
    state = {name: tensor.detach().clone() for name, tensor in tuned.state_dict().items()}
    expected = afterwards.alpha_after(form)(ground, state, settings, 1)
    mixing = agwm.MixingConfig(alpha=form)
    result = agwm.learn_alpha(
        tuned,
        ground.make_model(),
        ground.outer,
        collate=ground.collate,
        config=agwm.AlphaConfig(mixing=mixing, learning_rate=0.1, seed=1),
        progress=False,
    )
    assert distance(weights(expected), state) > 0.1
    assert result.num_steps["alpha"] == afterwards.EPOCHS * -(-len(ground.outer) // afterwards.BATCH)
    for name, tensor in weights(expected).items():
        torch.testing.assert_close(result.model.state_dict()[name], tensor, rtol=0, atol=1e-6)


def test_labels_are_turned_round_in_the_inner_rows_alone(ground_of):
    clean, _ = ground_of("noisy_labels", noise=0.0)
    noisy, _ = ground_of("noisy_labels", noise=0.4)
    turned = [a["labels"] != b["labels"] for a, b in zip(clean.inner, noisy.inner, strict=True)]
    assert 0 < sum(turned) < 24 and clean.outer == noisy.outer


def test_the_table_pairs_by_seed():
    from outer_data.table import table

    def runs(scores):
        settings = {"learning_rate": 1e-4, "attention_learning_rate": 0.1}
        return [{"test": {"accuracy": s}, "settings": settings, "seconds": 2.0} for s in scores]

    text = table({"plain": runs([50, 60, 70]), "agwm_scalar": runs([52, 61, 73])})
    # differences 2, 1, 3: mean 2, standard error 1 / sqrt(3), t of two degrees of freedom 4.303
    assert "+2.0 [-0.5, +4.5]" in text and "60.0 ± 10.0" in text and "62.0 ± 10.5" in text
    assert np.isclose(4.303 / 3**0.5, 2.484, atol=1e-3)


def test_settings_are_chosen_on_draws_of_their_own(folder, tmp_path, monkeypatch, capsys):
    from outer_data import runs

    module = small_example("domain_shift", monkeypatch)
    parser = runs.flags("x")
    parser.add_argument("--source", default="uci-amazon")
    parser.add_argument("--target", default="uci-imdb")
    line = [
        "x",
        "--tasks-dir",
        str(folder),
        "--model",
        str(folder / "tiny"),
        "--seeds",
        "3",
        "--epochs",
        "1",
    ]
    line += ["--methods", "plain,agwm_scalar", "--output-dir", str(tmp_path), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", line)
    runs.main(module.make, parser)
    out = capsys.readouterr().out
    assert "agwm_scalar minus it" in out and "of 3 seeds" in out
    files = sorted(path.name for path in tmp_path.glob("*-*.json"))
    assert len(files) == 2 * (2 * 4 + 3)  # two draws of four settings, then three of the chosen ones
    assert len(read_json(tmp_path / "runs.json")) == len(files)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*-*.json")}
    monkeypatch.setattr(sys, "argv", line)
    runs.main(module.make, parser)  # nothing is made again
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*-*.json")}
    other = [*line[:-4], "--outer", "4", "--tuned", str(tmp_path), "--output-dir", str(tmp_path / "four")]
    monkeypatch.setattr(sys, "argv", [*other, "--device", "cpu"])
    runs.main(module.make, parser)  # with the settings that were chosen for eight outer examples
    made = read_json(tmp_path / "four" / "runs.json")
    assert len(made) == 6 and {run["outer"] for run in made} == {4}


def test_runs_that_share_a_training_are_what_they_are_alone(folder, tmp_path, monkeypatch):
    from outer_data import runs
    from outer_data.methods import METHODS

    module = small_example("domain_shift", monkeypatch)
    given = argparse.Namespace(
        tasks_dir=str(folder),
        model=str(folder / "tiny"),
        outer=None,
        device="cpu",
        jobs=1,
        source="uci-amazon",
        target="uci-imdb",
    )
    names = ("plain", "wise_ft", "after_scalar", "after_rank1", "union", "agwm_scalar")
    settings = METHODS["after_scalar"].settings[0]
    made = [runs.Run(name, dataclasses.replace(settings, epochs=1), 1) for name in names]
    shared = runs._sharing(made)
    assert sorted(map(len, shared)) == [1, 1, 4]
    for where, groups in (("shared", shared), ("alone", [[run] for run in reversed(made)])):
        given.output_dir = str(tmp_path / where)
        (tmp_path / where).mkdir()
        for group in groups:
            runs._make(module.make, given, group)
    for run in made:
        first, second = (read_json(tmp_path / where / run.path) for where in ("shared", "alone"))
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
