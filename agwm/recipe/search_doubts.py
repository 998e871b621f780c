"""Look for what seems a mistake in the splits of a search."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import datasets

from agwm.recipe.config import FinetuneConfig
from agwm.recipe.splits import draw_parts, num_search_steps, plain_value
from agwm.search.wiring import DOUBTFUL, never_learned

__all__ = ["DOUBTFUL", "one_answer", "search_doubts"]


def search_doubts(
    dataset: Sequence[Any],
    config: FinetuneConfig,
    class_names: Sequence[str] | None = None,
    outer_dataset: Sequence[Any] | None = None,
) -> list[str]:
    """Return one line for everything doubtful in the splits of a search, which draws the same ones.

    Only rows that lie in memory are looked at: reading others may cost, or draw random numbers.

    Args:
        dataset: Encoded examples: mappings with ``labels``.
        config: The settings, with the seed.
        class_names: Names of the classes, in index order; None: their numbers are named.
        outer_dataset: Examples of the outer split; None: a part of ``dataset``.
    """
    search = config.search
    if not config.mixing.learns_alpha or search.attention_learning_rate == 0:
        return []
    is_split = outer_dataset is None
    parts = [draw_parts(dataset, config, 0, outer_dataset)]
    num_outer = len(parts[0][1])
    lines, steps = [], num_search_steps(search, len(parts[0][0]))
    if search.unroll_steps > steps:
        lines.append(never_learned(search.unroll_steps, steps))
    # half an outer split more is rounding: five splits of a fifth each are usual
    if is_split and (
        search.num_resplits * num_outer > len(dataset) + num_outer / 2 or num_outer < search.num_resplits
    ):
        lines.append(
            f"search.num_resplits is {search.num_resplits}, with {num_outer} outer examples of"
            f" {len(dataset)} each: the searches are on nearly the same examples."
        )
    rule = config.hypergradient
    if (rule.scheme, rule.best_response, rule.order) == ("explicit", "identity", "second"):
        lines.append(
            "hypergradient.scheme is 'explicit' with best_response 'identity': what it leaves out grows"
            " with the steps of W; 'forward' takes it along."
        )
    given = [data for data in (dataset, outer_dataset) if data is not None]
    if not all(isinstance(data, list | tuple | datasets.Dataset) for data in given):
        return lines
    if is_split:
        parts += [draw_parts(dataset, config, k) for k in range(1, search.num_resplits)]
    facts = {id(data): [_row_facts(row) for row in data] for data in given}
    shared, single = 0, []
    for k, pair in enumerate(parts, 1):
        inner, outer = ([facts[id(part.dataset)][number] for number in part.indices] for part in pair)
        shared = max(shared, len({text for text, _ in inner} & {text for text, _ in outer} - {None}))
        if len(found := {label for _, label in outer}) == 1 and found != {None}:
            single.append((k, len(outer), found.pop()))
    if shared:
        where = f"in both data sets ({shared})"
        if is_split:
            where = f"in the inner and in the outer split of a search (at most {shared})"
        lines.append(f"the same texts are {where}: the outer loss is not held out.")
    if single:
        k, size, label = single[0]
        name = repr(class_names[label]) if class_names is not None and label is not None else label
        which = f"the outer split of search {k}" if is_split else "outer_dataset"
        lines.append(one_answer(which, size, name))
    return lines


def one_answer(which: str, size: int, name: object) -> str:
    """Return the line on outer examples that are all of one class.

    Args:
        which: What they are called.
        size: Their number.
        name: The class, as it is written.
    """
    count = f"{size} example{'' if size == 1 else 's'}"
    return f"{which} has {count}, all of class {name}: alpha is learned on one answer."


def _row_facts(row: Any) -> tuple[Hashable | None, int | None]:
    """Return what tells the inputs of a row, and its class; None where they cannot be had."""
    known = row if isinstance(row, Mapping) else {}
    return _key(known), _class(known.get("labels"))


def _key(row: Mapping[str, Any]) -> Hashable | None:
    """Return what tells the inputs of a row from those of another; None where that cannot be had."""
    try:
        key = [(name, plain_value(row[name])) for name in sorted(row) if name not in ("labels", "label")]
    except (TypeError, ValueError):
        return None
    return repr(key) if key else None


def _class(label: Any) -> int | None:
    """Return the number of a class; None for scores, and for labels of every token."""
    label = plain_value(label)
    return label if isinstance(label, int) else None
