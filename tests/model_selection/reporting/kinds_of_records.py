"""Made-up records of model selections, of the sizes and oddities that a report has to stand."""

from __future__ import annotations

import dataclasses

from agwm.model_selection.record import FoldRecord
from tests.model_selection.reporting.made_records import MULTI, SCORES, SKILLS, made

ODD_NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "a" * 150,
    "👩‍🚀 emoji 🎉",
    "שלום עולם RTL",
    "中文标签很长的名字需要截断因为它们太宽了吗是的",
    "$5_vs_$6 \\frac{a",
    "{{ 7 * 7 }} {% if x %}",
    "a\x00b\ud800c",
    "| pipe | *b* `c`",
]


def small():
    return made(rows=60, folds=3, has_test=True)


def pairs_over_three_repetitions():
    return made(rows=90, folds=5, repeats=3, columns=2, names=("no", "yes", "unknown"), sharpness=2.5)


def forty_candidates():
    skills = {f"method_{place:02d}": 2.5 - 0.05 * place for place in range(39)} | {"constant": 0.0}
    record, texts = made(
        rows=100, skills=skills, unlearned=("method_35", "method_36"), failing=("method_38",),
        alpha_of=("method_03",),
    )  # fmt: skip
    # the first eight were trained step by step: each has a picture of its own, which takes time to draw
    folds = [
        fold if fold.candidate < "method_08" else dataclasses.replace(fold, history=[])
        for fold in record.folds
    ]
    return dataclasses.replace(record, folds=folds), texts


def regression():
    return made(kind=SCORES, rows=120, columns=2, has_test=True, names=())


def multi_label():
    return made(
        kind=MULTI,
        rows=120,
        names=("sports", "politics", "music", "<b>other</b>"),
        repeats=2,
        has_test=True,
    )


def one_label():
    """A single label that a row has or has not, which libraries like to take for two classes."""
    return made(kind=MULTI, rows=60, folds=3, names=("urgent",))


def hundred_classes():
    return made(
        rows=500,
        names=[f"intent_{place:03d}" for place in range(100)],
        skills={"probe": 5.0, "constant": 0.0},
    )


def failures():
    """One candidate learned; the others failed, on all folds or on one, or did not learn."""
    record, texts = made(rows=60, folds=3, failing=("lora",), unlearned=("vanilla",))
    folds = list(record.folds)
    place = next(i for i, fold in enumerate(folds) if fold.candidate == "agwm" and fold.fold == 1)
    folds[place] = FoldRecord(
        "agwm", 0, 1, folds[place].rows, [], None, failure="The loss is NaN at step 3"
    )
    table = [
        dataclasses.replace(row, fold_scores=[row.fold_scores[0], None, row.fold_scores[2]])
        if row.name == "agwm"
        else row
        for row in record.table
    ]
    return dataclasses.replace(record, folds=folds, table=table), texts


def nothing_learned():
    return made(
        rows=40,
        folds=2,
        skills={"probe": 0.0, "vanilla": 0.0, "constant": 0.0},
        unlearned=("probe", "vanilla"),
        chosen="constant",
    )


def all_failed():
    return made(rows=40, folds=2, failing=tuple(SKILLS), chosen="probe")


def odd_names():
    """Every name and text of a user looks like markup, is very long, or is in another script."""
    skills = {name: 2.5 - 0.2 * place for place, name in enumerate(ODD_NAMES)}
    record, texts = made(rows=80, names=ODD_NAMES, skills=skills, has_test=True, alpha_of=ODD_NAMES[:1])
    odd = ODD_NAMES[0]
    test = dataclasses.replace(record.test, source=f"{odd}.csv")
    texts = [(f"{ODD_NAMES[place % len(ODD_NAMES)]} {text}",) for place, (text,) in enumerate(texts)]
    record = dataclasses.replace(
        record, conclusion=f"Take {odd}.", source=odd, text_columns=[odd], label_columns=[ODD_NAMES[1]],
        told=ODD_NAMES, metric=odd, test=test, settings={odd: odd}, versions={odd: odd}, seconds={odd: 1.0},
    )  # fmt: skip
    return record, texts


MAKERS = {
    maker.__name__: maker
    for maker in (
        small, pairs_over_three_repetitions, forty_candidates, regression, multi_label, one_label,
        hundred_classes, failures, nothing_learned, all_failed, odd_names,
    )
}  # fmt: skip
