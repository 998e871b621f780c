"""The command line of the benchmark: measure the parts that are asked for, and write the result."""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

import benchmarks
from agwm.command_line.flags import Parser
from agwm.errors import ConfigError
from agwm.experiments.records import versions
from agwm.files import make_folder, write_json, write_text
from benchmarks.fidelity import measure_fidelity
from benchmarks.growth import GROWTH, SMOKE_GROWTH, measure_growth
from benchmarks.memory import measure_memory
from benchmarks.models import DEVICES, PRECISIONS, Machine, Size
from benchmarks.page import render
from benchmarks.targets import judge
from benchmarks.timing import measure
from benchmarks.variants import FINAL, PARTS, SEARCHES, STOCKS, VANILLA, kinds
from benchmarks.whole_run import measure_run

__all__ = ["PART_NAMES", "SMOKE", "main"]

SMOKE = Size(layers=1, hidden=24, heads=2, vocabulary=64, batch=4, length=8)
PROGRAM = "python -m benchmarks"
PART_NAMES = ("time", "memory", "fidelity", "growth", "run")
NAME = "search_step"
GROWTH_REPEATS, RUN_REPEATS = 3, 2
EXAMPLES, EPOCHS = 300, 3
SMOKE_EXAMPLES, SMOKE_EPOCHS = 30, 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog=PROGRAM, description=benchmarks.__doc__.splitlines()[0])
    for name in ("layers", "hidden", "heads", "batch", "length"):
        parser.add_argument(f"--{name}", type=int, help=f"default: {getattr(Size, name)}")
    parser.add_argument("--repeats", type=int, default=5, help="turns of the time (default: 5)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: torch's own)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="default: cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: fp32")
    parser.add_argument("--parts", help=f"some of {','.join(PART_NAMES)}, with commas (default: all)")
    parser.add_argument("--out", help="folder to write (default: docs/bench; with --smoke output/bench)")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, to see that it runs")
    return parser.parse_args(arguments)


def _size(options: argparse.Namespace) -> Size:
    base = SMOKE if options.smoke else Size()
    given = {name: value for name, value in vars(options).items() if name in asdict(base)}
    size = Size(**asdict(base) | {name: value for name, value in given.items() if value is not None})
    for name, value in {**asdict(size), "repeats": options.repeats, "threads": options.threads}.items():
        if name != "dropout" and value is not None and value < 1:
            raise ConfigError(f"--{name} is out of range: expected a whole number >= 1, got {value}.")
    if size.hidden % size.heads:
        raise ConfigError(
            f"--hidden does not fit --heads: expected a multiple of {size.heads}, got {size.hidden}."
        )
    return size


def _parts(options: argparse.Namespace) -> list[str]:
    chosen = PART_NAMES if options.parts is None else options.parts.split(",")
    for name in chosen:
        if name not in PART_NAMES:
            raise ConfigError(f"--parts is unknown: expected some of {','.join(PART_NAMES)}, got {name!r}.")
    return [name for name in PART_NAMES if name in chosen]


def _command(options: argparse.Namespace) -> str:
    defaults = {"device": "cpu", "precision": "fp32", "out": options.out, "smoke": options.smoke}
    given = [
        f"--{name} {value}"
        for name, value in vars(options).items()
        if value is not None and value != defaults.get(name)
    ]
    settings = [f"{name}={value}" for name, value in _allocator().items()]
    return " ".join([*settings, PROGRAM, *(["--smoke"] if options.smoke else []), *given])


def _allocator() -> dict[str, str]:
    """Return when the environment lets the C library give memory back: fresh pages take time."""
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    return {name: os.environ[name] for name in names if name in os.environ}


def _measures(
    size: Size, machine: Machine, options: argparse.Namespace, repeats: tuple[int, int]
) -> dict[str, Callable[[], Any]]:
    """Return what measures each part."""
    growth_repeats, run_repeats = repeats
    growth = SMOKE_GROWTH if options.smoke else GROWTH
    count, epochs = (SMOKE_EXAMPLES, SMOKE_EPOCHS) if options.smoke else (EXAMPLES, EPOCHS)
    with_optimizer = (VANILLA, *SEARCHES, *PARTS, *STOCKS, FINAL)

    def measure_time() -> list[dict[str, Any]]:
        variants = [kind.build() for kind in kinds(size, machine)]
        return measure(variants, options.repeats, machine, size.batch)

    return {
        "time": measure_time,
        "memory": lambda: measure_memory(size, machine, with_optimizer),
        "fidelity": lambda: measure_fidelity(size, machine),
        "growth": lambda: measure_growth(size, machine, growth_repeats, growth),
        "run": lambda: measure_run(size, machine, run_repeats, count, epochs),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, and write ``search_step.json`` and ``search_step.md``.

    Args:
        arguments: Command line; None: the process's own.

    Returns:
        What was written to the JSON file. The names of the files tell device and precision where these
        are not the default, and whether the environment has settings of the C library's allocator.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If the folder cannot be written.
    """
    options = _parse(arguments)
    size, parts = _size(options), _parts(options)
    machine = Machine(options.device, options.precision)
    machine.check()
    folder = make_folder(options.out or ("output/bench" if options.smoke else "docs/bench"))
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    repeats = min(options.repeats, GROWTH_REPEATS), min(options.repeats, RUN_REPEATS)
    measures = _measures(size, machine, options, repeats)
    measured, seconds = {}, {}
    for name in parts:
        start = time.perf_counter()
        measured[name] = measures[name]()
        seconds[name] = time.perf_counter() - start
        gc.collect()
    packages = versions()
    result = {
        "command": _command(options),
        **asdict(machine),
        "card": machine.card,
        "processor": packages.pop("processor"),
        "threads": torch.get_num_threads(),
        "allocator": _allocator(),
        "versions": packages,
        "size": asdict(size),
        "parameters": sum(p.numel() for p in size.model().parameters()),
        "repeats": options.repeats,
        "growth_repeats": repeats[0],
        "run_repeats": repeats[1],
        "minutes": sum(seconds.values()) / 60,
        "part_seconds": seconds,
        "targets": judge(measured),
        "parts": measured,
    }
    tags = [tag for tag, usual in ((machine.device, "cpu"), (machine.precision, "fp32")) if tag != usual]
    name = "_".join([NAME, *tags, *(["malloc"] if result["allocator"] else [])])
    write_json(folder / f"{name}.json", result)
    write_text(folder / f"{name}.md", render(result))
    return result
