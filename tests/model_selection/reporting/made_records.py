"""Made-up records of model selections, of the sizes and oddities that a report has to stand."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from agwm.evaluation.significance import holm, paired_t_test
from agwm.model_selection.record import CandidateRow, FitRecord, FoldRecord, TestRecord, TrialRecord

SINGLE, MULTI, SCORES = "single_label_classification", "multi_label_classification", "regression"
# Candidate -> how much its outputs know, from 0 (nothing) to about 3.
SKILLS = {"probe": 2.4, "agwm": 2.3, "lora": 2.2, "vanilla": 1.4, "constant": 0.0}
WORDS = "the film is a warm and funny look at people who try hard and fail better each time".split()
ODD_NAMES = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a" * 150, "👩‍🚀 emoji 🎉", "שלום עולם RTL",
    "中文标签很长的名字需要截断因为它们太宽了吗是的", "$5_vs_$6 \\frac{a", "{{ 7 * 7 }} {% if x %}", "a\x00b\ud800c", "| pipe | *b* `c`",
]  # fmt: skip


def texts_of(count, columns=1, seed=0):
    """Return made-up texts of a few to 120 words."""
    rng = np.random.default_rng(seed)
    draw = lambda: " ".join(rng.choice(WORDS, int(rng.integers(3, 120))))  # noqa: E731
    return [tuple(draw() for _ in range(columns)) for _ in range(count)]


def made(
    *, kind=SINGLE, skills=None, names=("negative", "positive"), rows=200, folds=5, repeats=1, has_test=False,
    columns=1, failing=(), unlearned=(), metric=None, seed=0, sharpness=1.0, chosen=None, alpha_of=("agwm",),
):  # fmt: skip
    """Return a record and the texts of its rows.

    Args:
        kind: The problem type.
        skills: Candidate -> skill; the best one is chosen.
        names: Classes or labels.
        rows: Number of rows.
        folds: Folds a repetition.
        repeats: Repetitions.
        has_test: Add a test file.
        columns: Texts a row.
        failing: Candidates that fail on all folds.
        unlearned: Candidates that did not learn.
        metric: Name of the metric.
        seed: Seed of all numbers.
        sharpness: Factor of the logits: above 1 probabilities are too sure.
        chosen: Name of the chosen one; None: the best.
        alpha_of: Candidates with alpha.
    """
    rng = np.random.default_rng(seed)
    skills = dict(SKILLS if skills is None else skills)
    labels = _labels(rng, kind, rows, len(names))
    parts = [np.array_split(rng.permutation(rows), folds) for _ in range(repeats)]
    records = []
    for name, skill in skills.items():
        is_constant = name == "constant"
        for repeat, held in enumerate(parts):
            for fold, places in enumerate(held):
                place = sorted(places.tolist())
                if name in failing:
                    records.append(
                        FoldRecord(name, repeat, fold, place, [], None, failure="CUDA out of memory")
                    )
                    continue
                outputs = _outputs(
                    rng,
                    kind,
                    labels[place],
                    len(names),
                    0 if name in unlearned else skill,
                    sharpness,
                    is_constant,
                )
                score = score_of(kind, outputs, labels[place])
                settings, trials, history = {}, [], []
                if not is_constant:
                    settings, trials = _trials(rng, name, score)
                    history = [] if name == "probe" else _history(rng, name, skill)
                records.append(
                    FoldRecord(
                        name, repeat, fold, place, outputs.tolist(), score, settings, trials, 0.2 + 4 * skill,
                        40 * skill, history, _alpha(rng) if name in alpha_of else {},
                    )
                )  # fmt: skip
    metric = metric or {SINGLE: "accuracy", MULTI: "micro_f1", SCORES: "spearman"}[kind]
    best = chosen or max((n for n in skills if n not in failing), key=skills.get)
    table = _table(kind, records, labels, skills, best, failing, unlearned)
    test = _test(rng, kind, len(names), skills.get(best, 0), sharpness) if has_test else None
    record = FitRecord(
        conclusion=f"Take {best}: 0.89 [0.86, 0.92]. agwm and LoRA are not told apart from it; vanilla is lower.",
        chosen=best,
        metric=metric,
        greater_is_better=metric not in ("mae", "log_loss"),
        label_names=None if kind == SCORES else list(names),
        problem_type=kind,
        labels=labels.tolist(),
        source="train.csv",
        text_columns=["sentence1", "sentence2"][:columns],
        label_columns=["label"],
        told=[
            f"Read {rows} rows of train.csv. No row was removed.",
            "3 texts are longer than 128 tokens and are cut.",
            "2 texts stand twice; each pair is in one fold.",
        ],
        table=table,
        folds=records,
        test=test,
        settings={"model": "minilm", "budget": "normal", "seed": 1017, "training": {"batch_size": 16}},
        versions={"agwm": "0.9", "torch": "2.9.0", "transformers": "5.1.0"},
        seconds={"reading": 0.4, "cross-validation": 402.5, "training on all rows": 31.0, "reloading": 1.1},
    )
    return record, texts_of(rows, columns)


def score_of(kind, outputs, labels):
    """Return accuracy, micro-F1 or Spearman's correlation."""
    if kind == SCORES:
        return 0.0 if np.ptp(outputs) == 0 else float(stats.spearmanr(outputs[:, 0], labels).statistic)
    if kind == MULTI:
        return float(sk.f1_score(labels, outputs > 0.5, average="micro", zero_division=0.0))
    return float((outputs.argmax(axis=1) == labels).mean())


def small():
    return made(rows=60, folds=3, has_test=True)


def pairs_over_three_repetitions():
    return made(rows=90, folds=5, repeats=3, columns=2, names=("no", "yes", "unknown"), sharpness=2.5)


