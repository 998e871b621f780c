"""Jobs of the probe: real texts, single or in pairs, on a tiny BERT with its tokenizer."""

from __future__ import annotations

import dataclasses

import datasets
import numpy as np

from agwm.data.encoding import DynamicPadding, encode
from agwm.data.tasks import Task
from agwm.methods.method import Job
from agwm.models.pretrained import load_pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.training.config import TrainingConfig

__all__ = ["probe_job", "rows_of"]

NOUNS = ("cat", "dog", "man", "woman")


def rows_of(is_pair, num=60, seed=0):
    """Draw examples: whether a good or a bad one is seen; of pairs, whether both say the same."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num):
        kinds = rng.integers(0, 2, size=2)
        texts = [f"the {rng.choice(NOUNS)} is {('bad', 'good')[kind]}" for kind in kinds]
        if is_pair:
            rows.append({"sentence1": texts[0], "sentence2": texts[1], "label": int(kinds[0] == kinds[1])})
        else:
            rows.append({"sentence1": texts[0], "label": int(kinds[0])})
    return datasets.Dataset.from_list(rows)


def probe_job(tiny_model, is_pair=False, is_regression=False, **changes):
    columns = ("sentence1", "sentence2") if is_pair else ("sentence1",)
    names = None if is_regression else ("no", "yes")
    metric = "spearman" if is_regression else "accuracy"
    task = Task(name="own", text_columns=columns, label_names=names, metric=metric)
    loaded = load_pretrained(str(tiny_model), names, 0)
    rows = encode(rows_of(is_pair), loaded.tokenizer, task, 32)
    if is_regression:
        rows = rows.cast_column("labels", datasets.Value("float32"))
    pad = DynamicPadding(loaded.tokenizer)
    test = encode(rows_of(is_pair, 40, 1), loaded.tokenizer, task, 32)
    made = Job(loaded, rows, pad, None, 3, TrainingConfig(batch_size=16), FinetuneConfig(), progress=False)
    return dataclasses.replace(made, **changes), task, test, pad
