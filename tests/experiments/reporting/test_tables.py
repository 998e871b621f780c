"""Tables of methods by tasks, in Markdown and LaTeX, and the published numbers."""

from __future__ import annotations

import re
import statistics

import pytest

from agwm.errors import DataError
from agwm.experiments.reporting.published import PUBLISHED, published_page
from agwm.experiments.reporting.rows import markdown_table, summarize
from agwm.experiments.reporting.runs import labels_of, tables_of
from agwm.experiments.reporting.tables import (
    common_tasks,
    escape_latex,
    latex_table,
    make_table,
    wide_table,
)
from agwm.markdown import table
from tests.experiments.records import changed
from tests.experiments.reporting.synthetic import SCORES, make_records


def row(text, label, mark="|"):
    (line,) = [line for line in text.splitlines() if line.strip(" |").split(f" {mark}")[0].strip() == label]
    return [cell.strip() for cell in line.strip(" |\\").split(mark)]


def test_cells_by_hand():
    made = make_table(make_records())
    cell = made.cells["vanilla", "rte"]
    assert cell.mean == pytest.approx(0.6) and cell.std == pytest.approx((0.02 / 3) ** 0.5)
    # 0.5 is no better than the constant answer of the records
    assert (cell.num_failed, cell.num_degenerate, cell.is_complete) == (0, 1, True)
    cell = made.cells["agwm", "rte"]
    assert cell.scores == (0.65, 0.75) and cell.num_failed == 1 and not cell.is_complete
    assert made.seeds == (5, 6, 7) and made.labels == ("vanilla", "frozen", "agwm", "agwm_k5")


def test_markdown_by_hand():
    text = wide_table(make_table(make_records()))
    assert row(text, "method") == ["method", "rte (accuracy)", "stsb (spearman)", "average"]
    assert row(text, "vanilla")[1:] == [
        "60.00 ± 8.16 (1 degenerate)",
        "30.00 ± 8.16 (3 degenerate)",
        "45.00 ± 8.16",
    ]
    assert row(text, "agwm")[1:] == [
        "70.00 ± 5.00 (2/3, 1 failed)",
        "37.50 ± 2.50 (2/3, 2 degenerate)",
        "53.75 ± 3.75 (part)",
    ]
    # the highest mean of a column, among the cells with all seeds
    assert row(text, "agwm_k5")[1].startswith("**70.00 ± 0.00**")
    assert text.count("**") == 4
    assert "over the seeds 5, 6, 7;" in text and "Average: over rte, stsb" in text


def test_the_average_is_over_tasks_that_most_rows_have():
    runs = make_records({**SCORES, "joint_alpha": {"rte": (0.5, 0.6, 0.7)}})
    assert common_tasks(runs) == ["rte", "stsb"] == list(make_table(runs).averaged)
    text = wide_table(make_table(runs))
    assert row(text, "joint_alpha")[1:] == ["60.00 ± 8.16 (1 degenerate)", "-", "-"]
    assert row(text, "vanilla")[-1] == "45.00 ± 8.16"
    # the same of one that failed on a whole task
    runs = make_records({**SCORES, "joint_alpha": {"rte": (0.5, 0.6, 0.7), "stsb": (None, None, None)}})
    assert row(wide_table(make_table(runs)), "joint_alpha")[2:] == ["- (0/3, 3 failed)", "-"]
    # a method that failed everywhere has no vote
    runs = make_records({"vanilla": SCORES["vanilla"], "joint_alpha": {"rte": (None, None, None)}})
    assert common_tasks(runs) == ["rte", "stsb"]
    assert row(wide_table(make_table(runs)), "joint_alpha")[1:] == ["- (0/3, 3 failed)", "-", "-"]


def test_a_task_of_few_rows_is_not_in_the_average():
    one, both = {"rte": (0.5, 0.6, 0.7)}, SCORES["vanilla"]
    runs = make_records({"vanilla": both, "frozen": one, "agwm": one})
    assert common_tasks(runs) == ["rte"] and make_table(runs).averaged == ()
    text = wide_table(make_table(runs))
    assert row(text, "method")[-1] == "stsb (spearman)" and "No average" in text
    assert common_tasks(make_records({"vanilla": both, "frozen": one})) == ["rte"]  # half is not most


