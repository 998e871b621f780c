"""A finetuned head keeps the names of its classes, in whatever order a task has them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from agwm.errors import ConfigError
from agwm.models.heads import class_layer, rows_by_name
from agwm.models.pretrained import load_pretrained
from agwm.testing.jobs import side_of
from agwm.testing.tiny_models import FAMILIES, batch, pretrained
from agwm.testing.tokens import save_tokenizer

NAMES = ("apple", "pear", "plum")
ORDER = (2, 0, 1)
OTHER_ORDER = [NAMES[row] for row in ORDER]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function: family and changes of its config -> folder of a finetuned model."""

    def write(family="bert", num_labels=3, without=(), **config):
        folder = tmp_path_factory.mktemp(family) / "fruit"
        model = pretrained(family, num_labels).model
        model.config.problem_type = None
        model.save_pretrained(folder)
        save_tokenizer(folder)
        path = folder / "config.json"
        content = {key: value for key, value in json.loads(path.read_text()).items() if key not in without}
        path.write_text(json.dumps({**content, **config}))
        return folder

    return write


def named(names):
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def load(folder, names):
    return load_pretrained(str(folder), names, seed=1)


def logits(model, family="bert"):
    inputs = {key: value for key, value in batch(side=side_of(family)).items() if key != "labels"}
    with torch.no_grad():
        return model(**inputs).logits


def notes(loaded):
    """Return the notes without the one on the tiny tokenizer."""
    return [note for note in loaded.notes if "its embeddings have" not in note]


def last_layer(loaded):
    return loaded.model.get_submodule(class_layer(loaded.model))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_classes_are_predicted_in_another_order(family, saved):
    folder = saved(family, **named(NAMES))
    same, moved = load(folder, NAMES), load(folder, OTHER_ORDER)
    assert same.fresh == moved.fresh == () and notes(same) == []
    assert notes(moved)[-1].startswith("fruit: the rows of its head were moved to their names' places: ")
    for key, parameter in last_layer(same).named_parameters():
        assert torch.equal(parameter[list(ORDER)], last_layer(moved).get_parameter(key)), key
    assert torch.equal(logits(same.model, family)[:, list(ORDER)], logits(moved.model, family))
    assert moved.model.config.id2label == dict(enumerate(OTHER_ORDER))
    predicted = {
        tuple(loaded.model.config.id2label[row] for row in logits(loaded.model, family).argmax(1).tolist())
        for loaded in (same, moved)
    }
    assert len(predicted) == 1


@pytest.mark.parametrize(
    "config",
    [
        named(["APPLE", "Pear", "plum"]),
        {"id2label": named(NAMES)["id2label"]},
        {**named(NAMES), "label2id": {"apple": 2, "pear": 1, "plum": 0}},  # id2label is what users see
        {"label2id": named(NAMES)["label2id"]},
    ],
)
def test_names_are_found_wherever_they_stand(saved, config):
    folder = saved(without=("id2label", "label2id"), **config)
    plain = load_file(folder / "model.safetensors")["classifier.weight"]
    loaded = load(folder, OTHER_ORDER)
    assert torch.equal(loaded.model.classifier.weight, plain[list(ORDER)]) and loaded.fresh == ()
    is_contradicted = config.get("label2id", {}).get("apple") == 2
    assert any("contradict" in note for note in loaded.notes) == is_contradicted


def test_a_head_for_other_classes_is_made_anew_from_the_seed(saved):
    folder = saved(**named(NAMES))
    plain = load_file(folder / "model.safetensors")["classifier.weight"]
    loaded = load(folder, ["bad", "good", "so-so"])
    assert loaded.fresh == ("classifier.bias", "classifier.weight")
    note = "fruit: its head for 3 classes was replaced: expected bad, good, so-so, got apple, pear, plum"
    assert note in loaded.notes and "new: classifier.weight, classifier.bias" in loaded.origin
    weight = loaded.model.classifier.weight.detach()
    assert not torch.isclose(weight, plain).any() and 0.1 < float(weight.std()) < 0.3
    assert not bool(loaded.model.classifier.bias.any())
    assert torch.equal(weight, load(folder, ["bad", "good", "so-so"]).model.classifier.weight)
    other = load_pretrained(str(folder), ["bad", "good", "so-so"], seed=2)
    assert not torch.equal(weight, other.model.classifier.weight)


@pytest.mark.parametrize("names", [("a", "b"), ("apple", "pear", "plum", "fig"), None])
def test_a_head_of_another_size_is_told(saved, names):
    loaded = load(saved(**named(NAMES)), names)
    wanted = "a regression" if names is None else ", ".join(names)
    assert (
        f"fruit: its head for 3 classes was replaced: expected {wanted}, got apple, pear, plum"
        in loaded.notes
    )
    assert loaded.fresh == ("classifier.bias", "classifier.weight")


