"""The numbers of the page, each against one computed by hand or by another way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as sk

from agwm.model_selection.record import FoldRecord
from agwm.model_selection.reporting.alpha import alpha_grid
from agwm.model_selection.reporting.blocks import Cell, Folded, Items, Table, Text
from agwm.model_selection.reporting.calibration import calibration_bins
from agwm.model_selection.reporting.candidates import conclusion_section
from agwm.model_selection.reporting.held_out import held_out
from agwm.model_selection.reporting.mistakes import mistake_section
from tests.model_selection.reporting.kinds_of_records import MAKERS
from tests.model_selection.reporting.made_records import SINGLE, made
from tests.model_selection.reporting.page_reading import blocks_of, pictures_of, table_of


def hand_made(outputs, labels, names=("no", "yes"), repeats=1, **changes):
    """Return a record of one candidate, `a`, with one fold a repetition."""
    record, texts = made(rows=len(labels), folds=1, skills={"a": 1.0}, names=names)
    outputs = np.asarray(outputs).reshape(repeats, len(labels), -1)
    folds = [
        FoldRecord("a", repeat, 0, list(range(len(labels))), outputs[repeat].tolist(), 0.5)
        for repeat in range(repeats)
    ]
    return dataclasses.replace(record, folds=folds, labels=labels, **changes), texts


def test_the_conclusion_is_first_and_the_test_file_judges_the_interval():
    record, _ = MAKERS["small"]()
    row = next(row for row in record.table if row.name == record.chosen)
    for score, word in (((row.low + row.high) / 2, "holds it"), (row.low - 0.01, "does not hold it")):
        changed = dataclasses.replace(record, test=dataclasses.replace(record.test, score=score))
        first, second = conclusion_section(changed).blocks
        assert first.text == record.conclusion and second.text.endswith(f"], {word}.")
        assert "test.csv, scored once" in second.text
    assert len(conclusion_section(dataclasses.replace(record, test=None)).blocks) == 1


def test_the_table_has_a_line_a_candidate(sections):
    record, _ = MAKERS["failures"]()
    lines = table_of(sections("failures"), "candidates", "Candidates by accuracy, the best first; higher")
    assert [line["candidate"] for line in lines] == [row.name for row in record.table]
    by_name = {line["candidate"]: line for line in lines}
    assert by_name["probe"]["verdict"] == "chosen" and by_name["probe"]["difference"] == "–"
    assert by_name["lora"]["verdict"] == "failed" and by_name["lora"]["score"] == "–"
    assert by_name["vanilla"]["verdict"] == "did not learn"
    agwm = next(row for row in record.table if row.name == "agwm")
    assert by_name["agwm"]["score"] == f"{agwm.score:.3f}"
    assert by_name["agwm"]["difference"].startswith(f"+{agwm.difference:.3f} [")
    reasons = table_of(sections("failures"), "candidates", "Why some")
    assert {line["candidate"]: line["reason"] for line in reasons}["lora"] == "CUDA out of memory"
    assert "no better than a constant answer" in reasons[0]["reason"]


def test_lower_is_said_to_be_better_for_losses():
    from agwm.model_selection.reporting.page import sections_of

    record, texts = MAKERS["small"]()
    record = dataclasses.replace(record, metric="log_loss", greater_is_better=False)
    assert (
        "log_loss, the best first; lower is better" in blocks_of(sections_of(record, texts), Table)[0].title
    )


def test_scores_by_fold_name_failures(sections):
    lines = {line["candidate"]: line for line in table_of(sections("failures"), "folds", "by fold")}
    assert lines["agwm"]["2"] == "failed" and lines["agwm"]["1"] != "failed"
    failures = table_of(sections("failures"), "folds", "Failures")
    assert {
        "candidate": "agwm",
        "repetition.fold": "1.2",
        "reason": "The loss is NaN at step 3",
    } in failures
    several = table_of(sections("pairs_over_three_repetitions"), "folds", "by repetition and fold")
    assert list(several[0])[1:] == [f"{repeat}.{fold}" for repeat in (1, 2, 3) for fold in (1, 2, 3, 4, 5)]


def test_confusion_and_class_scores_are_those_of_all_held_out_answers(sections):
    record, _ = MAKERS["pairs_over_three_repetitions"]()
    right, found = [], []
    for fold in record.folds:
        if fold.candidate == record.chosen:
            right += [record.labels[row] for row in fold.rows]
            found += [int(np.argmax(line)) for line in fold.outputs]
    assert len(right) == 3 * len(record.labels)
    lines = table_of(sections("pairs_over_three_repetitions"), "answers", "Confusion matrix")
    counts = [[int(cell) for cell in list(line.values())[1:]] for line in lines]
    assert counts == sk.confusion_matrix(right, found).tolist()
    scores = table_of(sections("pairs_over_three_repetitions"), "answers", "Scores of each class")
    expected = sk.f1_score(right, found, average=None)
    assert [line["F1"] for line in scores] == [f"{value:.3f}" for value in expected]
    assert (
        "Each was held out 3 times"
        in blocks_of(sections("pairs_over_three_repetitions"), Text, "answers")[0].text
    )
    shades = [
        cell.share
        for table in blocks_of(sections("pairs_over_three_repetitions"), Table, "answers")
        for line in table.lines
        for cell in line
        if isinstance(cell, Cell)
    ]
    assert sum(shades) == pytest.approx(3)


def test_labels_are_counted_one_by_one(sections):
    record, _ = MAKERS["multi_label"]()
    right = np.asarray(record.test.labels)
    found = np.asarray(record.test.outputs) > 0.5
    lines = table_of(sections("multi_label"), "test", "Right and wrong answers for each label")
    for place, line in enumerate(lines):
        assert int(line["right, found"]) == int((found[:, place] & (right[:, place] == 1)).sum())
        assert int(line["wrong, answered"]) == int((found[:, place] & (right[:, place] == 0)).sum())


def test_many_classes_have_a_picture_and_the_most_frequent_confusions(sections):
    found = sections("hundred_classes")
    assert not [t for t in blocks_of(found, Table, "answers") if "Confusion matrix" in t.title]
    assert "100 classes" in pictures_of(found, "answers")[0].title
    lines = table_of(found, "answers", "Most frequent confusions")
    counts = [int(line["answers"]) for line in lines]
    assert 0 < len(lines) <= 15 and counts == sorted(counts, reverse=True)
    assert [b.title for b in blocks_of(found, Folded, "answers")] == [
        "Scores of each class over held-out rows"
    ]


def test_errors_of_scores(sections):
    record, _ = MAKERS["regression"]()
    errors = [o[0] - label for o, label in zip(record.test.outputs, record.test.labels, strict=True)]
    lines = table_of(sections("regression"), "test", "Errors")
    assert lines[-1]["are off by at most"] == f"{max(map(abs, errors)):.3f}"
    assert lines[0]["are off by at most"] == f"{np.median(np.abs(errors)):.3f}"
    assert "right scores between" in pictures_of(sections("regression"), "test")[0].text


def test_calibration_bins_hold_like_many_answers():
    # 40 answers with probability 0.6, of which half are right; 40 with 0.9, all right
    outputs = [[0.4, 0.6]] * 40 + [[0.1, 0.9]] * 40
    record, _ = hand_made(outputs, [1, 0] * 20 + [1] * 40)
    answers = held_out(record, "a")
    low, *_, high = calibration_bins(answers)
    assert (low.count, low.probability, low.share) == (20, pytest.approx(0.6), 0.5)
    assert (high.probability, high.share, high.high) == (pytest.approx(0.9), 1.0, 1.0)
    # Wilson's interval of 10 of 20, from a table
    assert (low.low, low.high) == (pytest.approx(0.299, abs=1e-3), pytest.approx(0.701, abs=1e-3))
    assert sum(one.count for one in calibration_bins(answers)) == 80


def test_a_row_counts_once_in_calibration():
    outputs = [[0.4, 0.6]] * 40
    single = calibration_bins(held_out(hand_made(outputs, [1, 0] * 20)[0], "a"))
    twice = calibration_bins(held_out(hand_made(outputs * 2, [1, 0] * 20, repeats=2)[0], "a"))
    assert [one.count for one in single] == [20, 20] and [one.count for one in twice] == [40, 40]
    assert [(one.low, one.high) for one in single] == [(one.low, one.high) for one in twice]


def test_the_worst_rows_come_first_with_their_texts():
    outputs = [[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.05, 0.95]]
    record, _ = hand_made(outputs, [1, 1, 1, 0])
    section = mistake_section(record, [("zero",), ("one",), ("x" * 500,), ("three",)])
    (table,) = blocks_of([section], Table)
    assert [line[0] for line in table.lines] == ["4", "1", "3"]
    assert table.lines[0][1:6] == ["three", "no", "yes", "0.95", "0.05"]
    assert table.lines[2][1] == "x" * 279 + "… (500 characters)"
    assert table.title == "3 of 3 rows with a wrong answer, the worst first"


def test_the_worst_rows_are_judged_by_the_mean_of_their_outputs():
    # row 0 is right in one of two repetitions, and wrong on average
    outputs = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.2, 0.8]]
    record, texts = hand_made(outputs, [1, 1], repeats=2)
    (table,) = blocks_of([mistake_section(record, texts)], Table)
    assert [list(line[:1]) + list(line[4:]) for line in table.lines] == [["1", "0.65", "0.35", "1 of 2"]]
    assert table.head[-1] == "times wrong"


def test_no_mistake_is_said():
    record, texts = hand_made([[0.1, 0.9], [0.9, 0.1]], [1, 0])
    assert [block.text for block in mistake_section(record, texts).blocks] == [
        "No held-out row has a wrong answer."
    ]


def test_others_that_are_wrong_too(sections):
    record, _ = MAKERS["small"]()
    lines = table_of(sections("small"), "mistakes", "worst first")
    others = [row.name for row in record.table if row.verdict in ("tied", "worse")]
    row = int(lines[0]["row"]) - 1
    wrong = sum(
        int(np.argmax(fold.outputs[fold.rows.index(row)])) != record.labels[row]
        for fold in record.folds
        if fold.candidate in others and row in fold.rows
    )
    assert lines[0]["others wrong"] == f"{wrong} of {len(others)}"


def test_what_was_read_is_told(sections):
    record, _ = MAKERS["small"]()
    (items,) = blocks_of(sections("small"), Items)
    assert items.items[0] == "Rows: 60 of train.csv." and list(items.items[2:]) == record.told
    lines = table_of(sections("small"), "read", "Rows with each class")
    assert [int(line["rows"]) for line in lines] == [record.labels.count(0), record.labels.count(1)]


def test_trials_are_all_there(sections):
    record, _ = MAKERS["small"]()
    summary = table_of(sections("small"), "trials", "Settings tried")
    one = next(line for line in summary if line["candidate"] == "lora" and "1e-4" in line["settings"])
    folds = [fold for fold in record.folds if fold.candidate == "lora"]
    scores = [
        trial.score for fold in folds for trial in fold.trials if trial.settings["learning_rate"] == 1e-4
    ]
    assert one["mean inner score"] == f"{np.mean(scores):.3f}" and one["tried in"] == "3 folds"
    assert int(one["chosen in"]) == sum(fold.settings["learning_rate"] == 1e-4 for fold in folds)
    every = table_of(sections("small"), "trials", "Every trial")
    assert len(every) == sum(len(fold.trials) for fold in record.folds)
    assert sum(line["chosen"] == "yes" for line in every) == sum(bool(fold.trials) for fold in record.folds)
    assert any(line["failure"] == "The loss is not finite at step 12" for line in every)


def test_learning_curves_are_of_all_that_have_some(sections):
    titles = [picture.title for picture in pictures_of(sections("small"), "curves")]
    assert titles == ["agwm: loss, dev", "lora: loss, dev", "vanilla: loss, dev"]
    many = sections("forty_candidates")
    assert len(pictures_of(many, "curves")) == 8
    assert "4 more candidates" in [block.title for block in blocks_of(many, Folded, "curves")]
    text = blocks_of(sections("hundred_classes"), Text, "curves")[0].text
    assert text == "No candidate was trained step by step."


def test_alpha_is_averaged_over_folds():
    folds = [
        FoldRecord("agwm", 0, fold, [], [], 0.5, alpha=alpha)
        for fold, alpha in enumerate(
            [
                {"h.0.attn.weight": {"mean": 0.99}, "pooler.dense.weight": {"mean": 0.5}},
                {"h.0.attn.weight": {"mean": 0.97}, "h.10.attn.weight": {"mean": 0.9}},
            ]
        )
    ]
    grid = alpha_grid(folds)
    assert grid.layers == ["layer 0", "layer 10", "no layer"] and grid.kinds == ["attn", "pooler.dense"]
    assert grid.values == [
        [pytest.approx(0.02), None],
        [pytest.approx(0.1), None],
        [None, pytest.approx(0.5)],
    ]


def test_alpha_stands_only_where_it_was_learned(sections):
    assert [section for section in sections("small") if section.anchor == "alpha"]
    titles = [picture.title for picture in pictures_of(sections("forty_candidates"), "alpha")]
    assert len(titles) == 1 and titles[0].startswith("method_03: ")
    assert not [section for section in sections("nothing_learned") if section.anchor == "alpha"]


def test_pictures_grow_with_the_candidates(sections):
    import re

    heights = {}
    for name in ("small", "forty_candidates"):
        picture = pictures_of(sections(name), "candidates")[0]
        if picture.svg is None:
            pytest.skip("the extra 'plot' is not installed")
        width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture.svg).groups())
        heights[name] = height
        labels = re.findall(r"<text[^>]*>(method_\d+)</text>", picture.svg)
    assert len(labels) == 38 and width == pytest.approx(4.0 * 72)
    # as much room for each line with 39 as with 5
    assert (heights["forty_candidates"] - heights["small"]) / (39 - 5) == pytest.approx(0.22 * 72, rel=0.01)


def test_kinds_are_as_their_names_say():
    assert MAKERS["hundred_classes"]()[0].problem_type == SINGLE
    assert len(MAKERS["forty_candidates"]()[0].table) == 40
    assert all(row.verdict != "chosen" for row in MAKERS["all_failed"]()[0].table)
