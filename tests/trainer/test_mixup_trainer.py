"""``MixupTrainer``: first the recipe's search, then ``Trainer`` on an injected model."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    default_data_collator,
)

import agwm
from agwm import MixupTrainer
from agwm.errors import ConfigError, DataError
from agwm.rng import RngState
from tests.trainer_runs import NUM, arguments, model, rows, same, state, trainer

SEARCH = agwm.SearchConfig(
    epochs=2, batch_size=5, learning_rate=5e-3, weight_decay=0.0, warmup_ratio=0.0, clipping=1.0,
    attention_learning_rate=0.05,
)  # fmt: skip
SAVING = {"save_strategy": "steps", "save_steps": 3}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a run that several tests look at, and change nothing of."""
    made = trainer(tmp_path_factory.mktemp("usual"), args=SAVING)
    made.train()
    return made


def without_text(examples):
    return [{key: value for key, value in row.items() if key != "text"} for row in examples]


def test_first_phase_is_the_search_of_finetune(whole):
    """Alpha is fixed after the search, so the recipe's result tells what its search ended with."""
    config = agwm.FinetuneConfig(search=SEARCH, seed=7)
    result = agwm.finetune(
        model(), without_text(rows()), collate=default_data_collator, config=config, progress=False
    )
    assert same(state(whole.attention), state(result.attention))
    assert same(state(whole.initial_attention), state(result.initial_attention))
    assert not same(state(whole.attention), state(whole.initial_attention))


def test_second_phase_is_trainer_on_the_injected_model(tmp_path):
    """An inner rate of 0 leaves W at W0, so the second phase begins where a plain ``Trainer`` can begin."""
    search = {"learning_rate": 0.0, "attention_learning_rate": 0.05}
    both = trainer(tmp_path / "both", search=search)
    state_before = RngState.capture()
    both.train()
    injected = model()
    mixup = agwm.inject(injected, seed=7)
    mixup.attention.load_state_dict(both.attention.state_dict())
    mixup.attention.requires_grad_(False)
    plain = trainer(tmp_path / "plain", kind=Trainer, model=injected)
    state_before.restore()
    plain.train()
    mixup.merge()
    assert same(state(both.model), state(injected))
    assert not same(state(both.model), state(model()))


def test_frozen_alpha_and_no_search_of_w_is_vanilla_trainer(tmp_path):
    one = trainer(tmp_path / "a", mixing=agwm.MixingConfig(alpha="frozen"), search={"learning_rate": 0.0})
    one.train()
    other = trainer(tmp_path / "b", kind=Trainer)
    other.train()
    assert same(state(one.model), state(other.model))


def test_checkpoints_and_saves_are_plain_models_with_mixed_weights(whole, tmp_path):
    batch = default_data_collator(without_text(rows(4, seed=9)))
    last = AutoModelForSequenceClassification.from_pretrained(f"{whole.args.output_dir}/checkpoint-10")
    assert same(state(last), state(whole.model))
    assert agwm.mixup_of(whole.model) is None
    middle = AutoModelForSequenceClassification.from_pretrained(f"{whole.args.output_dir}/checkpoint-6")
    assert not torch.equal(middle.eval()(**batch).logits, last.eval()(**batch).logits)
    whole.save_model(str(tmp_path))
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert same(state(saved), state(whole.model))
    assert (tmp_path / "alpha.safetensors").exists()


class LooksAtSaves(TrainerCallback):
    """Compare what a checkpoint holds with what the model computes at that moment."""

    def __init__(self) -> None:
        self.same: list[bool] = []
        self.is_plain_at_end = False

    def on_save(self, args, state, control, model=None, **kwargs):
        batch = default_data_collator(without_text(rows(4, seed=9)))
        saved = AutoModelForSequenceClassification.from_pretrained(
            f"{args.output_dir}/checkpoint-{state.global_step}"
        )
        model.eval(), saved.eval()
        with torch.no_grad():
            self.same.append(torch.equal(saved(**batch).logits, model(**batch).logits))

    def on_train_end(self, args, state, control, model=None, **kwargs):
        self.is_plain_at_end = agwm.mixup_of(model) is None


