"""The Markdown page of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from agwm.markdown import table
from benchmarks.fidelity import FIRST_STEP, LAST_STEP, STOCK_LAST_STEP, UNROLLED_LAST_STEP
from benchmarks.memory import HELD, PHASES

__all__ = ["render", "spread"]

MIB = 2**20


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return table(heads, rows, is_padded=False).split("\n")


def spread(quartiles: dict[str, float], digits: int = 3) -> str:
    """Return a median with its quartiles in brackets."""
    return " ".join(
        (
            f"{quartiles['median']:.{digits}f}",
            f"({quartiles['q1']:.{digits}f} to {quartiles['q3']:.{digits}f})",
        )
    )


def _targets(records: list[dict[str, Any]]) -> list[str]:
    rows = []
    for record in records:
        outcome = {None: "not measured", True: "met", False: "**missed**"}[record["is_met"]]
        figure = "" if record["figure"] is None else f"{record['figure']:.5g}"
        sign = "≥" if record["is_least"] else "≤"
        rows.append((record["name"], f"{sign} {record['limit']:g}", figure, outcome))
    return ["## Targets", "", *_table(("Figure", "Target", "Measured", ""), rows)]


def _time(records: list[dict[str, Any]], result: dict[str, Any]) -> list[str]:
    rows = (
        (
            record["name"],
            f"{record['forward_passes']:g}",
            f"{record['backward_passes']:g}",
            spread(record["seconds"]),
            spread(record["ratio"]),
            record["ratio_to"],
        )
        for record in records
    )
    return [
        "## Time",
        "",
        f"Median of {result['repeats']} turns with the quartiles; every turn runs all rows, and a ratio is",
        "taken within a turn. Passes are counted on the model in one step, parts of a batch as parts.",
        "Rows of agwm and of stock Betty are whole search iterations, inner and outer step with AdamW;",
        "the final stage is a step of W with alpha fixed. Stock Betty is its darts with the factored",
        "formula written out in tensor operations; alpha is kept outside the inner module, and the",
        "optimizer handed in is kept, without which it fails.",
        "",
        *_table(("", "Forward", "Backward", "Seconds", "Ratio", "to"), rows),
    ]


def _memory(records: list[dict[str, Any]], _: dict[str, Any]) -> list[str]:
    kinds = (*HELD, "hidden")
    held = (
        (record["name"], moment, *(_rounded(record[moment][kind] / MIB) for kind in kinds))
        for record in records
        for moment in ("between steps", "when W is updated")
    )
    peaks = (
        (
            record["name"],
            f"{record['persistent_ratio']:.3f}",
            *(_of(record["peaks"], phase, MIB) for phase in PHASES),
            f"{record['peak_ratio']:.2f}",
        )
        for record in records
    )
    each = (
        (record["name"], *(_of(record["bytes_per_parameter"], phase, 1) for phase in PHASES))
        for record in records
    )
    return [
        "## Memory",
        "",
        "What is held, in MiB: storages that can be reached, each counted once. Hidden is what is live",
        "beside them. The second row is taken when the inner optimizer has stepped: the recorded step is",
        "in it.",
        "",
        *_table(("", "When", *kinds), held),
        "The most that is live in each phase, in MiB, activations included; in the first column the larger",
        "of the two sums above over the weights, gradients and moments of the vanilla step.",
        "",
        *_table(("", "Persistent / vanilla", *PHASES, "Peak / vanilla"), peaks),
        "### Bytes per parameter",
        "",
        "The same per parameter of the model, on a batch of one text of eight tokens: activations are next",
        "to nothing, and what remains is copies of the weights.",
        "",
        *_table(("", *PHASES), each),
    ]


def _of(values: dict[str, float], key: str, unit: float) -> str:
    return _rounded(values[key] / unit) if key in values else ""


def _rounded(number: float) -> str:
    return f"{round(number, 1) + 0.0:.1f}"  # the sum makes 0.0 of -0.0


def _fidelity(records: list[dict[str, Any]], _: dict[str, Any]) -> list[str]:
    rows = (
        (record["name"], record["against"], f"{record['cosine']:.6f}", f"{record['error']:.3%}")
        for record in records
    )
    return [
        "## Fidelity",
        "",
        f"The indirect term of steps {FIRST_STEP} to {LAST_STEP} (stock Betty: to {STOCK_LAST_STEP}),"
        " the worst of them, against the exact",
        "derivative: double backward in float64, in the very dropout masks. The first step is left out:",
        "there the derivative of Adam's update all but vanishes. Attention is in plain tensor operations,",
        "whose masks can be recorded. agwm is compared for the step of AdamW that was taken, stock Betty",
        "for its own formula (Hessian = identity, no learning rate; roll-back changes nothing in it). The",
        "outer gradient is in the masks of the outer step; the column says in what the inner loss is.",
        f"With unroll_steps (outer steps {FIRST_STEP} to {UNROLLED_LAST_STEP}) the exact derivative goes"
        " through all inner",
        "steps since the last outer one, moments included, agwm's through the last alone; what that saves",
        "is under Growth.",
        "",
        *_table(("", "Exact derivative in", "Least cosine", "Largest error"), rows),
    ]


def _growth(records: list[dict[str, Any]], result: dict[str, Any]) -> list[str]:
    names = list(records[0]["ratios"])
    rows = (
        (
            record["what"],
            str(record["value"]),
            f"{record['vanilla_seconds']['median']:.3f}",
            *(spread(record["ratios"][name], 2) for name in names),
        )
        for record in records
    )
    return [
        "## Growth",
        "",
        f"Time of an iteration per inner step over that of a vanilla step, batches of"
        f" {records[0]['batch']}, {result['growth_repeats']} turns.",
        "One size is changed at a time from those above; the width of a head stays.",
        "",
        *_table(("Size", "Value", "Vanilla seconds", *names), rows),
    ]


def _run(run: dict[str, Any], result: dict[str, Any]) -> list[str]:
    rows = [
        (
            title,
            spread(run["seconds"][name], 2),
            f"{run['passes'][name]:g}",
            str(run["passes_expected"][name]),
        )
        for name, title in (("vanilla", "plain finetuning"), ("recipe", "one search and the final stage"))
    ]
    rows.append(("ratio", spread(run["ratio"], 2), f"{run['passes_ratio']:.3f}", ""))
    return [
        "## A whole run",
        "",
        f"{run['examples']} examples of {run['length']} tokens, batches of {run['batch']},"
        f" {run['epochs']} epochs of each stage; forward scheme, one search.",
        f"{result['run_repeats']} turns. Building the model is not in the time, all else is.",
        "Expected is what agwm.recipe.passes says: at a learning rate of zero, where a warm-up begins,",
        "there is no difference to take, so that one pass less is counted.",
        "",
        *_table(("", "Seconds", "Passes counted", "Passes expected"), rows),
    ]


SECTIONS: dict[str, Callable[[Any, dict[str, Any]], list[str]]] = {
    "time": _time,
    "memory": _memory,
    "fidelity": _fidelity,
    "growth": _growth,
    "run": _run,
}


def render(result: dict[str, Any]) -> str:
    """Return the result as a Markdown page."""
    size, packages = result["size"], result["versions"]
    precision = {"fp32": "float32", "bf16": "bfloat16 autocast over float32 weights"}[result["precision"]]
    machine = [f"* CPU: {result['processor']}, threads: {result['threads']}"]
    if result["card"] is not None:
        machine.append(f"* Graphics card: {result['card']}")
    lines = [
        "# The search step, measured",
        "",
        f"BERT classifier of {size['layers']} layers, hidden size {size['hidden']}, {size['heads']} heads,"
        f" {result['parameters']:,} parameters,",
        f"batches of {size['batch']} x {size['length']} random tokens, dropout {size['dropout']},"
        f" {precision}, on {result['device']}. This page is written by the command below.",
        "",
        *machine,
        "* " + ", ".join(f"{name} {number}" for name, number in packages.items()),
        f"* Command: `{result['command']}`",
        f"* Took {result['minutes']:.1f} minutes",
        "",
        *_targets(result["targets"]),
    ]
    for name, section in SECTIONS.items():
        if name in result["parts"]:
            lines += section(result["parts"][name], result)
    return "\n".join(lines)
