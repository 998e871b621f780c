"""A tiny BERT with its tokenizer in a folder, so that a whole run takes about a second.

The process that leads the others imports this file and runs no test: heavy libraries are imported late.
"""

from __future__ import annotations

import gc

import pytest

gc.disable()  # what is imported and collected stays to the end: to look through it again takes seconds


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()


def save_bert(folder, num_blocks):
    """Write a BERT of width 16 without a head, the same weights at every call, and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    from agwm.testing.tokens import save_tokenizer

    config = BertConfig(
        vocab_size=save_tokenizer(folder),
        hidden_size=16,
        num_hidden_layers=num_blocks,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of a two-layer BERT of width 16 without a head."""
    return save_bert(tmp_path_factory.mktemp("models") / "tiny", 2)


@pytest.fixture(scope="session")
def one_block(tmp_path_factory):
    """Folder of a BERT of one block."""
    return save_bert(tmp_path_factory.mktemp("models") / "one_block", 1)


@pytest.fixture
def own_files(tmp_path):
    """Own training and test examples: which of two words comes first."""
    paths = []
    for name, size, start in (("train", 40, 0), ("test", 20, 7)):
        lines = ["text,label"]
        for index in range(start, start + size):
            first, second = ("good", "bad") if index % 2 else ("bad", "good")
            lines.append(f"the {first} man saw {index % 10} {second} dog {index // 10},{index % 2}")
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


@pytest.fixture
def arguments(tiny_model, own_files, tmp_path):
    """Arguments of a run of about a second."""
    from tests.programs import FAST

    train, test = own_files
    options = {
        "--task": "order",
        "--model": tiny_model,
        "--train-file": train,
        "--test-file": test,
        "--text-columns": "text",
        "--train-size": 20,
        "--seeds": 1,
        "--output-dir": tmp_path / "out",
    }
    flat = [str(part) for pair in options.items() for part in pair]
    return [*flat, *(part for text in FAST for part in ("--set", text))]


@pytest.fixture
def grid_file(tiny_model, own_files, tmp_path):
    """Write a grid of runs of a moment each, into the folder ``out``."""
    import yaml

    def write(**changes):
        block = {
            "tasks": ["order"],
            "train_sizes": [20],
            "models": [str(tiny_model)],
            "seeds": 2,
            "methods": {"vanilla": {}, "agwm_k2": {"method": "agwm", "search": {"num_resplits": 2}}},
        }
        fast = {"epochs": 1}
        train, test = map(str, own_files)
        settings = {
            "data": {"train_file": train, "test_file": test, "text_columns": ["text"]},
            "device": "cpu",
            "output_dir": str(tmp_path / "out"),
            "vanilla": fast,
            "search": {**fast, "evaluations": 0},
            "final": fast,
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump({"settings": settings, "grid": {**block, **changes}}))
        return path

    return write