def test_callbacks_see_what_the_model_computes_with(tmp_path, recwarn):
    looks = LooksAtSaves()
    trainer(tmp_path, callbacks=[looks], args=SAVING).train()
    assert looks.same == [True] * 4 and looks.is_plain_at_end
    assert not [one for one in recwarn if "task weights W" in str(one.message)]


@pytest.mark.parametrize("step", [3, 9])
def test_resumed_second_phase_ends_with_the_same_bits(whole, step):
    again = trainer(whole.args.output_dir, args={**SAVING, "save_strategy": "no"})
    again.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-{step}")
    assert same(state(again.model), state(whole.model))
    assert same(state(again.attention), state(whole.attention))
    assert [r["step"] for r in again.state.log_history if "loss" in r] == list(range(1, 11))
    assert sum("search/inner_loss" in record for record in again.state.log_history) == 8


class Stop(TrainerCallback):
    """Interrupt a run at a step of its search or of its training."""

    def __init__(self, step: int, name: str) -> None:
        self.step, self.name = step, name

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.name in logs and state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("num_resplits", "step", "name"), [(2, 11, "search/inner_loss"), (1, 2, "loss")])
def test_interrupted_run_goes_on_with_the_same_bits(num_resplits, step, name, tmp_path):
    """In the second search of two; and in the second phase before its first checkpoint."""
    search = {"num_resplits": num_resplits, "attention_learning_rate": 0.05}
    options = {"search": search, "args": SAVING}
    whole = trainer(tmp_path / "whole", **options)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "cut", callbacks=[Stop(step, name)], **options).train()
    assert list((tmp_path / "cut" / "_search").glob("*.safetensors"))
    again = trainer(tmp_path / "cut", **options)
    again.train(resume_from_checkpoint=True)
    assert same(state(again.model), state(whole.model))
    assert not (tmp_path / "cut" / "_search").exists()
    steps = [r["step"] for r in whole.state.log_history if "search/inner_loss" in r]
    assert steps == list(range(1, 8 * num_resplits + 1))


def test_checkpoints_of_an_earlier_run_are_not_gone_on_from(tmp_path):
    """A second run in the same folder is stopped; the last checkpoint of the first one is there."""
    trainer(tmp_path / "a", args=SAVING).train()
    other = {**SAVING, "learning_rate": 4e-3}
    for step, name in ((5, "search/inner_loss"), (2, "loss")):
        with pytest.raises(KeyboardInterrupt):
            trainer(tmp_path / "a", args=other, callbacks=[Stop(step, name)]).train()
        again = trainer(tmp_path / "a", args=other)
        again.train(resume_from_checkpoint=True)
        whole = trainer(tmp_path / "b", args=other)
        whole.train()
        assert same(state(again.model), state(whole.model))


def test_search_that_fails_leaves_the_model_as_it_was(tmp_path):
    made = trainer(tmp_path, callbacks=[Stop(4, "search/inner_loss")])
    before = state(made.model)
    with pytest.raises(KeyboardInterrupt):
        made.train()
    assert same(before, state(made.model)) and agwm.mixup_of(made.model) is None


def test_best_model_is_the_one_of_its_checkpoint(tmp_path):
    made = trainer(
        tmp_path,
        eval_dataset=rows(9, seed=4),
        args={
            **SAVING, "eval_strategy": "steps", "eval_steps": 3, "load_best_model_at_end": True,
            "learning_rate": 0.05,
        },
    )  # fmt: skip
    made.train()
    best = made.state.best_model_checkpoint
    assert best is not None and not best.endswith("checkpoint-10")
    assert same(state(made.model), state(AutoModelForSequenceClassification.from_pretrained(best)))
    losses = {r["step"]: r["eval_loss"] for r in made.state.log_history if "eval_loss" in r}
    assert made.evaluate()["eval_loss"] == pytest.approx(min(losses.values()), rel=1e-5)


