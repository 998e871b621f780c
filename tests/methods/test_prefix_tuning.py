"""Prefix-tuning follows its formula; what peft cannot do is refused."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from agwm.errors import MethodError
from agwm.methods.prefix_tuning import PrefixTuning, PrefixTuningSettings
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import FAMILIES, batch, pretrained
from tests.methods.exact import double, still

RECIPE = FinetuneConfig()


def test_attention_by_hand():
    """softmax(Q [P_K; K]^T / sqrt d) [P_V; V] in the second layer."""
    loaded = still()
    method = PrefixTuning(PrefixTuningSettings(num_virtual_tokens=5))
    model = method.reparametrize(loaded, RECIPE, 3).double()
    layer = model.base_model.bert.encoder.layer[1].attention.self
    seen = {}
    layer.register_forward_hook(
        lambda _, args, kwargs, output: seen.update(hidden=args[0], output=output[0]), with_kwargs=True
    )
    model(**double())
    hidden, heads = seen["hidden"], 2

    def split(values):
        return values.unflatten(-1, (heads, -1)).transpose(1, 2)

    # rows: virtual tokens; columns: keys and values of layer 0, of layer 1 ...
    table = model.prompt_encoder["default"].embedding.weight
    assert table.shape == (5, 2 * 3 * 16)
    keys, values = table.unflatten(1, (6, 16))[:, 2:4].unbind(1)
    rows = len(hidden)
    key = torch.cat([keys.expand(rows, -1, -1), layer.key(hidden)], 1)
    value = torch.cat([values.expand(rows, -1, -1), layer.value(hidden)], 1)
    scores = split(layer.query(hidden)) @ split(key).transpose(2, 3) / 8**0.5
    expected = (scores.softmax(-1) @ split(value)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(seen["output"].reshape(expected.shape), expected)
    without = (split(layer.query(hidden)) @ split(layer.key(hidden)).transpose(2, 3) / 8**0.5).softmax(-1)
    without = (without @ split(layer.value(hidden))).transpose(1, 2).flatten(2)
    assert not torch.allclose(expected, without, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_peft_cannot_do_is_refused(family):
    loaded = pretrained(family)
    if family in ("deberta", "deberta-v2", "xlnet", "bart"):
        with pytest.raises(MethodError, match="does not fit"):
            PrefixTuning().check(loaded, RECIPE)
    else:
        PrefixTuning().check(loaded, RECIPE)


@pytest.mark.parametrize("projection", [False, True])
def test_backbone_stays_and_the_adapter_is_loaded_by_peft(projection, tmp_path):
    loaded = pretrained("bert", tmp_path=tmp_path / "tokenizer")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    settings = PrefixTuningSettings(num_virtual_tokens=4, epochs=1, projection=projection)
    outcome = PrefixTuning(settings).run(job_of(loaded))
    after = outcome.model.get_base_model().state_dict()
    assert all(
        torch.equal(value, after[name.replace("classifier.", "classifier.original_module.")])
        for name, value in before.items()
    )
    encoder = outcome.model.prompt_encoder["default"]
    shapes = {name: tuple(value.shape) for name, value in encoder.named_parameters()}
    # of 3 layers, keys and values, 16 numbers wide
    assert shapes == (
        {
            "embedding.weight": (4, 16),
            "transform.0.weight": (16, 16),
            "transform.0.bias": (16,),
            "transform.2.weight": (2 * 3 * 16, 16),
            "transform.2.bias": (2 * 3 * 16,),
        }
        if projection
        else {"embedding.weight": (4, 2 * 3 * 16)}
    )
    outcome.save(tmp_path / "saved")
    assert load_file(tmp_path / "saved" / "adapter_model.safetensors")["prompt_embeddings"].shape == (4, 96)
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names
    assert "model.safetensors" not in names
    again = PeftModel.from_pretrained(pretrained("bert").model, tmp_path / "saved").eval()
    torch.testing.assert_close(again(**batch()).logits, outcome.model(**batch()).logits)
    assert not torch.allclose(pretrained("bert").model(**batch()).logits, again(**batch()).logits)


def test_virtual_tokens_count_against_the_length():
    models = {family: pretrained(family).model for family in FAMILIES}
    method = PrefixTuning()
    method.check_length(models["bert"], 44)
    with pytest.raises(MethodError, match="Set max_length to 44"):
        method.check_length(models["bert"], 45)
    job = job_of(pretrained("bert"))
    with pytest.raises(MethodError, match="at most 64 tokens, got max_length 8 and 60"):
        PrefixTuning(PrefixTuningSettings(num_virtual_tokens=60)).run(job)
