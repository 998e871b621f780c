"""Tell the user, before the first run and in each record, what a run is made of, and what is doubtful."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from agwm.data import count_cut, encode
from agwm.data.doubts import data_doubts
from agwm.data.quiet import quiet_datasets
from agwm.data.summary import part_line
from agwm.data.tables import counted
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import Examples, draw
from agwm.methods import METHODS
from agwm.models.pretrained import Pretrained
from agwm.recipe.search_doubts import search_doubts

__all__ = ["told_lines"]


def told_lines(
    config: RunConfig,
    methods: Sequence[str],
    seed: int,
    examples: Examples,
    loaded: Pretrained,
    encoded: datasets.Dataset | None = None,
) -> list[str]:
    """Say what a run is made of: training set, test set and weights in a line each, then all doubts.

    Args:
        config: The experiment.
        methods: Methods that run.
        seed: The run's seed.
        examples: All examples of the task.
        loaded: The model and its tokenizer.
        encoded: The training examples of the seed, encoded; None: they are encoded if they are looked at.
    """
    task = examples.task
    train, test = examples.facts
    drawn = draw(config, examples, seed)

    def num_cut(part: datasets.Dataset) -> int:
        return count_cut(part, loaded.tokenizer, task, config.max_length)

    with quiet_datasets():
        cut = [0 if part is None else num_cut(part) for part in drawn]
        key = (config.model, config.max_length)
        if key not in examples.counted:
            examples.counted[key] = num_cut(examples.test)
    num_drawn = sum(len(part) for part in drawn if part is not None)
    of = "" if num_drawn == len(examples.train) else f" of the {num_drawn} drawn"
    lines = [
        part_line(examples.sources[0], train, examples.sources[1], _cut(config, sum(cut), of)),
        part_line(examples.sources[1], test, examples.sources[0], _cut(config, examples.counted[key], "")),
        f"{loaded.origin}.",
        *(["A new head starts at the constant answer of least loss."] if config.start_head else []),
        *examples.notes,
        *loaded.notes,
    ]
    lines += data_doubts(train, test, examples.sources)
    if any(METHODS[name].searches_alpha() for name in methods):
        if encoded is None:
            with quiet_datasets():
                encoded = encode(drawn[0], loaded.tokenizer, task, config.max_length)
        lines += search_doubts(encoded, config.finetune_config(seed), task.label_names)
    return list(dict.fromkeys(lines))


def _cut(config: RunConfig, number: int, of: str) -> str:
    if number == 0:
        return ""
    which = f"{number}{of}" if of else counted(number, "text")
    return f"{which} cut at {config.max_length} tokens"