def test_both_phases_take_the_trainers_loss_metrics_and_early_stopping(tmp_path):
    calls = {"grad": 0, "no grad": 0}

    def loss(outputs, labels, num_items_in_batch=None):
        calls["grad" if torch.is_grad_enabled() else "no grad"] += 1
        return 0 * outputs.logits.sum() + 3.0

    made = trainer(
        tmp_path,
        compute_loss_func=loss,
        compute_metrics=lambda found: {"half": 0.5},
        eval_dataset=rows(4),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=1)],
        search={"attention_learning_rate": 0.05},
        args={
            **SAVING, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
            "load_best_model_at_end": True, "metric_for_best_model": "half",
        },
    )  # fmt: skip
    made.train()
    assert made.state.global_step == 2  # stopped early
    assert calls["grad"] == 2 * 8 + 2  # two passes an iteration of the search, then a pass a step
    assert all(r["search/inner_loss"] == 3.0 for r in made.state.log_history if "search/inner_loss" in r)


def test_label_smoothing_reaches_the_search(tmp_path):
    made = trainer(tmp_path / "a", args={"label_smoothing_factor": 0.5, "logging_steps": 100})
    plain = trainer(tmp_path / "b", args={"logging_steps": 100})
    for one in (made, plain):
        one.train()
    assert not same(state(made.attention), state(plain.attention))


def test_outer_dataset_and_a_loss_of_its_own(tmp_path):
    class Negative(agwm.AttentionProblem):
        def loss(self, batch):
            return -super().loss(batch)

    runs = [
        trainer(tmp_path / name, outer_dataset=rows(6, seed=5), args={"logging_steps": 100}, **more)
        for name, more in {"a": {}, "b": {"outer": Negative}}.items()
    ]
    for one in runs:
        one.train()
    last = next(r for r in runs[0].state.log_history if "search/inner_examples" in r)
    assert (last["search/inner_examples"], last["search/outer_examples"]) == (NUM, 6)
    assert not same(state(runs[0].attention), state(runs[1].attention))


def test_model_init_begins_every_training_anew(tmp_path):
    made = trainer(tmp_path, model_init=model)
    made.train()
    first = state(made.model)
    made.train()
    assert same(first, state(made.model))


def test_training_twice_goes_on_from_the_first(tmp_path):
    made = trainer(tmp_path)
    made.train()
    first = state(made.model)
    made.train()
    assert not same(first, state(made.model)) and agwm.mixup_of(made.model) is None


@pytest.mark.parametrize(
    ("args", "given", "message"),
    [
        ({"auto_find_batch_size": True}, {}, "TrainingArguments.auto_find_batch_size"),
        ({"num_train_epochs": 0.5}, {}, "num_train_epochs means nothing to the search: expected a whole"),
        ({"lr_scheduler_type": "polynomial"}, {}, "expected one of linear, cosine"),
        ({}, {"search": {"rate": 1.0}}, "Setting 'rate' of search is unknown"),
        ({}, {"search": {"num_resplits": 0}}, "num_resplits"),
        ({}, {"search": {"outer_fraction": 2.0}}, "outer_fraction"),
        ({}, {"outer_dataset": iter([])}, "outer_dataset cannot be searched on: expected .* no length"),
        ({}, {"outer": agwm.TaskWeightProblem}, "outer is no problem"),
        ({}, {"mixing": agwm.MixingConfig(include=["nothing"])}, "matches nothing"),
    ],
)
def test_what_cannot_be_right_is_one_line(args, given, message, tmp_path):
    with pytest.raises(agwm.AgwmError, match=message) as caught:
        trainer(tmp_path, args=args, **given).train()
    assert "\n" not in str(caught.value)


def test_own_settings_take_the_place_of_arguments_that_mean_nothing(tmp_path):
    made = trainer(
        tmp_path,
        search={"epochs": 1, "batch_size": 10, "schedule": "linear"},
        args={"num_train_epochs": 0.5, "gradient_accumulation_steps": 2, "lr_scheduler_type": "polynomial"},
    )
    made.train()
    assert sum("search/inner_loss" in record for record in made.state.log_history) == 2


