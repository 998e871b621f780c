"""Measure what checkpoints cost: a whole run of the demo with them beside the same run without.

python -m benchmarks.checkpoint_cost --repeats 5 --out docs/bench

The run is :func:`agwm.finetune` with the packaged MiniLM, and the examples and settings of
``agwm/configs/demo.yaml``. The runs take turns, and a ratio is taken within a turn. Everything that
``checkpoint_dir`` does is in the time: digests of examples and weights, writing, bringing to the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import agwm
from agwm.configs.packaged import config_file
from agwm.data import DynamicPadding, encode
from agwm.data.quiet import quiet_datasets
from agwm.experiments.config import RunConfig, load_config
from agwm.experiments.examples import draw, load_examples
from agwm.files import make_folder, save_tree, write_json, write_text
from agwm.markdown import table
from agwm.models.pretrained import load_pretrained
from agwm.versions import versions
from benchmarks.models import CPU
from benchmarks.page import spread
from benchmarks.timing import quartiles, take_turns

__all__ = ["DEFAULT", "LIMIT", "NAME", "figures", "main", "measure_checkpoints", "record_of", "render"]

NAME = "checkpoints"
LIMIT = 0.05  # of the run without checkpoints
WITHOUT, DEFAULT = "no checkpoints", "checkpoint_step left out"
KINDS: dict[str, int | None] = {WITHOUT: None, DEFAULT: None, "checkpoint_step=10": 10}


def measure_checkpoints(config: RunConfig, repeats: int) -> list[dict[str, Any]]:
    """Time the run of a config with and without checkpoints, in turns.

    Args:
        config: The experiment; its first seed is run.
        repeats: Turns.

    Returns:
        One record a kind of run; see :func:`record_of`.
    """
    seed, examples = config.seed_list[0], load_examples(config)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in KINDS}

    def run(name: str) -> None:
        loaded = load_pretrained(config.model, examples.task.label_names, seed)
        with quiet_datasets():
            train = encode(
                draw(config, examples, seed)[0], loaded.tokenizer, examples.task, config.max_length
            )
        written: list[float] = []

        def save(path: Path, tree: Any) -> None:
            start = time.perf_counter()
            save_tree(path, tree)
            written.append(time.perf_counter() - start)

        with tempfile.TemporaryDirectory() as folder, mock.patch("agwm.checkpoints.save_tree", save):
            start, processor = time.perf_counter(), time.process_time()
            agwm.finetune(
                loaded.model,
                list(train),
                collate=DynamicPadding(loaded.tokenizer),
                config=config.finetune_config(seed),
                progress=False,
                checkpoint_dir=None if name == WITHOUT else Path(folder) / "run",
                checkpoint_step=KINDS[name],
            )
            turn = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
        found[name].append({**turn, "writing": sum(written), "files": len(written)})

    take_turns({name: lambda name=name: run(name) for name in KINDS}, repeats, CPU)
    return [record_of(name, found[name], found[WITHOUT]) for name in KINDS]


def record_of(
    name: str, own: Sequence[dict[str, float]], without: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """Return the record of a kind of run: its turns, and quartiles of what is compared."""
    record: dict[str, Any] = {"name": name, "turns": list(own)}
    for key in ("seconds", "processor"):
        record[key] = quartiles([one[key] for one in own])
        record[f"{key}_ratio"] = quartiles([a[key] / b[key] for a, b in zip(own, without, strict=True)])
    record["files"] = quartiles([one["files"] for one in own])
    record["share"] = quartiles([one["writing"] / one["seconds"] for one in own])
    return record


def figures(result: dict[str, Any]) -> dict[str, float]:
    """Return what is to be below ``LIMIT``, where checkpoint_step is left out."""
    record = next(one for one in result["records"] if one["name"] == DEFAULT)
    return {
        "more of the processor's time": record["processor_ratio"]["median"] - 1,
        "of the time for writing": record["share"]["median"],
    }


def render(result: dict[str, Any]) -> str:
    """Return the result as a Markdown page."""
    heads = (
        "",
        "Files written",
        "Share of the time for writing",
        "Processor's seconds",
        "Ratio",
        "Seconds",
        "Ratio",
    )
    rows = [
        (
            record["name"],
            f"{record['files']['median']:g}",
            spread(record["share"]),
            spread(record["processor"], 1),
            spread(record["processor_ratio"]),
            spread(record["seconds"], 1),
            spread(record["seconds_ratio"]),
        )
        for record in result["records"]
    ]
    found = figures(result)
    outcome = "met" if max(found.values()) < LIMIT else "**missed**"
    return "\n".join(
        [
            "# What checkpoints cost, measured",
            "",
            "`agwm.finetune` with the packaged MiniLM and the settings of the demo,"
            f" {result['examples']} examples, {result['threads']} thread(s).",
            f"{result['repeats']} turns of all rows; median with the quartiles; a ratio is of one turn,",
            "to the run without checkpoints. All that `checkpoint_dir` does is in it; to wait for the",
            "disk takes no time of the processor, so the share of writing is told too. Where others use",
            "the machine, the ratio of the seconds says little. This page is written by the command below.",
            "",
            "* " + ", ".join(f"{name} {number}" for name, number in result["versions"].items()),
            f"* Command: `{result['command']}`",
            f"* Took {result['minutes']:.1f} minutes",
            f"* Target where checkpoint_step is left out: each below {LIMIT:.0%}. Measured:"
            f" {', '.join(f'{value:.1%} {name}' for name, value in found.items())}: {outcome}",
            "",
            table(heads, rows, is_padded=False),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, and write ``checkpoints.json`` and ``checkpoints.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns (default: 5)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the demo's config"
    )
    parser.add_argument("--out", default="docs/bench", help="folder to write")
    given = parser.parse_args(arguments)
    config = load_config(config_file("demo"), assignments=given.set)
    start, folder = time.perf_counter(), make_folder(given.out)
    records = measure_checkpoints(config, given.repeats)
    flags = "".join(f" --set {text}" for text in given.set)
    result = {
        "command": f"python -m benchmarks.checkpoint_cost --repeats {given.repeats}{flags}",
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "examples": config.train_size,
        "repeats": given.repeats,
        "minutes": (time.perf_counter() - start) / 60,
        "records": records,
    }
    write_json(folder / f"{NAME}.json", result)
    write_text(folder / f"{NAME}.md", render(result))
    return result


if __name__ == "__main__":
    print(render(main()))
