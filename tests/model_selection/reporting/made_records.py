"""A maker of records of model selections, with numbers as a real one has them."""

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
FULL = "CUDA out of memory"
UNLEARNED = "no better than a constant answer; tried learning_rate 2e-5, 1e-4, 5e-4"


def texts_of(count, columns=1, seed=0):
    """Return made-up texts of a few to 120 words."""
    rng = np.random.default_rng(seed)
    draw = lambda: " ".join(rng.choice(WORDS, int(rng.integers(3, 120))))  # noqa: E731
    return [tuple(draw() for _ in range(columns)) for _ in range(count)]


def made(
    *,
    kind=SINGLE,
    skills=None,
    names=("negative", "positive"),
    rows=200,
    folds=5,
    repeats=1,
    has_test=False,
    columns=1,
    failing=(),
    unlearned=(),
    seed=0,
    sharpness=1.0,
    chosen=None,
    alpha_of=("agwm",),
):
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
        skill = 0 if name in unlearned else skill
        for repeat, held in enumerate(parts):
            for fold, places in enumerate(held):
                place = sorted(places.tolist())
                if name in failing:
                    records.append(FoldRecord(name, repeat, fold, place, [], None, failure=FULL))
                    continue
                outputs = _outputs(
                    rng, kind, labels[place], len(names), skill, sharpness, name == "constant"
                )
                score = score_of(kind, outputs, labels[place])
                alpha = _alpha(rng) if name in alpha_of else {}
                training = _training(rng, name, score, skill)
                one = FoldRecord(
                    name, repeat, fold, place, outputs.tolist(), score, alpha=alpha, **training
                )
                records.append(one)
    metric = {SINGLE: "accuracy", MULTI: "micro_f1", SCORES: "spearman"}[kind]
    best = chosen or max((n for n in skills if n not in failing), key=skills.get)
    table = _table(kind, records, labels, skills, best, failing, unlearned)
    test = _test(rng, kind, len(names), skills.get(best, 0), sharpness) if has_test else None
    record = FitRecord(
        conclusion=f"Take {best}: 0.89 [0.86, 0.92]. agwm and LoRA are not told apart from it.",
        chosen=best,
        metric=metric,
        greater_is_better=True,
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


def _training(rng, name, score, skill):
    """Return the fields of a fold on its training."""
    fields = {"seconds": 0.2 + 4 * skill, "passes": 40 * skill}
    if name == "constant":
        return fields
    if name == "probe":
        return fields | {"settings": {"strength": 0.1}}
    tried = [{"learning_rate": rate, "epochs": 4} for rate in (2e-5, 1e-4, 5e-4)]
    trials = [TrialRecord(one, float(score + rng.normal(0, 0.03))) for one in tried]
    trials.append(
        TrialRecord({"learning_rate": 2e-3, "epochs": 4}, None, "The loss is not finite at step 12")
    )
    settings = tried[int(rng.integers(3))]
    return fields | {"settings": settings, "trials": trials, "history": _history(rng, name, skill)}


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
    others = [name for name in skills if not {name, best} & set(failing) and name not in (best, "constant")]
    tests = {name: paired_t_test(scores[name], scores[best]) for name in others}
    corrected = dict(zip(others, holm([tests[name].p_value for name in others]), strict=True))
    rows = []
    for name in skills:
        own = [fold for fold in folds if fold.candidate == name]
        row = CandidateRow(
            name=name,
            verdict="failed",
            score=None,
            low=None,
            high=None,
            fold_scores=scores[name],
            seconds=sum(fold.seconds for fold in own),
            passes=sum(fold.passes for fold in own),
            failure=FULL,
        )
        rows.append(row if name in failing else _learned(row, kind, tests.get(name), corrected.get(name)))
    is_known = {name: {"failure": UNLEARNED, "verdict": "not learned"} for name in unlearned}
    is_known |= {"constant": {"verdict": "reference", "settings": ""}}
    if best not in failing:
        is_known[best] = {"verdict": "chosen"}
    rows = [
        row if row.score is None else dataclasses.replace(row, **is_known.get(row.name, {})) for row in rows
    ]
    return sorted(rows, key=lambda row: (row.score is None, -(row.score or 0)))


def _learned(row, kind, test, p):
    mean, spread = float(np.mean(row.fold_scores)), float(np.std(row.fold_scores))
    error = 2 * spread / len(row.fold_scores) ** 0.5
    others = {"macro_f1": mean - 0.02, "log_loss": 0.4} if kind != SCORES else {"mae": 123.4}
    return dataclasses.replace(
        row,
        verdict="worse" if p is not None and p < 0.05 else "tied",
        score=mean,
        low=mean - error,
        high=mean + error,
        difference=test.difference if test else None,
        difference_low=test.low if test else None,
        difference_high=test.high if test else None,
        p_value=p,
        settings=f"learning_rate 1e-4 (2 of {len(row.fold_scores)} folds), epochs 4",
        scores={"accuracy" if kind != SCORES else "spearman": mean, **others},
        failure=None,
    )


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