@pytest.mark.parametrize("config", [named(["LABEL_0", "LABEL_1", "LABEL_2"]), {"num_labels": 3}])
def test_a_head_without_names_is_kept_and_told(saved, config):
    folder = saved(without=("id2label", "label2id"), **config)
    loaded = load(folder, NAMES)
    assert torch.equal(
        loaded.model.classifier.weight, load_file(folder / "model.safetensors")["classifier.weight"]
    )
    note = "its head names no classes and was kept: its rows were taken for apple, pear, plum"
    assert f"fruit: {note}" in loaded.notes and loaded.fresh == ()


def test_regression(saved):
    folder = saved(num_labels=1, problem_type="regression")
    kept = load(folder, None)
    assert kept.fresh == () and "fruit: its head for a regression was kept" in kept.notes
    replaced = load(folder, NAMES)
    note = "fruit: its head for 1 class was replaced: expected apple, pear, plum, got a regression"
    assert note in replaced.notes and len(replaced.fresh) == 2
    # several scores are no classes either, though there are as many
    several = load(saved(problem_type="regression", **named(NAMES)), NAMES)
    assert len(several.fresh) == 2 and "got a regression" in notes(several)[-1]


def test_a_head_that_labels_tokens_is_of_another_task(saved):
    loaded = load(saved(architectures=["BertForTokenClassification"], **named(NAMES)), NAMES)
    assert len(loaded.fresh) == 2 and notes(loaded)[-1].endswith("got BertForTokenClassification")


def test_a_checkpoint_without_a_head_has_no_note(saved):
    folder = saved(**named(NAMES))
    path = folder / "model.safetensors"
    state = {key: value for key, value in load_file(path).items() if "classifier" not in key}
    save_file(state, path, {"format": "pt"})
    loaded = load(folder, ["bad", "good", "so-so"])
    assert not any("head" in note for note in loaded.notes) and len(loaded.fresh) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layer_of_the_classes_where_others_have_as_many_rows(family):
    expected = class_layer(pretrained(family, 3).model)
    assert class_layer(pretrained(family, 16).model) == expected


def test_rows_by_name():
    assert rows_by_name(["not_entailment", "Entailment"], ["entailment", "not entailment"]) == [1, 0]
    assert rows_by_name(["caf\u00e9", "bar"], ["Bar", "cafe\u0301"]) == [1, 0]
    assert rows_by_name(["a", "A"], ["A", "a"]) == [1, 0]
    assert rows_by_name(["a", "A"], ["a", "b"]) is None
    assert rows_by_name(["a", "b", "b"], ["a", "b", "c"]) is None
    assert rows_by_name(["a", "A"], ["a", "a "]) is None


MANY = "multi_label_classification"


def test_a_head_of_several_labels_is_loaded_and_kept_by_name(saved, tmp_path):
    one = load_pretrained(str(saved("bert", num_labels=2)), NAMES, seed=1, problem_type=MANY)
    assert one.model.config.problem_type == MANY and one.model.config.num_labels == 3
    inputs = {**batch(), "labels": torch.eye(3).repeat(3, 1)[:8]}
    output = one.model(**inputs)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.logits, inputs["labels"])
    torch.testing.assert_close(output.loss, expected)
    one.model.save_pretrained(tmp_path)
    one.tokenizer.save_pretrained(tmp_path)
    again = load_pretrained(str(tmp_path), OTHER_ORDER, seed=2, problem_type=MANY)
    assert again.fresh == () and again.model.config.problem_type == MANY
    assert torch.equal(logits(again.model), logits(one.model)[:, list(ORDER)])
    other = load_pretrained(str(tmp_path), NAMES, seed=2)
    assert notes(other)[-1].endswith(
        "was replaced: expected one label an example, got several labels an example"
    )
    assert other.model.config.problem_type == "single_label_classification" and other.fresh


def test_a_head_of_one_label_an_example_is_replaced_if_its_config_says_so(saved):
    folder = saved("bert", **named(NAMES), problem_type="single_label_classification")
    found = load_pretrained(str(folder), NAMES, seed=1, problem_type=MANY)
    assert notes(found)[-1].endswith("got one label an example") and found.fresh
    unsaid = load_pretrained(str(saved("bert", **named(NAMES))), NAMES, seed=1, problem_type=MANY)
    assert unsaid.fresh == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_one_label_alone(family, saved, tmp_path):
    one = load_pretrained(str(saved(family, num_labels=2)), ("spam",), seed=1, problem_type=MANY)
    assert (one.model.config.num_labels, one.model.config.id2label) == (1, {0: "spam"})
    one.model.save_pretrained(tmp_path)
    one.tokenizer.save_pretrained(tmp_path)
    again = load_pretrained(str(tmp_path), ("spam",), seed=2, problem_type=MANY)
    assert again.fresh == () and torch.equal(logits(again.model, family), logits(one.model, family))


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (
            NAMES,
            "regression",
            "single_label_classification or multi_label_classification with 3 label names",
        ),
        (None, MANY, "expected regression without label names, got 'multi_label_classification'"),
        (NAMES, "multi", "got 'multi'"),
    ],
)
def test_kinds_that_do_not_fit_the_names(names, kind, message):
    with pytest.raises(ConfigError, match=message):
        load_pretrained("minilm", names, seed=1, problem_type=kind)
