"""Numbers published by the paper's authors, as data; their model and data are not ours.

Scores are times 100: mean and standard deviation (ddof 0) over ten seeds, on the validation sets of GLUE.
"""

from __future__ import annotations

from dataclasses import dataclass

from agwm.markdown import table

__all__ = ["PUBLISHED", "PublishedTable", "published_page"]

Number = tuple[float, float | None]  # mean, standard deviation where it is known


@dataclass(frozen=True)
class PublishedTable:
    """One table of published numbers.

    Attributes:
        title: Its content, with model and data.
        source: Publication of the numbers.
        columns: Names of the columns.
        rows: Name of the method as published -> its numbers; None: not published.
        note: Hint for the reader; "" for none.
    """

    title: str
    source: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Number | None, ...]]
    note: str = ""


_SLIDES = "slides of the paper's authors (NAACL 2024, long.277)"
_PAPER = "text of the paper (NAACL 2024, long.277), as quoted by others"

PUBLISHED: dict[str, PublishedTable] = {
    "low_resource": PublishedTable(
        title="BERT-large, few examples: mean of eight GLUE tasks",
        source=f"{_SLIDES}, table of low-resource results; vanilla: {_PAPER}",
        columns=("n = 300", "n = 500", "n = 1000"),
        rows={
            "Vanilla": ((62.54, None), None, None),
            "Child-Tuning_D": ((62.47, 5.5), (68.35, 4.36), (74.07, 2.75)),
            "DPS Dense": ((61.69, 5.62), (68.99, 2.92), (75.00, 1.61)),
            "the paper's method": ((68.97, 3.09), (72.42, 2.14), (76.68, 1.58)),
        },
        note="Per-task numbers are in the paper's appendix and are not repeated here. The slides have no"
        " vanilla row.",
    ),
    "full_data": PublishedTable(
        title="BERT-large, full training sets",
        source=f"{_SLIDES}, table of results on full data",
        columns=("CoLA", "MRPC", "RTE", "STS-B", "average"),
        rows={
            "Vanilla": ((64.11, 1.33), (90.80, 1.77), (70.69, 2.83), (89.92, 0.61), (78.88, 1.64)),
            "Mixout": ((64.42, 1.51), (91.31, 1.08), (72.05, 1.67), (90.39, 0.57), (79.54, 1.21)),
            "R3F": ((64.62, 1.38), (91.63, 0.93), (70.75, 1.76), (89.92, 0.61), (79.23, 1.17)),
            "R-Drop": ((64.14, 1.58), (91.87, 0.78), (70.24, 2.83), (90.25, 0.49), (79.13, 1.42)),
            "Child-Tuning_D": ((64.85, 1.32), (91.52, 0.81), (71.69, 1.95), (90.42, 0.44), (79.62, 1.13)),
            "Re-init": ((64.24, 2.03), (91.61, 0.80), (72.44, 1.74), (90.71, 0.14), (79.75, 1.18)),
            "DPS Dense": ((64.98, 1.08), (91.50, 0.83), (73.14, 1.97), (90.51, 0.55), (80.03, 1.11)),
            "DPS Dense, run by the paper's authors": (
                (64.08, 1.50),
                (90.25, 2.21),
                (71.92, 1.45),
                (90.20, 0.47),
                (79.11, 1.41),
            ),
            "the paper's method": (
                (66.07, 1.35),
                (91.84, 0.37),
                (73.43, 1.52),
                (90.34, 0.48),
                (80.42, 0.93),
            ),
        },
        note="The last column is the mean of the means and the mean of the standard deviations.",
    ),
    "other_models": PublishedTable(
        title="Other models, full training sets: average of the same four tasks",
        source=f"{_SLIDES}, table of other models",
        columns=("BART", "RoBERTa", "DeBERTa", "XLNet"),
        rows={
            "Vanilla": ((80.99, 0.99), (82.18, 3.99), (83.34, 0.86), (73.90, 10.69)),
            "the paper's method": ((82.23, 0.46), (83.88, 0.86), (84.11, 0.76), (82.38, 0.96)),
        },
        note="Vanilla XLNet has degenerate seeds on CoLA and RTE. The checkpoints are not stated.",
    ),
    "ablations": PublishedTable(
        title="Ablations, BERT-large, full training sets: average of the same four tasks",
        source=_PAPER,
        columns=("average",),
        rows={
            "W and alpha learned together, without two levels": ((78.86, 1.48),),
            "random fixed alpha, sigma = 0.005": ((79.36, None),),
            "random fixed alpha, sigma = 0.45": ((69.29, None),),
        },
        note="There is no published run with alpha held at 1.",
    ),
}


def published_page() -> str:
    """Write all published numbers in Markdown."""
    parts = [
        "Published by the paper's authors, not measured here: another model, other training sets and other"
        " seeds' subsets. Nothing in the tables above comes from these, and they do not compare number by"
        " number.\n"
    ]
    for one in PUBLISHED.values():
        head = ("published", *one.columns)
        lines = [(name, *map(_text, numbers)) for name, numbers in one.rows.items()]
        parts.append(f"**{one.title}.** Source: {one.source}.\n")
        parts.append(
            table(head, lines, right=range(1, len(head))) + (f"\n{one.note}\n" if one.note else "")
        )
    return "\n".join(parts)


def _text(number: Number | None) -> str:
    if number is None:
        return "-"
    mean, std = number
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"
