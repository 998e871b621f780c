"""Folders and models that cannot be loaded or saved: one clear error each."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from torch import nn
from transformers import BertForSequenceClassification

import agwm
from agwm.errors import ConfigError, DataError, ModelError, ShapeError
from tests.killed import FORK
from tests.mixing.saving_checks import Halved, Plain, check_same, saved
from tests.tiny_models import tiny_bert


def test_a_failed_save_leaves_the_older_one(tmp_path, monkeypatch):
    mixup = saved(tmp_path / "out")

    def fail(self, folder, **kwargs):
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BertForSequenceClassification, "save_pretrained", fail)
    with pytest.raises(
        DataError, match=r"not writable.*\(No space left on device\).*what was there is unch"
    ):
        agwm.inject(tiny_bert(num_labels=3)).save_pretrained(tmp_path / "out")
    check_same(agwm.load(tmp_path / "out"), mixup)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_without_room_leaves_the_older_save(tmp_path):
    mixup = saved(tmp_path / "out")

    def save(queue):
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # bytes; config and index fit
        try:
            agwm.inject(tiny_bert(num_labels=3)).save_pretrained(tmp_path / "out")
        except DataError as error:
            queue.put(str(error))

    queue = FORK.SimpleQueue()
    process = FORK.Process(target=save, args=(queue,))
    process.start()
    process.join()
    message = queue.get()
    assert (
        "Output folder is not writable" in message and "File too large" in message and "\n" not in message
    )
    check_same(agwm.load(tmp_path / "out"), mixup)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_plain_module_has_to_be_given(tmp_path):
    saved(tmp_path, Plain())
    with pytest.raises(ModelError, match=r"only Hugging Face models .*model=\.\.\."):
        agwm.load(tmp_path)
    with pytest.raises(ModelError, match="expected 'Plain', got 'Linear'"):
        agwm.load(tmp_path, model=nn.Linear(3, 3))
    with pytest.raises(ShapeError, match="size mismatch for first.weight"):
        agwm.load(tmp_path, model=Plain(width=5))
    injected = Plain()
    agwm.inject(injected)
    with pytest.raises(ModelError, match="injected already"):
        agwm.load(tmp_path, model=injected)


def test_own_form_has_to_be_given(tmp_path):
    mixup = saved(tmp_path, alpha=Halved)
    with pytest.raises(ConfigError, match=r"Pass agwm\.load\(directory, alpha=Halved\)"):
        agwm.load(tmp_path)
    with pytest.raises(ConfigError, match="expected 'Halved', as saved, got 'row'"):
        agwm.load(tmp_path, alpha="row")
    check_same(agwm.load(tmp_path, alpha=Halved), mixup)


def test_own_form_that_changed_is_refused(tmp_path):
    saved(tmp_path, alpha=Halved)
    changed = type("Halved", (agwm.Alpha,), {
        "create_parameters": lambda self: setattr(self, "a", self.new_factor(1)),
        "factors": lambda self: (self.a,),
    })  # fmt: skip
    with pytest.raises(ShapeError, match="Alpha of 'bert.encoder.layer.0.attention.self.query.weight'"):
        agwm.load(tmp_path, alpha=changed)


def test_own_class_of_model(tmp_path):
    class OwnBert(BertForSequenceClassification):
        pass

    own = OwnBert(tiny_bert(num_labels=3).config)
    mixup = saved(tmp_path, own)
    with pytest.raises(ModelError, match="Cannot build 'OwnBert': expected a model class of transformers"):
        agwm.load(tmp_path)
    check_same(agwm.load(tmp_path, model=OwnBert(own.config).eval()), mixup)


def test_missing_folder_and_foreign_folder(tmp_path):
    for place in (tmp_path / "nowhere", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(DataError, match="no such folder"):
            agwm.load(place)
    tiny_bert().save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"a folder without agwm\.json.*from_pretrained"):
        agwm.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 99}'])
def test_index_of_another_format(text, tmp_path):
    (tmp_path / "agwm.json").write_text(text)
    with pytest.raises(DataError, match="expected format 1"):
        agwm.load(tmp_path)


def test_index_that_is_no_json(tmp_path):
    (tmp_path / "agwm.json").write_text("{")
    with pytest.raises(DataError, match="expected a JSON file"):
        agwm.load(tmp_path)


@pytest.mark.parametrize("name", ["agwm_pretrained.safetensors", "agwm_attention.safetensors"])
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_damaged_folder(name, damage, tmp_path):
    saved(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="expected a safetensors file"):
        agwm.load(tmp_path)


def test_weight_that_the_folder_lacks(tmp_path):
    saved(tmp_path)
    index = json.loads((tmp_path / "agwm.json").read_text())
    index["weights"][0]["name"] = "bert.encoder.nothing.weight"
    (tmp_path / "agwm.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="expected 'bert.encoder.nothing.weight' in the model"):
        agwm.load(tmp_path)


def test_pretrained_weights_of_another_shape(tmp_path):
    saved(tmp_path)
    other = tmp_path / "other"
    saved(other, tiny_bert(num_labels=3, hidden=8))
    for name in ("agwm_pretrained.safetensors", "agwm_attention.safetensors"):
        (tmp_path / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ShapeError):
        agwm.load(tmp_path)


def test_taken_off_hook_is_not_saved(tmp_path):
    mixup = saved(tmp_path / "a")
    mixup.remove()
    with pytest.raises(ModelError, match="no longer on the model"):
        mixup.save_pretrained(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_folder_that_cannot_be_written(tmp_path):
    mixup = saved(tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not writable"):
        mixup.save_pretrained(tmp_path / "file")
