"""Which runs are compared with which, and what the tables of tests say."""

from __future__ import annotations

import re

import pytest
from scipy import stats

from agwm.experiments.reporting.comparisons import (
    compare,
    comparison_table,
    control_of,
    other_settings,
    unlearned_of,
    verdict_table,
)
from agwm.experiments.reporting.sections import baseline_section, control_section, unlearned_section
from agwm.experiments.reporting.tables import OVER_TASKS
from tests.experiments.records import changed
from tests.experiments.reporting.synthetic import SCORES, make_records

BASELINES = {label: "vanilla" for label in SCORES if label != "vanilla"}


def comparison(task, label, runs=None, baselines=BASELINES):
    (one,) = [c for c in compare(runs or make_records(), baselines) if (c.task, c.label) == (task, label)]
    return one


def test_pairs_are_by_seed_and_failed_runs_are_counted():
    one = comparison("rte", "agwm")
    assert (one.num_pairs, one.sizes, one.excluded) == (2, (2, 3), (1, 0))
    assert one.paired.difference == pytest.approx((0.15 + 0.05) / 2)
    assert one.paired.p_value == pytest.approx(stats.ttest_rel([0.65, 0.75], [0.50, 0.70]).pvalue)
    theirs = stats.ttest_ind([0.65, 0.75], [0.5, 0.6, 0.7], equal_var=False)
    assert one.welch.p_value == pytest.approx(theirs.pvalue)


def test_the_order_of_records_does_not_matter():
    forward, backward = make_records(), make_records()[::-1]
    assert compare(forward, BASELINES) == compare(backward, BASELINES)


def test_a_family_is_the_methods_of_one_task():
    found = [c for c in compare(make_records(), BASELINES) if c.task == "stsb"]
    p = {c.label: c.paired.p_value for c in found}
    smallest = min(p, key=p.get)
    (one,) = [c for c in found if c.label == smallest]
    assert len(p) == 3 and one.paired_holm == pytest.approx(3 * p[smallest])
    q = sorted((c.welch.p_value, c.welch_holm) for c in found)
    assert q[0][1] == pytest.approx(3 * q[0][0]) and q[0][0] > 0
    assert q[1][1] == pytest.approx(max(q[0][1], 2 * q[1][0])) and q[2][1] >= q[1][1]
    alone = comparison("stsb", smallest, baselines={smallest: "vanilla"})
    assert alone.paired_holm == alone.paired.p_value
    assert alone.welch_holm == alone.welch.p_value


def test_what_is_not_tested_is_not_in_the_family():
    scores = {**SCORES, "frozen": {"rte": (0.60,), "stsb": (0.30,)}}
    found = {c.label: c for c in compare(make_records(scores), BASELINES) if c.task == "rte"}
    assert found["frozen"].paired_holm is None and found["frozen"].paired.reason == "1 common seed"
    p = sorted(c.paired.p_value for c in found.values() if c.paired.p_value is not None)
    assert len(p) == 2
    assert min(c.paired_holm for c in found.values() if c.paired_holm) == pytest.approx(2 * p[0])


def test_over_tasks_compares_means_of_complete_seeds():
    one = comparison(OVER_TASKS, "frozen")
    ours, theirs = [(0.6 + 0.3) / 2, (0.62 + 0.3) / 2, (0.7 + 0.45) / 2], [0.35, 0.45, 0.55]
    assert one.num_pairs == 3
    assert one.paired.p_value == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    # agwm failed on seed 6 of rte and was not run on seed 7 of stsb
    one = comparison(OVER_TASKS, "agwm")
    assert (one.num_pairs, one.sizes, one.excluded) == (1, (1, 3), (1, 0))
    assert one.paired.difference == pytest.approx((0.65 + 0.40) / 2 - 0.35)


def test_a_method_without_a_task_takes_no_test_over_tasks_from_the_others():
    part = {"rte": (0.5, None, 0.7)}
    runs = make_records({**SCORES, "joint_alpha": part})
    others = {label: "vanilla" for label in (*BASELINES, "joint_alpha")}
    over = [one for one in compare(runs, others) if one.task == OVER_TASKS]
    assert over == [one for one in compare(make_records(), BASELINES) if one.task == OVER_TASKS]
    assert [one.label for one in over] == ["frozen", "agwm", "agwm_k5"]


def test_one_task_is_not_over_tasks():
    runs = [run for run in make_records() if run.task == "rte"]
    assert {one.task for one in compare(runs, BASELINES)} == {"rte"}


