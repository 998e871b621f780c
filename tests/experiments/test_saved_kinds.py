"""Every kind of saved folder, loaded in a fresh process by its card's code, predicts as in memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import agwm
from agwm.data.encoding import DynamicPadding, encode
from agwm.evaluation.predictions import model_logits
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import load_examples
from agwm.experiments.run import run_one
from agwm.models.pretrained import load_pretrained, quiet_transformers

METHODS = ("vanilla", "agwm", "frozen", "lora", "prompt_tuning", "prefix_tuning")
KINDS = (*METHODS, "result", "mixup", "merged")
NAMES = ["b<a>d", "go|od"]
MAX_LENGTH = 12
PROGRAM = """
import json, os, sys, torch
texts = json.load(open("texts.json"))
for kind in sys.argv[1:]:
    os.chdir(kind)
    values = {}
    exec(open("code.py").read(), values)
    os.chdir("..")
    if "classify" in values:
        found = [values["classify"](text, top_k=None) for text in texts]
        found = [{entry["label"]: entry["score"] for entry in entries} for entries in found]
    else:
        model, found = values["model"].eval(), []
        for text in texts:
            with torch.no_grad():
                logits = model(**values["tokenizer"](text, return_tensors="pt", truncation=True)).logits
            names = model.config.id2label.values()
            found.append(dict(zip(names, logits.softmax(1)[0].tolist())))
    json.dump(found, open(f"{kind}.json", "w"))
"""
MERGED = """from transformers import pipeline

