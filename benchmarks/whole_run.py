"""A whole run of the recipe beside plain finetuning, on the same examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.utils.data import default_collate

import agwm
from agwm.recipe.passes import finetune_passes, training_passes
from agwm.training.loop import train
from benchmarks.models import Machine, Size
from benchmarks.timing import count_passes, quartiles, take_turns

__all__ = ["measure_run"]

LENGTH = 32


def measure_run(size: Size, machine: Machine, repeats: int, count: int, epochs: int) -> dict[str, Any]:
    """Time ``agwm.finetune`` with one search in turns with plain finetuning.

    Args:
        size: Size of the model; texts are of at most 32 tokens, to keep it short.
        machine: Where.
        repeats: Turns.
        count: Number of examples.
        epochs: Of plain finetuning, of the search and of the final stage.

    Returns:
        Seconds, and the ratio by time and by passes: those counted on the models and those of
        ``agwm.recipe.passes``.
    """
    short = replace(size, length=min(size.length, LENGTH))
    columns = short.examples(count, seed=3)
    examples = [{name: column[i] for name, column in columns.items()} for i in range(count)]
    common = {"epochs": epochs, "batch_size": short.batch, "precision": machine.precision}
    vanilla = agwm.TrainingConfig(**common)
    config = agwm.FinetuneConfig(
        hypergradient=agwm.Hypergradient(scheme="forward"),
        search=agwm.SearchConfig(**common, num_resplits=1),
        final=vanilla,
    )
    models = [short.model(machine) for _ in range(2 * repeats)]
    passes: dict[str, float] = {}

    def run_vanilla() -> None:
        model = models.pop()

        def step() -> None:
            train(model, examples, collate=default_collate, config=vanilla, seed=0, progress=False)

        passes["vanilla"] = count_passes(model, step)[1]

    def run_recipe() -> None:
        model = models.pop()

        def step() -> None:
            agwm.finetune(model, examples, collate=default_collate, config=config, progress=False)

        passes["recipe"] = count_passes(model, step)[1]

    seconds = take_turns({"vanilla": run_vanilla, "recipe": run_recipe}, repeats, machine)
    ratios = [a / b for a, b in zip(seconds["recipe"], seconds["vanilla"], strict=True)]
    return {
        "examples": count,
        "epochs": epochs,
        "length": short.length,
        "batch": short.batch,
        "seconds": {name: quartiles(values) for name, values in seconds.items()},
        "ratio": quartiles(ratios),
        "passes": passes,
        "passes_ratio": passes["recipe"] / passes["vanilla"],
        "passes_expected": {
            "vanilla": training_passes(vanilla, count),
            "recipe": finetune_passes(config, count),
        },
    }
