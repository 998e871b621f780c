"""The recipe on tiny models: what it averages, what it fixes, what it saves, and that it repeats."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

import agwm
from agwm.data.sampling import split_train
from agwm.errors import AgwmWarning, ConfigError, SelectionError, SplitError
from agwm.methods.two_level import summary_of
from agwm.training.hooks import make_optimizer
from agwm.training.loop import make_loader, make_scheduler, train
from tests.tiny_models import tiny_bert

NUM = 20


def small():
    """Return a model of one layer."""
    return tiny_bert(num_layers=1)


def dataset(num=NUM, labels=2):
    generator = torch.Generator().manual_seed(3)
    return [
        {
            "input_ids": torch.randint(2, 60, (8,), generator=generator),
            "labels": torch.tensor(index % labels),
        }
        for index in range(num)
    ]


def collate(rows):
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def config(**search):
    search = {"batch_size": 4, "epochs": 2, "learning_rate": 1e-2, "num_resplits": 2, **search}
    return agwm.FinetuneConfig(
        search=agwm.SearchConfig(**search),
        final=agwm.TrainingConfig(batch_size=4, epochs=1, learning_rate=1e-2),
        seed=5,
    )


def run(settings, **more):
    torch.manual_seed(0)
    model = small()
    return agwm.finetune(model, dataset(), collate=collate, config=settings, progress=False, **more)


@functools.cache
def usual():
    """Return the outcome of a run that several tests look at, and change nothing of."""
    return run(config())


def plain_state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_run_repeats_bit_for_bit_and_another_seed_differs():
    first, second = usual(), run(config())
    other = run(dataclasses.replace(config(), seed=6))
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name])
    assert all(torch.equal(first.alpha[name], second.alpha[name]) for name in first.alpha)
    assert any(not torch.equal(t, other.model.state_dict()[n]) for n, t in first.model.state_dict().items())


def test_the_model_is_plain_afterwards_and_alpha_has_moved():
    result = usual()
    assert agwm.mixup_of(result.model) is None
    assert not result.model.training
    assert any(not torch.equal(alpha, torch.ones_like(alpha)) for alpha in result.alpha.values())
    assert all(0 <= float(a.min()) and float(a.max()) <= 1 for a in result.alpha.values())
    assert result.num_steps == {"search": 2 * 2 * 4, "final": 5}


def test_the_searches_are_averaged_and_each_starts_from_the_pretrained_weights():
    """With one epoch of final training at rate 0, merged weights are the mix of the two means."""
    settings = dataclasses.replace(config(), final=agwm.TrainingConfig(epochs=0))
    result = run(settings)
    weights, factors = [], []
    for k in range(2):
        torch.manual_seed(0)
        model = small()
        pretrained = plain_state(model)
        one = dataclasses.replace(settings, search=dataclasses.replace(settings.search, num_resplits=1))
        stored = {}

        class Keep(agwm.TaskWeightProblem):
            kept = stored

            def loss(self, batch):
                self.kept["mixup"] = self.mixup
                return super().loss(batch)

        # the k-th search alone: the seed of a search is the run's plus k
        agwm.finetune(
            model,
            dataset(),
            collate=collate,
            config=dataclasses.replace(one, seed=5 + k),
            progress=False,
            inner=Keep,
        )
        mixup = stored["mixup"]
        attention = {name: value.detach().clone() for name, value in mixup.attention.state_dict().items()}
        factors.append(attention)
        # merge() wrote the mixed weights; unmixed parameters are the task weights
        weights.append(plain_state(model))
        mixed = mixup.names
    mean = {name: (factors[0][name] + factors[1][name]) / 2 for name in factors[0]}
    for name, value in result.attention.state_dict().items():
        assert torch.equal(value, mean[name])
    starts = [
        agwm.inject(small(), **dataclasses.asdict(settings.mixing), seed=5 + k).attention.state_dict()
        for k in range(2)
    ]
    for name, value in result.initial_attention.state_dict().items():
        assert torch.equal(value, (starts[0][name] + starts[1][name]) / 2)
        assert not torch.equal(value, mean[name])
    name = mixed[0]
    assert torch.equal(result.initial_alpha[name], result.initial_attention[name]())
    moved = 0
    for name, tensor in result.model.state_dict().items():
        if name not in mixed and tensor.is_floating_point():
            torch.testing.assert_close(tensor, (weights[0][name] + weights[1][name]) / 2)
            moved += not torch.equal(tensor, pretrained[name])
    assert moved > 0


def test_frozen_alpha_is_one_and_equals_plain_two_stage_training():
    """The control: with alpha at 1 the search is plain finetuning of the inner split."""
    settings = dataclasses.replace(
        config(num_resplits=1, clipping=1.0), mixing=agwm.MixingConfig(alpha="frozen")
    )
    result = run(settings)
    torch.manual_seed(0)
    model = small()
    inner, _ = split_train(NUM, 0.2, seed=5)
    rows = dataset()
    train(model, [rows[i] for i in inner], collate=collate, config=settings.search, seed=5, progress=False)
    train(model, rows, collate=collate, config=settings.final, seed=5, progress=False)
    assert all(torch.equal(alpha, torch.ones_like(alpha)) for alpha in result.alpha.values())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, result.model.state_dict()[name])


def test_alpha_is_fixed_in_the_final_stage():
    short = run(dataclasses.replace(config(), final=agwm.TrainingConfig(epochs=0)))
    long = usual()
    for name, alpha in short.alpha.items():
        assert torch.equal(alpha, long.alpha[name])


def test_history_tells_phase_step_losses_and_dev_scores():
    calls = []

    def evaluate(model):
        calls.append(model.training)
        return {"dev_accuracy": 0.5}

    result = run(config(evaluations=2), evaluate=evaluate)
    assert [r["phase"] for r in result.history] == ["search 1/2"] * 2 + ["search 2/2"] * 2 + ["final"]
    assert all(r["dev_accuracy"] == 0.5 for r in result.history)
    assert {"step", "inner_loss", "outer_loss"} <= set(result.history[0])
    assert not any(calls)
    without = run(config(evaluations=2))
    for name, tensor in result.model.state_dict().items():
        assert torch.equal(tensor, without.model.state_dict()[name]), "evaluation changed the run"


def test_eval_dataset_gives_the_mean_loss():
    result = run(config(), eval_dataset=dataset(6))
    assert result.history[-1]["eval_loss"] > 0


def test_saved_outcome_is_a_plain_checkpoint_with_alpha_and_card(tmp_path):
    result = run(config(num_resplits=1, epochs=1))
    with pytest.warns(
        AgwmWarning, match=r"processing_class is not given.*Bert.*\(folder, processing_class="
    ):
        result.save_pretrained(tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    batch = collate(dataset())
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, result.model(**batch).logits)
    factors = load_file(tmp_path / "out" / "alpha.safetensors")
    assert factors.keys() == result.attention.state_dict().keys()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "num_resplits: 1" in card and yaml.safe_load(card.split("---")[1])["tags"]
    assert json.loads((tmp_path / "out" / "agwm_history.json").read_text())[-1]["phase"] == "final"
    assert not list((tmp_path / "out").glob(".*"))


def test_stratified_splits_keep_the_share_of_labels():
    assert run(config(stratified=True)).num_steps["search"] == 16


def test_errors_are_one_line_and_leave_the_model_plain():
    model = small()
    bad = dataclasses.replace(config(), mixing=agwm.MixingConfig(include=["nothing.*"]))
    with pytest.raises(SelectionError, match="matches nothing"):
        agwm.finetune(model, dataset(), collate=collate, config=bad, progress=False)
    assert agwm.mixup_of(model) is None
    rows = [{"input_ids": row["input_ids"]} for row in dataset()]
    with pytest.raises(SplitError, match="Cannot stratify"):
        agwm.finetune(model, rows, collate=collate, config=config(stratified=True), progress=False)
    assert agwm.mixup_of(model) is None
    with pytest.raises(ConfigError, match="num_resplits is out of range"):
        agwm.SearchConfig(num_resplits=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agwm.SearchConfig(epochs="3"), "epochs.*an integer >= 1, got '3'"),
        (lambda: agwm.SearchConfig(epochs=0), "epochs.*an integer >= 1, got 0"),
        (lambda: agwm.SearchConfig(num_resplits=1.5), "num_resplits.*an integer >= 1, got 1.5"),
        (lambda: agwm.TrainingConfig(batch_size=True), "batch_size.*an integer"),
        (lambda: agwm.TrainingConfig(learning_rate="big"), "learning_rate.*a number >= 0, got 'big'"),
        (lambda: agwm.FinetuneConfig(search={}), "search is of the wrong type: expected SearchConfig"),
        (
            lambda: agwm.finetune(small(), dataset(), collate=collate, config={}),
            "expected FinetuneConfig, got dict",
        ),
    ],
)
def test_settings_of_a_wrong_kind_are_errors_at_once(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_precision_that_the_device_lacks_is_found_before_the_search():
    config = agwm.FinetuneConfig(final=agwm.TrainingConfig(precision="fp16"))
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError, match="needs gradient scaling"):
        agwm.finetune(model, dataset(), collate=collate, config=config)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_no_decay_of_biases_and_norms_and_the_schedule_ends_at_zero():
    model = small()
    settings = agwm.TrainingConfig(learning_rate=1.0, weight_decay=0.1)
    optimizer = make_optimizer(model, settings)
    names = {id(p): n for n, p in model.named_parameters()}
    decayed = {names[id(p)] for p in optimizer.param_groups[0]["params"]}
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert not any("bias" in name or "LayerNorm" in name for name in decayed)
    assert "bert.embeddings.word_embeddings.weight" in decayed
    assert len(decayed) + len(optimizer.param_groups[1]["params"]) == len(names)
    scheduler = make_scheduler(optimizer, "linear", 10, 0.2)
    rates = []
    for _ in range(10):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[0] == 0.0 and max(rates) == 1.0 and rates.index(1.0) == 2
    assert scheduler.get_last_lr()[0] == 0.0


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    model = tiny_bert(dropout=0.0, num_layers=1)
    settings = agwm.TrainingConfig(batch_size=4, epochs=8, learning_rate=1e-2)
    history = train(model, dataset(), collate=collate, config=settings, seed=1, progress=False)
    assert history[-1]["loss"] < history[0]["loss"]


def test_loader_order_depends_on_its_seed_alone():
    first = [batch["input_ids"] for batch in make_loader(dataset(), 4, collate, 1)]
    torch.rand(3)
    again = [batch["input_ids"] for batch in make_loader(dataset(), 4, collate, 1)]
    assert all(map(torch.equal, first, again))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions_on_the_cpu(precision):
    settings = config(precision=precision, num_resplits=1)
    assert run(settings).history[-1]["loss"] > 0


def test_what_a_record_keeps_of_alpha():
    alpha, start = torch.tensor([[0.5, 1.0], [0.25, 0.75]]), torch.tensor([[1.0, 0.5], [0.25, 0.75]])
    assert summary_of(alpha, start) == {"mean": 0.625, "min": 0.25, "max": 1.0, "from_start": 0.25}


class HalfRow(agwm.Alpha):
    def create_parameters(self):
        self.a = self.new_factor(self.row_dim)

    def factors(self):
        return (self.a,)


def test_an_own_form_of_alpha_goes_through_the_recipe_and_into_the_card(tmp_path):
    settings = dataclasses.replace(config(num_resplits=1), mixing=agwm.MixingConfig(alpha=HalfRow))
    result = run(settings)
    assert all(isinstance(result.attention[name], HalfRow) for name in result.attention)
    with pytest.warns(AgwmWarning, match="lies none"):
        result.save_pretrained(tmp_path / "out")
    assert "alpha: HalfRow" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert settings.to_dict()["mixing"]["alpha"] == "HalfRow"


def test_numbers_of_numpy_and_torch_are_plain_in_the_history_and_nan_is_saved_as_null(tmp_path):
    def evaluate(model):
        return {"f1": np.float32(0.5), "right": np.int64(3), "r": torch.tensor(float("nan"))}

    result = run(config(num_resplits=1), evaluate=evaluate)
    for record in result.history:
        assert type(record["f1"]) is float and type(record["right"]) is int and np.isnan(record["r"])
        assert type(record["r"]) is float
    with pytest.warns(AgwmWarning, match="lies none"):
        result.save_pretrained(tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "agwm_history.json").read_text())
    assert all(record["r"] is None and record["f1"] == 0.5 for record in saved)


def test_a_score_that_is_no_number_ends_the_run_at_the_first_evaluation():
    calls = []

    def evaluate(model):
        calls.append(1)
        return {"f1": 0.5, "matrix": np.zeros((2, 2))}

    with pytest.raises(ConfigError, match="Score 'matrix' of evaluate is no number"):
        run(config(), evaluate=evaluate)
    assert len(calls) == 1