classify = pipeline("text-classification", model=".", truncation=True)
"""


def texts(number, start):
    """Return texts that tell the class by one word; in every third it comes too late to be read."""
    words = ("is bad", "is good")
    fill = "the small dog saw the big cat and the woman found the man " * 2
    return [
        f"{fill if index % 3 == 0 else ''}the {index // 10 % 10} {index % 10} dog {words[index % 2]}"
        for index in range(start, start + number)
    ]


def copy_distinct(model, folder):
    """Copy a model with weights so large that its answers differ from text to text."""
    shutil.copytree(model, folder)
    state = load_file(f"{folder}/model.safetensors")
    scaled = {name: value * (8 if value.ndim == 2 else 1) for name, value in state.items()}
    save_file(scaled, f"{folder}/model.safetensors", {"format": "pt"})


@pytest.fixture(scope="module", params=["tiny", pytest.param("minilm", marks=pytest.mark.slow)])
def saved(request, tiny_model, tmp_path_factory):
    """Save every kind, load all in one fresh process; return the folder and the answers in memory."""
    rate, base = 5e-4, "minilm"
    folder = tmp_path_factory.mktemp("kinds")
    if request.param == "tiny":
        rate, base = 1e-2, str(folder / "of_the_user" / "tiny")
        copy_distinct(tiny_model, base)
    for name, number, start in (("train", 24, 0), ("test", 12, 100)):
        rows = [{"text": text, "kind": NAMES[i % 2]} for i, text in enumerate(texts(number, start))]
        (folder / f"{name}.json").write_text("\n".join(map(json.dumps, rows)))
    stage = {"epochs": 1, "batch_size": 8, "learning_rate": rate}
    few = {"epochs": 1, "num_virtual_tokens": 4, "learning_rate": 0.1}
    config = RunConfig.from_dict(
        {
            "task": "la_mp*s", "model": base, "train_size": "whole", "seeds": 1, "save_model": True,
            "max_length": MAX_LENGTH, "vanilla": stage, "final": stage,
            "search": {**stage, "num_resplits": 1},
            "rivals": {"lora": {"epochs": 1, "learning_rate": 1e-2},
                       "prompt_tuning": few, "prefix_tuning": few},
            "data": {
                "train_file": str(folder / "train.json"), "test_file": str(folder / "test.json"),
                "text_columns": ["text"], "label_column": "kind",
            },
        }
    )  # fmt: skip
    examples = load_examples(config)
    asked = texts(12, 200)
    rows = datasets.Dataset.from_dict({"sentence1": asked, "label": [0] * len(asked)})
    expected = {}

    def keep(kind, model, tokenizer):
        encoded = encode(rows, tokenizer, examples.task, MAX_LENGTH)
        chances = model_logits(model, encoded, DynamicPadding(tokenizer)).softmax(1)
        expected[kind] = [dict(zip(NAMES, row, strict=True)) for row in chances.tolist()]

    with quiet_transformers():
        tokenizer = load_pretrained(base, NAMES, 1).tokenizer
        for method in METHODS:
            record, outcome = run_one(config, method, 1, examples, progress=False)
            assert record.failure is None
            outcome.save(folder / method)
            keep(method, outcome.model, tokenizer)
        model = load_pretrained(base, NAMES, 1).model
        tokenizer.model_max_length = MAX_LENGTH
        train = examples.train.rename_column("label", "labels")
        train = train.map(lambda row: tokenizer(row["sentence1"], truncation=True))
        settings = config.finetune_config(1)
        result = agwm.finetune(model, train, processing_class=tokenizer, config=settings, progress=False)
        result.save_pretrained(folder / "result")
        keep("result", model, tokenizer)
        mixup = agwm.inject(model, seed=0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        mixup.save_pretrained(folder / "mixup", processing_class=tokenizer)
        keep("mixup", model, tokenizer)
        mixup.merge().save_pretrained(folder / "merged")
        tokenizer.save_pretrained(folder / "merged")
        keep("merged", model, tokenizer)
    for kind in KINDS:
        card = folder / kind / "README.md"
        code = (
            re.findall(r"```python\n(.*?)```", card.read_text(), re.DOTALL) if card.exists() else [MERGED]
        )
        assert len(code) == 1
        (folder / kind / "code.py").write_text(code[0])
        if "base = 'tiny'" in code[0]:  # a folder's name: of it the card cannot know the place
            (folder / kind / "tiny").symlink_to(base)
    (folder / "texts.json").write_text(json.dumps(asked))
    (folder / "program.py").write_text(PROGRAM)
    root = str(Path(agwm.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "program.py", *KINDS]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, expected, base


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_process_predicts_as_memory_did_one_by_one(kind, saved):
    folder, expected, _ = saved
    found = json.loads((folder / f"{kind}.json").read_text())
    for here, there in zip(expected[kind], found, strict=True):
        assert there == pytest.approx(here, abs=1e-5)
    chances = [answer[NAMES[0]] for answer in found]
    assert max(chances) - min(chances) > 3e-4, "the texts are told apart"


@pytest.mark.parametrize("kind", METHODS)
def test_a_card_tells_what_was_trained_and_measured(kind, saved):
    folder, _, _ = saved
    card = (folder / kind / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    (measured,) = front["model-index"][0]["results"]
    assert measured["dataset"] == {"name": "la_mp*s", "type": "la_mp-s", "split": "test"}
    lines = [
        "| task | la\\_mp\\*s |", "| pretrained model | ", "| training examples | 24 |",
        "| texts are cut at | 12 tokens |", "| b\\<a\\>d | 12 |", "| go\\|od | 12 |",
    ]  # fmt: skip
    assert all(line in card for line in lines)
    assert re.search(r"\| test \| accuracy \| [01]\.\d{4} \| 0\.\d{3} to [01]\.\d{3} \| 12 \|", card)


@pytest.mark.parametrize("kind", KINDS)
def test_no_path_of_the_disk_is_in_a_folder(kind, saved):
    folder, _, base = saved
    for path in filter(Path.is_file, (folder / kind).iterdir()):
        text = path.read_bytes()
        for place in ("site-packages", str(folder), *([base] if "/" in base else [])):
            assert place.encode() not in text, path


def test_the_tokenizer_is_saved_as_it_was_used_and_left_as_it_was(tmp_path, saved):
    folder, _, _ = saved
    model = AutoModelForSequenceClassification.from_pretrained(folder / "vanilla")
    tokenizer = AutoTokenizer.from_pretrained(folder / "vanilla")
    assert tokenizer.model_max_length == MAX_LENGTH
    tokenizer.padding_side, tokenizer.pad_token = "left", "[UNK]"
    tokenizer.init_kwargs.pop("padding_side", None)
    card = agwm.cards.CardFacts(max_length=9)
    mixup = agwm.inject(model)
    mixup.save_pretrained(tmp_path / "out", processing_class=tokenizer, card=card)
    again = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (again.padding_side, again.pad_token, again.model_max_length) == ("left", "[UNK]", 9)
    assert tokenizer.model_max_length == MAX_LENGTH
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["pad_token_id"] == tokenizer.pad_token_id


def test_a_model_saved_into_the_folder_that_it_came_from(tmp_path, saved):
    folder, _, _ = saved
    mixup = agwm.load(folder / "mixup")
    before = {name: value.clone() for name, value in mixup.model.state_dict().items()}
    mixup.save_pretrained(tmp_path / "out")
    again = agwm.load(tmp_path / "out")
    again.save_pretrained(tmp_path / "out")
    for loaded in (again, agwm.load(tmp_path / "out")):
        state = loaded.model.state_dict()
        assert all(torch.equal(state[name], value) for name, value in before.items())