def test_search_accumulates_as_the_arguments_say(tmp_path):
    """Half of the batch in memory at a time: the same search, but for dropout, and the same steps."""
    runs = []
    for size, steps in ((8, 1), (4, 2)):
        args = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
        made = trainer(tmp_path / str(steps), args=args)
        for module in made.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        made.train()
        runs.append([r for r in made.state.log_history if "search/inner_loss" in r])
    assert [r["step"] for r in runs[0]] == [r["step"] for r in runs[1]] and len(runs[0]) > 1
    for one, other in zip(*runs, strict=True):
        assert one["search/inner_loss"] == pytest.approx(other["search/inner_loss"], rel=1e-3)
        assert one["search/direct_norm"] == pytest.approx(other["search/direct_norm"], rel=1e-2)


def test_search_warns_of_another_optimizer(tmp_path):
    with pytest.warns(agwm.AgwmWarning, match="AdamW with its usual betas.*expected optim"):
        trainer(tmp_path, args={"optim": "adafactor"})


def test_checkpoints_of_others_are_refused(whole, tmp_path):
    path = f"{whole.args.output_dir}/checkpoint-6"
    other = trainer(tmp_path, mixing=agwm.MixingConfig(alpha="row"))
    with pytest.raises(ConfigError, match="of another run: expected settings of the mixing"):
        other.train(resume_from_checkpoint=path)
    trained = trainer(tmp_path, model=AutoModelForSequenceClassification.from_pretrained(path))
    with pytest.raises(ConfigError, match="of another run: expected pretrained weights W0"):
        trained.train(resume_from_checkpoint=path)
    assert agwm.mixup_of(trained.model) is None
    plain = trainer(tmp_path / "plain", kind=Trainer, args=SAVING)
    plain.train()
    with pytest.raises(DataError, match=r"agwm_search\.safetensors.*expected"):
        trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "plain" / "checkpoint-3"))
    with pytest.raises(ValueError, match="No valid checkpoint"):
        trainer(tmp_path / "empty", args=SAVING | {"output_dir": str(tmp_path)}).train(
            resume_from_checkpoint=True
        )


def test_numbers_are_read_back_from_tensorboard(tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    made = trainer(tmp_path / "out", args={"report_to": ["tensorboard"]})
    made.train()
    (folder,) = (tmp_path / "out" / "runs").iterdir()  # where Trainer's callback writes by default
    assert not (tmp_path / "runs").exists()
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    names = set(events.Tags()["scalars"])
    weight = "bert.pooler.dense.weight"
    assert {"train/loss", "train/search/inner_loss", f"train/search/alpha_std_of/{weight}"} <= names
    for name in ("inner_loss", "outer_loss", "direct_norm", "indirect_norm", "alpha_mean", "inner_rate"):
        curve = [(one.step, one.value) for one in events.Scalars(f"train/search/{name}")]
        told = [r for r in made.state.log_history if f"search/{name}" in r]
        assert [step for step, _ in curve] == [r["step"] for r in told] == list(range(1, 9))
        assert all(
            math.isclose(value, record[f"search/{name}"], rel_tol=1e-6)
            for (_, value), record in zip(curve, told, strict=True)
        )


@pytest.mark.parametrize("is_quiet", [True, False])
def test_a_terminal_gets_no_numbers_by_weight(is_quiet, tmp_path, capsys):
    made = trainer(tmp_path, args={"disable_tqdm": is_quiet})
    made.train()
    told = "".join(capsys.readouterr())
    assert "search/alpha_mean" in told and "search/alpha_mean_of/" not in told
    assert any("search/alpha_mean_of/bert.pooler.dense.weight" in r for r in made.state.log_history)


def test_a_callback_that_is_added_later_begins_before_the_search(tmp_path):
    order = []

    class Notes(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            order.append("begin")

        def on_log(self, args, state, control, logs=None, **kwargs):
            order.append("search" if any("search/" in name for name in logs) else "log")

    made = trainer(tmp_path)
    made.add_callback(Notes())
    made.train()
    assert order[0] == "begin" and order.count("begin") == 1 and order[1] == "search"
    assert order.index("log") > max(n for n, one in enumerate(order) if one == "search")
    made.train()
    assert order.count("begin") == 2


def test_arguments_are_left_alone(tmp_path):
    args = arguments(tmp_path)
    before = args.to_json_string()
    MixupTrainer(model(), args, train_dataset=rows()).train()
    assert args.to_json_string() == before