def test_the_control_is_the_one_of_the_same_stages():
    runs = make_records()
    # roll_back differs between the two, and does nothing where alpha is held
    assert control_of(runs, "agwm") == "frozen" and other_settings(runs, "agwm", "frozen") == []
    assert control_of(runs, "agwm_k5") == "frozen"
    assert other_settings(runs, "agwm_k5", "frozen") == ["search.num_resplits"]
    both = make_records({**SCORES, "frozen_k5": SCORES["frozen"]})
    assert control_of(both, "agwm_k5") == "frozen_k5" and control_of(both, "agwm") == "frozen"
    assert control_of([run for run in runs if run.method != "frozen"], "agwm") is None


def test_a_control_shares_a_task():
    rte, stsb = ({task: SCORES["frozen"][task]} for task in ("rte", "stsb"))
    part = make_records({"frozen": stsb, "frozen_k5": rte, "agwm_k5": rte})
    assert control_of(part, "agwm_k5") == "frozen_k5"
    assert control_of(make_records({"frozen": stsb, "agwm_k5": rte}), "agwm_k5") is None
    # of two that are exact, the one on more of the tasks
    both = {**rte, **stsb}
    assert control_of(make_records({"frozen": rte, "frozen_kb": both, "agwm": both}), "agwm") == "frozen_kb"


def test_what_is_not_learned_is_a_control_too():
    rates = {"agwm_k1_lr0": 0.0, "agwm_k1": 2e-3, "agwm_k1_lr1e-2": 1e-2, "agwm_k5": 2e-3}
    runs = make_records({**SCORES, **dict.fromkeys(rates, SCORES["agwm_k5"])})
    for run in runs:
        if run.label in rates:
            run.settings["search"]["attention_learning_rate"] = rates[run.label]
    assert [unlearned_of(runs, label) for label in ("agwm_k1", "agwm_k1_lr1e-2")] == ["agwm_k1_lr0"] * 2
    assert unlearned_of(runs, "agwm_k5") is None  # of another K
    assert unlearned_of(runs, "agwm_k1_lr0") is None
    assert unlearned_of(runs, "vanilla") is None and unlearned_of(make_records(), "agwm") is None
    page = "\n".join(unlearned_section(runs))
    assert re.search(r"\| stsb +\| agwm_k1 +\| agwm_k1_lr0 +\|", page) and "agwm_k5" not in page
    assert unlearned_section(make_records()) == []


def test_the_method_that_does_not_learn_alpha_is_that_control():
    runs = make_records({**SCORES, "as_drawn": SCORES["frozen"], "as_drawn_k5": SCORES["frozen"]})
    for run in runs:
        if run.label.startswith("agwm"):
            run.settings["search"] |= {"attention_learning_rate": 2e-3, "unroll_steps": 1}
    assert unlearned_of(runs, "agwm") == "as_drawn" and unlearned_of(runs, "agwm_k5") == "as_drawn_k5"
    assert unlearned_of(runs, "as_drawn") is None
    assert control_of(runs, "as_drawn") == "frozen"


def test_unequal_numbers_of_seeds_are_pointed_out():
    note = "read that one there"
    equal = {label: {"rte": (0.5, 0.6, 0.7)} for label in ("vanilla", "frozen", "agwm")}
    fewer = {**equal, "vanilla": {"rte": (0.5, 0.6)}, "frozen": {"rte": (0.5, 0.6)}}
    for section in (baseline_section, control_section):
        assert note not in "".join(section(make_records(equal)))
        assert note in "".join(section(make_records(fewer)))
    # as many, but others
    other = make_records(equal)
    other = [changed(run, seed=run.seed + 1) if run.label == "vanilla" else run for run in other]
    assert note in "".join(baseline_section(other))


def test_tables_show_tests_reasons_and_counts():
    found = compare(make_records(), BASELINES)
    lines = comparison_table(found).splitlines()
    assert len(lines) == 2 + 9 and len({len(line) for line in lines}) == 1
    (line,) = [line for line in lines if "rte" in line and "agwm_k5" in line]
    assert "+10.00 [" in line
    (line,) = [line for line in lines if line.startswith("| rte") and "| agwm " in line]
    assert " 1, 0 |" in line and "| 2, 3 |" in line
    assert sum("paired: 1 common seed" in line for line in lines) == 1
    verdicts = verdict_table(found).splitlines()
    assert [line.split("|")[1].strip() for line in verdicts[2:]] == ["frozen", "agwm", "agwm_k5"]


def test_a_sure_difference_is_counted_on_its_side():
    rows = {
        "vanilla": (0.50, 0.60, 0.70),
        "frozen": (0.40, 0.50001, 0.60002),
        "agwm": (0.60, 0.70001, 0.80002),
    }
    runs = make_records({label: {"rte": scores} for label, scores in rows.items()})
    found = compare(runs, {"frozen": "vanilla", "agwm": "vanilla"})
    cells = [[c.strip() for c in line.split("|")[2:6]] for line in verdict_table(found).splitlines()[2:]]
    assert cells == [["0", "1", "0", "0"], ["1", "0", "0", "0"]]
    assert "**<0.001**" in comparison_table(found)