def test_one_score_has_no_standard_deviation():
    runs = make_records(
        {"vanilla": {"rte": (0.6,), "stsb": (0.7,)}, "frozen": {"rte": (0.7,), "stsb": (0.6,)}}
    )
    text = wide_table(make_table(runs))
    assert row(text, "vanilla")[1:] == ["60.00", "**70.00**", "65.00"]
    assert "without ±: one score" in text
    assert row(latex_table(make_table(runs)), "vanilla", "&")[1:] == ["60.00", r"\textbf{70.00}", "65.00"]
    lines = markdown_table(summarize(runs)).splitlines()[2:6]
    assert [line.split("|")[6].strip() for line in lines] == ["60.00", "70.00", "70.00", "60.00"]
    # nor has an average over such a cell
    mixed = make_records({"vanilla": {"rte": (0.6, 0.7), "stsb": (0.5,)}})
    assert row(wide_table(make_table(mixed)), "vanilla")[1:] == [
        "65.00 ± 5.00",
        "50.00 (1/2, 1 degenerate)",
        "57.50 (part)",
    ]


def test_labels_are_in_the_order_of_methods_then_by_name():
    runs = make_records(
        {label: {"rte": (0.5,)} for label in ("agwm_k5", "vanilla_k9", "agwm_k2", "agwm", "vanilla")}
    )
    assert labels_of(runs) == ["vanilla", "vanilla_k9", "agwm", "agwm_k2", "agwm_k5"]
    early = [changed(run, label="a_variant") if run.label == "agwm_k2" else run for run in runs]
    assert labels_of(early) == ["vanilla", "vanilla_k9", "agwm", "a_variant", "agwm_k5"]
    assert [one.method for one in summarize(runs)] == labels_of(runs)


def test_costs_are_of_the_runs_that_gave_a_score():
    records = [r for r in make_records() if r.task == "rte"]
    records = [changed(r, passes=0, total_seconds=0.1) if r.failure else r for r in records]
    (one,) = [one for one in summarize(records) if one.method == "agwm"]
    assert (one.passes, one.num_failed) == (237, 1) and one.seconds > 10
    assert "| agwm_k5 |" in markdown_table(summarize(records))


def test_models_and_sizes_have_tables_of_their_own():
    runs = make_records()
    both = [*runs, *(changed(run, train_size=20) for run in runs)]
    assert list(tables_of(both)) == [("tiny", 20), ("tiny", 300)]
    with pytest.raises(DataError, match="expected runs of one model and size"):
        make_table(both)


def test_latex_escapes():
    assert escape_latex("a_b&50%#${}~^\\±<>|") == (
        r"a\_b\&50\%\#\$\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}$\pm$"
        r"\textless{}\textgreater{}\textbar{}"
    )


def test_latex_by_hand():
    text = latex_table(make_table([changed(run, model="a_b%") for run in make_records()]))
    assert r"\caption{a\_b\%, 300 training examples. " in text
    assert row(text, r"agwm\_k5", "&")[1].startswith(r"\textbf{70.00 $\pm$ 0.00}")
    assert row(text, "vanilla", "&")[1] == r"60.00 $\pm$ 8.16 (1 degenerate)"
    assert r"\begin{tabular}{lrrr}" in text and r"\end{tabular}" in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 5 and all(line.count("&") == 3 for line in lines)
    # nothing is left that LaTeX would read as a command's character
    body = re.sub(r"\\[&%$#_{}]|\\[a-z]+|\$\\pm\$|[{}]| & |\\\\", "", text)
    assert not set(body) & set("&%$#_^~\\")


def test_a_bar_in_a_cell_does_not_end_it():
    assert table(["a|b"], [["c"]]).splitlines()[0] == r"| a\|b |"


def test_published_averages_agree_with_their_columns():
    full = PUBLISHED["full_data"]
    assert len(full.rows) == 9
    for numbers in full.rows.values():
        for kind in (0, 1):
            *tasks, average = [number[kind] for number in numbers]
            assert statistics.fmean(tasks) == pytest.approx(average, abs=0.0101)


def test_published_numbers_are_labelled_and_complete():
    page = published_page()
    assert "not measured here" in page and page.count("Source: ") == len(PUBLISHED)
    for one in PUBLISHED.values():
        assert all(len(numbers) == len(one.columns) for numbers in one.rows.values())
    for text in ("68.97 ± 3.09", "76.68 ± 1.58", "80.42 ± 0.93", "82.38 ± 0.96", "69.29", "73.90 ± 10.69"):
        assert text in page
