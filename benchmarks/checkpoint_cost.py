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

__all__ = ["DEFAULT", "LIMIT", "NAME", "main", "measure_checkpoints", "render"]

NAME = "checkpoints"
LIMIT = 1.05  # of the time with the default checkpoint_step to that without checkpoints
WITHOUT, DEFAULT = "no checkpoints", "checkpoint_step left out"
KINDS: dict[str, int | None] = {WITHOUT: None, DEFAULT: None, "checkpoint_step=10": 10}


def measure_checkpoints(config: RunConfig, repeats: int) -> list[dict[str, Any]]:
    """Time the run of a config with and without checkpoints, in turns.

    Args:
        config: The experiment; its first seed is run.
        repeats: Turns.

    Returns:
        One record a kind of run: quartiles of the seconds, of the processor's, of the ratios of both to the
        run without checkpoints, and of the seconds of writing; and how many files were written.
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
            figures = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
        found[name].append({**figures, "writing": sum(written), "files": len(written)})

    take_turns({name: lambda name=name: run(name) for name in KINDS}, repeats, CPU)
    return [_record(name, found[name], found[WITHOUT]) for name in KINDS]


def _record(
    name: str, own: Sequence[dict[str, float]], without: Sequence[dict[str, float]]
) -> dict[str, Any]:
    record: dict[str, Any] = {"name": name, "files": own[0]["files"], "turns": list(own)}
    for key in ("seconds", "processor"):
        record[key] = quartiles([one[key] for one in own])
        record[f"{key}_ratio"] = quartiles([a[key] / b[key] for a, b in zip(own, without, strict=True)])
    record["writing"] = quartiles([one["writing"] for one in own])
    return record


def render(result: dict[str, Any]) -> str:
    """Return the result as a Markdown page."""
    heads = ("", "Files written", "Seconds of writing", "Seconds", "Ratio", "Ratio of the processor's time")
    rows = [
        (
            record["name"],
            str(record["files"]),
            spread(record["writing"], 2),
            spread(record["seconds"], 1),
            spread(record["seconds_ratio"]),
            spread(record["processor_ratio"]),
        )
        for record in result["records"]
    ]
    ratio = next(one for one in result["records"] if one["name"] == DEFAULT)["seconds_ratio"]["median"]
    packages = result["versions"]
    return "\n".join(
        [
            "# What checkpoints cost, measured",
            "",
            "`agwm.finetune` with the packaged MiniLM and the settings of the demo,"
            f" {result['examples']} examples, {result['threads']} threads.",
            f"{result['repeats']} turns of all rows; median with the quartiles; a ratio is of one turn.",
            "All that `checkpoint_dir` does is in the time. This page is written by the command below.",
            "",
            "* " + ", ".join(f"{name} {number}" for name, number in packages.items()),
            f"* Command: `{result['command']}`",
            f"* Took {result['minutes']:.1f} minutes",
            f"* Target: a ratio of at most {LIMIT:g} where checkpoint_step is left out; measured"
            f" {ratio:.3f}, {'met' if ratio <= LIMIT else '**missed**'}",
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
