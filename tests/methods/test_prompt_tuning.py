"""Prompt tuning follows its formula, and the first token keeps the place that is classified at."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, ElectraConfig

from agwm.errors import ConfigError, MethodError
from agwm.methods.prompt_tuning import PromptTuning, PromptTuningSettings, pools_first
from agwm.models.families import head_names
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import _SHARED, FAMILIES, batch, examples, pretrained
from agwm.training.config import TrainingConfig
from tests.methods.exact import double, still

RECIPE = FinetuneConfig()
FIRST = 3  # the id that begins the examples here


def with_first(inputs):
    inputs = {key: value.clone() for key, value in inputs.items()}
    inputs["input_ids"][:, 0] = FIRST
    return inputs


def prepared(settings, loaded, inputs):
    method = PromptTuning(settings)
    model = method.reparametrize(loaded, RECIPE, 3).double()
    method.before_training(model, [inputs], 1)
    return method, model, model.prompt_encoder["default"].embedding.weight


def test_one_step_by_hand():
    loaded, inputs = still(), with_first(double())
    plain = copy.deepcopy(loaded.model)
    method, model, prompt = prepared(PromptTuningSettings(num_virtual_tokens=4), loaded, inputs)
    table = plain.get_input_embeddings().weight.detach()
    assert prompt.shape == (5, 16) and torch.equal(prompt[0], table[FIRST])
    assert all(any(torch.equal(row, other) for other in table) for row in prompt[1:])  # of the vocabulary
    soft = prompt[1:].detach().clone().requires_grad_()
    rows = len(inputs["labels"])
    stacked = torch.cat(
        [table[FIRST].expand(rows, 1, -1), soft.expand(rows, -1, -1), table[inputs["input_ids"]]], 1
    )
    mask = torch.ones(rows, 5 + 8)
    expected = plain(inputs_embeds=stacked, attention_mask=mask, labels=inputs["labels"])
    optimizer = method.make_optimizer(model, TrainingConfig(learning_rate=1e-2, weight_decay=0.5))
    loss = method.loss(model, inputs)
    torch.testing.assert_close(loss, expected.loss)
    loss.backward()
    expected.loss.backward()
    method.edit_gradients(model)
    torch.testing.assert_close(prompt.grad[1:], soft.grad)
    assert not prompt.grad[0].any()
    optimizer.step()
    assert not torch.equal(prompt[0], table[FIRST])  # weight decay alone
    method.after_step(model)
    assert torch.equal(prompt[0], table[FIRST])
    decayed = soft * (1 - 1e-2 * 0.5)
    torch.testing.assert_close(prompt[1:], decayed - 1e-2 * soft.grad / (soft.grad.abs() + 1e-8))


def test_the_classifier_reads_the_first_token_and_not_a_virtual_one():
    inputs = with_first(double())
    for keep in (True, False):
        settings = PromptTuningSettings(num_virtual_tokens=4, keep_first=keep)
        _, model, prompt = prepared(settings, still(), inputs)
        seen = []
        model.base_model.bert.embeddings.LayerNorm.register_forward_hook(
            lambda _, __, output, seen=seen: seen.append(output[:, 0])
        )
        model(**inputs)
        plain = still().model
        alone = plain.bert.embeddings(input_ids=inputs["input_ids"])[:, 0]
        assert torch.equal(seen[0], alone) is keep
        assert len(prompt) == 4 + keep


def test_which_families_classify_at_the_first_position():
    first = {family for family in FAMILIES if pools_first(pretrained(family).model)}
    assert first >= {"bert", "roberta", "electra", "deberta", "deberta-v2"}
    assert not first & {"xlnet", "llama"}


def test_the_first_token_is_the_commonest_that_is_no_padding():
    loaded, inputs = still(), double()
    inputs["input_ids"][:, 1] = FIRST
    inputs["input_ids"][:3, 1] = 7
    inputs["attention_mask"][:, 0] = 0  # padding on the left
    _, _, prompt = prepared(PromptTuningSettings(num_virtual_tokens=2), loaded, inputs)
    assert torch.equal(prompt[0], loaded.model.get_input_embeddings().weight[FIRST])


def test_backbone_and_first_token_stay_and_the_adapter_is_loaded_by_peft(tmp_path):
    loaded = pretrained("deberta", tmp_path=tmp_path / "tokenizer")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    head = head_names(loaded.model)
    rows = examples()
    for row in rows:
        row["input_ids"][0] = FIRST
    job = replace(job_of(loaded), examples=rows)
    outcome = PromptTuning(PromptTuningSettings(num_virtual_tokens=4, epochs=2)).run(job)
    after = outcome.model.get_base_model().state_dict()
    for name, value in before.items():
        if name not in head:
            assert torch.equal(value, after[name]), name
    prompt = outcome.model.prompt_encoder["default"].embedding.weight
    table = before["deberta.embeddings.word_embeddings.weight"]
    assert torch.equal(prompt[0], table[FIRST])
    assert not any(torch.equal(prompt[1], row) for row in table)
    outcome.save(tmp_path / "saved")
    again = PeftModel.from_pretrained(pretrained("deberta").model, tmp_path / "saved").eval()
    torch.testing.assert_close(again(**batch()).logits, outcome.model(**batch()).logits)


def test_electra_with_narrow_embeddings():
    config = ElectraConfig(embedding_size=8, num_labels=2, **_SHARED)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    loaded = Pretrained(model, None, tuple(head_names(model)))
    outcome = PromptTuning(PromptTuningSettings(num_virtual_tokens=4, epochs=1)).run(job_of(loaded))
    assert outcome.model.prompt_encoder["default"].embedding.weight.shape == (5, 8)


def test_bart_and_padding_on_the_wrong_side_are_refused(tmp_path):
    with pytest.raises(MethodError, match="takes embeddings in place of tokens"):
        PromptTuning().check(pretrained("bart"), RECIPE)
    loaded = pretrained("llama", tmp_path=tmp_path)
    with pytest.raises(MethodError, match="expected padding on the left"):
        PromptTuning().check(loaded, RECIPE)
    loaded.tokenizer.padding_side = "left"
    PromptTuning().check(loaded, RECIPE)
    padded = [{**row, "attention_mask": row["attention_mask"].clone()} for row in examples()]
    padded[5]["attention_mask"][-1] = 0
    with pytest.raises(MethodError, match="expected padding on the left"):
        PromptTuning().run(replace(job_of(pretrained("llama")), examples=padded))


def test_padding_on_the_left_is_not_read_by_llama():
    loaded, inputs = still("llama"), double()
    _, model, _ = prepared(PromptTuningSettings(num_virtual_tokens=4), loaded, inputs)
    mask = torch.nn.functional.pad(inputs["attention_mask"], (3, 0))
    tokens = [torch.nn.functional.pad(inputs["input_ids"], (3, 0), value=filler) for filler in (0, 9)]
    outputs = [model.eval()(input_ids=padded, attention_mask=mask).logits for padded in tokens]
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("wrong", [{"init": "text"}, {"num_virtual_tokens": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError):
        PromptTuningSettings(**wrong)
