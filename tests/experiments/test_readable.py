"""Before a run, its texts are compared with what the model can read."""

from __future__ import annotations

import json
import shutil

import datasets
import pytest

from agwm.data import Task
from agwm.errors import ConfigError, DataError, MethodError
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import Examples
from agwm.experiments.readable import check_readable
from agwm.experiments.run import check_method
from agwm.models.pretrained import load_pretrained
from tests.programs import main

NAMES = ("bad", "good")
TASK = Task("own", ("sentence1",), NAMES, "accuracy")
SHORT, LONG = "the good man", "the good man saw " * 16


@pytest.fixture(scope="module")
def loaded(tiny_model):
    """Return a model of 64 positions; its tokenizer has no limit."""
    return load_pretrained(str(tiny_model), NAMES, seed=1)


def examples(train=(SHORT,) * 4, test=(SHORT,) * 4):
    parts = [
        datasets.Dataset.from_dict(
            {"sentence1": list(texts), "label": [index % 2 for index in range(len(texts))]}
        )
        for texts in (train, test)
    ]
    return Examples(TASK, *parts, "fingerprint")


def test_short_texts_are_fine_whatever_max_length_says(loaded):
    check_readable(RunConfig(max_length=128), examples(), loaded)
    check_readable(RunConfig(max_length=64), examples((LONG, SHORT)), loaded)


@pytest.mark.parametrize("part", ["training", "test"])
def test_a_text_that_is_too_long_is_named(loaded, part):
    both = examples(**{"train" if part == "training" else "test": (SHORT, LONG)})
    with pytest.raises(
        ConfigError, match=f"Example 2 of the {part} set .* 64 tokens, got 66.*--set max_length=64"
    ):
        check_readable(RunConfig(max_length=65), both, loaded)


def test_vectors_before_the_tokens_count_against_the_texts_there_are(loaded):
    config = RunConfig.from_dict(
        {"max_length": 128, "rivals": {"prefix_tuning": {"num_virtual_tokens": 20}}}
    )
    check_method(config, "prefix_tuning", loaded, examples())
    with pytest.raises(MethodError, match="at most 64 tokens, got max_length 66 and 20"):
        check_method(config, "prefix_tuning", loaded, examples(test=(LONG,)))
    with pytest.raises(MethodError, match="got max_length 128 and 20"):
        check_method(config, "prefix_tuning", loaded)


def test_an_empty_text_of_which_nothing_is_left(loaded, tiny_model, tmp_path):
    check_readable(RunConfig(), examples(test=(SHORT, "")), loaded)
    folder = shutil.copytree(tiny_model, tmp_path / "bare")
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**content, "post_processor": None}))
    bare = load_pretrained(str(folder), NAMES, seed=1)
    with pytest.raises(DataError, match="Example 2 of the test set is empty: .*got ' '. Remove it"):
        check_readable(RunConfig(), examples(test=(SHORT, " ")), bare)


@pytest.mark.parametrize("text", [LONG, "kein Wort davon"])
def test_the_command_says_it_in_one_line(arguments, own_files, tmp_path, capsys, text):
    lines = own_files[0].read_text().splitlines()
    lines[1:] = [f"{text},{index % 2}" for index in range(40)]
    own_files[0].write_text("\n".join(lines) + "\n")
    assert main([*arguments, "--method", "vanilla"]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and ("--set max_length=64" in error[0]) == (text == LONG)
    assert ("knows no word of" in error[0]) == (text != LONG)
    assert not list(tmp_path.glob("out/results/*.json"))
