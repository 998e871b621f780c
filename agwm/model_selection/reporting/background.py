"""Sections on the background: what was read, all settings, versions, and the time by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.blocks import Block, Folded, Items, Section, Table
from agwm.model_selection.reporting.words import brief, clean, cut, number, percent, seconds

__all__ = ["reading_section", "setup_section"]

_LONG = 20  # lines of a table that is not folded


def reading_section(record: FitRecord) -> Section:
    """Return what was said before the run, and how many rows each class has."""
    facts = [
        f"Rows: {len(record.labels)} of {brief(record.source, 200)}.",
        f"Texts: {_quoted(record.text_columns)}. Labels: {_quoted(record.label_columns)}.",
        *(cut(line, 1000) for line in record.told),
    ]
    labels = _label_table(record)
    is_long = len(labels.lines) > _LONG
    blocks: list[Block] = [Items(facts), Folded(labels.title, [labels]) if is_long else labels]
    return Section("read", "What was read", blocks)


def setup_section(record: FitRecord) -> Section:
    """Return all settings, the versions of the libraries, and where the time went."""
    flat = _flat(record.settings)
    settings = [[clean(name), cut(_written(value), 300)] for name, value in flat.items()]
    versions = [[clean(name), cut(version, 80)] for name, version in record.versions.items()]
    times = [[clean(name), seconds(value)] for name, value in record.seconds.items()]
    table = Table("Settings of the selection", ["setting", "value"], settings)
    blocks: list[Block] = [
        Table("Time by stage", ["stage", "time"], times, frozenset({1})),
        Folded("All settings", [table]) if len(settings) > _LONG else table,
        Table("Made with", ["library", "version"], versions),
    ]
    return Section("setup", "Time, settings and versions", blocks)


def _label_table(record: FitRecord) -> Table:
    labels = np.asarray(record.labels)
    names = record.label_names
    if names is None:
        cells = [(name, number(float(np.quantile(labels, q)))) for name, q in _QUANTILES.items()]
        return Table("Right scores", ["", "score"], cells, frozenset({1}))
    is_multi_label = record.problem_type == "multi_label_classification"
    counts = labels.sum(axis=0) if is_multi_label else np.bincount(labels, minlength=len(names))
    what = "label" if is_multi_label else "class"
    lines = [
        [brief(name, 80), f"{int(count):,}", percent(count / max(1, len(labels)))]
        for name, count in zip(names, counts, strict=True)
    ]
    return Table(f"Rows with each {what}", [what, "rows", "share"], lines, frozenset({1, 2}))


_QUANTILES = {"smallest": 0.0, "lower quarter": 0.25, "median": 0.5, "upper quarter": 0.75, "largest": 1.0}


def _quoted(names: list[str]) -> str:
    return ", ".join(
        f"\N{LEFT DOUBLE QUOTATION MARK}{brief(name, 80)}\N{RIGHT DOUBLE QUOTATION MARK}" for name in names
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, Mapping) and value
            else {f"{prefix}{name}": value}
        )
    return found


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
