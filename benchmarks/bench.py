"""Time of a search step, side by side with a vanilla step and with stock Betty.

All variants live in one process and take turns, so that a slow moment of the machine hits all of them;
a ratio is taken within a turn. CPU, float32, synthetic batches, a BERT classifier with random weights::

    python benchmarks/bench.py
    python benchmarks/bench.py --smoke
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from variants import Size, Variant, count_passes, make_variants

from agwm.errors import AgwmError, ConfigError
from agwm.records import versions
from agwm.storage import make_folder, write_json, write_text

__all__ = ["main", "measure", "render"]

SMOKE = Size(layers=1, hidden=24, heads=2, vocabulary=64, batch=2, length=8)
NAME = "search_step"


def _quartiles(values: Sequence[float]) -> dict[str, float]:
    quantiles = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    return dict(zip(("q1", "median", "q3"), quantiles.tolist(), strict=True))


def _seconds(variant: Variant) -> float:
    start = time.perf_counter()
    variant.step()
    return time.perf_counter() - start


def measure(variants: Sequence[Variant], repeats: int) -> list[dict[str, Any]]:
    """Time the variants in turns, after a first step of each that counts its passes.

    Args:
        variants: What to measure.
        repeats: Turns; each starts with another variant.

    Returns:
        One record a variant: all seconds, and quartiles of the seconds and of the ratios.
    """
    passes = {variant.name: count_passes(variant) for variant in variants}
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    gc.collect()
    gc.freeze()  # a collection inside a step then looks at what the steps made, not at all of torch
    try:
        for turn in range(repeats):
            first = turn % len(variants)
            for variant in [*variants[first:], *variants[:first]]:
                seconds[variant.name].append(_seconds(variant))
    finally:
        gc.unfreeze()
    records = []
    for variant in variants:
        own, reference = seconds[variant.name], seconds[variant.reference]
        records.append(
            {
                "name": variant.name,
                "forward_passes": passes[variant.name][0],
                "backward_passes": passes[variant.name][1],
                "seconds": _quartiles(own),
                "ratio_to": variant.reference,
                "ratio": _quartiles([a / b for a, b in zip(own, reference, strict=True)]),
                "all_seconds": own,
            }
        )
    return records


def _spread(quartiles: dict[str, float]) -> str:
    return f"{quartiles['median']:.3f} ({quartiles['q1']:.3f} to {quartiles['q3']:.3f})"


def render(result: dict[str, Any]) -> str:
    """Return the result as a Markdown page."""
    size, packages = result["size"], result["versions"]
    lines = [
        "# Time of a search step",
        "",
        f"BERT classifier of {size['layers']} layers, hidden size {size['hidden']}, {size['heads']} heads,"
        f" {result['parameters']:,} parameters,",
        f"batches of {size['batch']} x {size['length']} random tokens, dropout {size['dropout']}, float32.",
        f"Median of {result['repeats']} turns with the quartiles; every turn runs all rows, and a ratio is",
        "taken within a turn. Passes are counted on the model in one step.",
        "",
        f"* CPU: {result['processor']}, threads: {result['threads']}",
        "* " + ", ".join(f"{name} {number}" for name, number in packages.items()),
        f"* Command: `{result['command']}`",
        "",
        "| | Forward | Backward | Seconds | Ratio | to |",
        "|---|---|---|---|---|---|",
    ]
    for record in result["records"]:
        cells = (
            record["name"],
            str(record["forward_passes"]),
            str(record["backward_passes"]),
            _spread(record["seconds"]),
            _spread(record["ratio"]),
            record["ratio_to"],
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "agwm and stock Betty rows are whole search iterations, inner and outer step with AdamW.",
        "Stock Betty is its darts with the factored formula written out in tensor operations; alpha is",
        "kept outside the inner module, and the optimizer handed in is kept, without which it fails.",
    ]
    return "\n".join(lines) + "\n"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("layers", "hidden", "heads", "batch", "length"):
        parser.add_argument(f"--{name}", type=int, help=f"default: {getattr(Size, name)}")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default: 5)")
    parser.add_argument("--threads", type=int, help="threads of torch (default: torch's own)")
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


def _command(options: argparse.Namespace) -> str:
    given = [
        f"--{name} {value}"
        for name, value in vars(options).items()
        if name not in ("out", "smoke") and value is not None
    ]
    return " ".join(["python benchmarks/bench.py", *(["--smoke"] if options.smoke else []), *given])


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, and write ``search_step.json`` and ``search_step.md``.

    Args:
        arguments: Command line; None: the process's own.

    Returns:
        What was written to the JSON file.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If the folder cannot be written.
    """
    options = _parse(arguments)
    size = _size(options)
    folder = make_folder(options.out or ("output/bench" if options.smoke else "docs/bench"))
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    variants = make_variants(size)
    machine = versions()
    del machine["platform"]  # a kernel's name says nothing of its speed
    result = {
        "command": _command(options),
        "size": asdict(size),
        "parameters": sum(p.numel() for p in variants[0].model.parameters()),
        "repeats": options.repeats,
        "threads": torch.get_num_threads(),
        "processor": machine.pop("processor"),
        "versions": machine,
        "records": measure(variants, options.repeats),
    }
    write_json(folder / f"{NAME}.json", result)
    write_text(folder / f"{NAME}.md", render(result))
    return result


if __name__ == "__main__":
    try:
        print(render(main()))
    except AgwmError as error:
        raise SystemExit(f"error: {error}") from None