def forty_candidates():
    skills = {f"method_{place:02d}": 2.5 - 0.05 * place for place in range(39)} | {"constant": 0.0}
    return made(
        rows=100, skills=skills, unlearned=("method_35", "method_36"), failing=("method_38",),
        alpha_of=("method_03",),
    )  # fmt: skip


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
    return dataclasses.replace(record, folds=folds), texts


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
        small, pairs_over_three_repetitions, forty_candidates, regression, multi_label, hundred_classes, failures,
        nothing_learned, all_failed, odd_names,
    )
}  # fmt: skip


def _labels(rng, kind, rows, count):
    if kind == SCORES:
        return rng.uniform(0, 5, rows).round(2)
    if kind == MULTI:
        return (rng.uniform(size=(rows, count)) < 0.35).astype(int)
    shares = np.linspace(2, 1, count)
    return rng.choice(count, rows, p=shares / shares.sum())


def _outputs(rng, kind, labels, count, skill, sharpness, is_constant):
    if kind == SCORES:
        answers = (
            2.5 if is_constant else 2.5 + 0.35 * skill * (labels - 2.5) + rng.normal(0, 0.6, len(labels))
        )
        return np.broadcast_to(answers, len(labels)).reshape(-1, 1).copy()
    if kind == MULTI:
        logits = skill * (2 * labels - 1) + (0 if is_constant else rng.normal(0, 1.3, labels.shape)) - 0.3
        return 1 / (1 + np.exp(-sharpness * logits))
    logits = np.zeros((len(labels), count)) if is_constant else rng.normal(0, 1.2, (len(labels), count))
    logits[np.arange(len(labels)), labels] += skill
    logits[:, 0] += 0.1
    return np.exp(sharpness * logits) / np.exp(sharpness * logits).sum(axis=1, keepdims=True)


def _trials(rng, name, score):
    if name == "probe":
        return {"strength": 0.1}, []
    tried = [{"learning_rate": rate, "epochs": 4} for rate in (2e-5, 1e-4, 5e-4)]
    trials = [TrialRecord(one, float(score + rng.normal(0, 0.03))) for one in tried]
    trials.append(
        TrialRecord({"learning_rate": 2e-3, "epochs": 4}, None, "The loss is not finite at step 12")
    )
    return tried[int(rng.integers(3))], trials


def _history(rng, name, skill):
    phases = (("search", 8), ("final", 4)) if name == "agwm" else (("training", 6),)
    history = []
    for phase, count in phases:
        for step in range(1, count + 1):
            loss = 0.7 * np.exp(-0.25 * skill * step) + rng.normal(0, 0.02)
            history.append(
                {"phase": phase, "step": 10 * step, "loss": float(loss), "dev": float(0.9 - loss / 2)}
            )
    return history


def _alpha(rng):
    kinds = ("attention.self.query", "attention.self.value", "intermediate.dense")
    found = {}
    for layer in range(6):
        for kind in kinds:
            mean = 1 - 0.004 * (layer + 1) - float(rng.uniform(0, 0.002))
            found[f"bert.encoder.layer.{layer}.{kind}.weight"] = {
                "mean": mean,
                "min": mean - 0.1,
                "max": 1.0,
            }
    return found | {"bert.pooler.dense.weight": {"mean": 0.98, "min": 0.9, "max": 1.0}}


def _table(kind, folds, labels, skills, best, failing, unlearned):
    scores = {name: [fold.score for fold in folds if fold.candidate == name] for name in skills}
    others = [name for name in skills if name not in (best, "constant", *failing) and best not in failing]
    tests = {name: paired_t_test(scores[name], scores[best]) for name in others}
    corrected = dict(zip(others, holm([tests[name].p_value for name in others]), strict=True))
    rows = []
    for name in skills:
        own = [fold for fold in folds if fold.candidate == name]
        cost = {"seconds": sum(fold.seconds for fold in own), "passes": sum(fold.passes for fold in own)}
        if name in failing:
            rows.append(
                CandidateRow(
                    name, "failed", None, None, None, scores[name], **cost, failure="CUDA out of memory"
                )
            )
            continue
        mean, error = (
            float(np.mean(scores[name])),
            float(2 * np.std(scores[name]) / len(scores[name]) ** 0.5),
        )
        p = corrected.get(name)
        verdict = "worse" if p is not None and p < 0.05 else "tied"
        verdict = "reference" if name == "constant" else "not learned" if name in unlearned else verdict
        test = tests.get(name)
        rows.append(
            CandidateRow(
                name, "chosen" if name == best else verdict, mean, mean - error, mean + error, scores[name], **cost,
                difference=test.difference if test else None,
                difference_low=test.low if test else None,
                difference_high=test.high if test else None,
                p_value=p,
                settings="" if name == "constant" else f"learning_rate 1e-4 (2 of {len(own)} folds), epochs 4",
                scores={"accuracy": mean, "macro_f1": mean - 0.02, "log_loss": 0.4} if kind != SCORES else {"spearman": mean, "mae": 123.4},
                failure="no better than a constant answer; tried learning_rate 2e-5, 1e-4, 5e-4" if verdict == "not learned" else None,
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row.score is None, -(row.score or 0)))


def _test(rng, kind, count, skill, sharpness):
    labels = _labels(rng, kind, 150, count)
    outputs = _outputs(rng, kind, labels, count, skill, sharpness, False)
    score = score_of(kind, outputs, labels)
    return TestRecord(
        "test.csv",
        score,
        score - 0.05,
        score + 0.05,
        {"accuracy": score},
        outputs.tolist(),
        labels.tolist(),
    )
