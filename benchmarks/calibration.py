"""How often the interval of a fit covers what new rows say, and how far the choice is from the best.

python -m benchmarks.calibration --data-dir path/to/glue --draws 10 --output-dir output/calibration

Each draw takes 300 rows of the training file, and makes ``agwm fit`` of them, at the default budget. Then
every candidate is trained on all of these rows, with the settings of the best mean over the folds, and
scored on two sets that no choice has seen: the validation file, and 1,000 other rows of the training file,
which are of the same kind. A draw that is finished is not made again; ``--table`` prints what is there.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from scipy.stats import binomtest

from agwm.data import TaskData, encode, load_task
from agwm.data.quiet import quiet_datasets
from agwm.evaluation.scores import labels_array, score
from agwm.files import make_folder, read_json, write_json
from agwm.fitting.fit import fit_data
from agwm.markdown import table
from agwm.model_selection.candidates import CONSTANT
from agwm.model_selection.options import FitOptions
from agwm.model_selection.preparation import prepare
from agwm.model_selection.record import FitRecord
from agwm.model_selection.store import Store
from agwm.model_selection.table import agreed_settings
from agwm.model_selection.training import outputs_on
from agwm.model_selection.whole_training import train_on_all

ROWS, OTHERS = 300, 1000
SETS = ("validation", "others")


def drawn(task: str, data_dir: str, draw: int) -> tuple[TaskData, dict[str, datasets.Dataset]]:
    """Return a draw of the training rows as a task, and the two sets to score on."""
    with quiet_datasets():
        data = load_task(task, data_dir)
        order = np.random.default_rng(draw).permutation(len(data.train))
        rows = data.train.select(order[:ROWS])
        others = data.train.select(order[ROWS : ROWS + OTHERS])
    own = TaskData(data.task, rows, data.test.select([]), sources=(f"{task}, draw {draw}", "none"))
    return own, {"validation": data.test, "others": others}


def hindsight(
    data: TaskData, sets: dict[str, datasets.Dataset], options: FitOptions, record: FitRecord
) -> dict[str, dict[str, float]]:
    """Train each candidate on all rows, and return its score on each set."""
    prepared = prepare(data, options, lambda line: None)
    material, task = prepared.material, data.task
    found: dict[str, dict[str, float]] = {}
    with quiet_datasets():
        encoded = {
            name: list(encode(rows, prepared.loaded.tokenizer, task, material.max_length))
            for name, rows in sets.items()
        }
    for row in record.table:
        if row.name == CONSTANT:
            continue
        own = [fold for fold in record.folds if fold.candidate == row.name]
        made = train_on_all(material, row, agreed_settings(own, task.metric), print, Store(None, ""))
        found[row.name] = {}
        for kind, examples in encoded.items():
            other = dataclasses.replace(material, examples=examples)
            outputs = outputs_on(other, made.outcome.model, made.loaded, np.arange(len(examples)))
            labels = labels_array(list(sets[kind]["label"]), task)
            found[row.name][kind] = score(task.metric, outputs, labels, task)
    return found


def summary(record: FitRecord, found: dict[str, dict[str, float]], draw: int) -> dict[str, Any]:
    """Return what the table needs of a draw."""
    rows = {
        row.name: [row.score, row.low, row.high, row.verdict, round(row.seconds)] for row in record.table
    }
    return {
        "draw": draw,
        "chosen": record.chosen,
        "conclusion": record.conclusion,
        "rows": rows,
        "new": found,
        "seconds": record.seconds,
        "versions": record.versions,
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def lines(results: list[dict[str, Any]]) -> str:
    """Return the table of all draws, and the coverage of the chosen candidates' intervals."""
    head = ["draw", "chosen", "interval", *(f"{name} (best)" for name in SETS)]
    rows, inside, behind = [], dict.fromkeys(SETS, 0), {name: [] for name in SETS}
    for one in results:
        chosen = one["chosen"]
        value, low, high = one["rows"][chosen][:3]
        cells = []
        for name in SETS:
            scores = {candidate: of[name] for candidate, of in one["new"].items()}
            best = max(scores, key=lambda candidate: scores[candidate])
            if chosen in scores:
                inside[name] += low <= scores[chosen] <= high
                behind[name].append(scores[best] - scores[chosen])
                cells.append(f"{100 * scores[chosen]:.1f} ({best} {100 * scores[best]:.1f})")
            else:
                cells.append("")
        interval = f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]" if low is not None else ""
        rows.append([str(one["draw"]), chosen, interval, *cells])
    text = table(head, rows)
    for name in SETS:
        count = len(behind[name])
        if count:
            low, high = binomtest(inside[name], count).proportion_ci(method="wilson")
            text += (
                f"\n{name}: inside of the interval in {inside[name]} of {count} draws"
                f" (95 % interval of the share: {low:.2f} to {high:.2f}); the chosen one is"
                f" {100 * np.mean(behind[name]):.1f} points below the best in hindsight on average.\n"
            )
    return text


def main() -> None:
    """Make the draws that are missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--draws", type=int, default=10, help="number of the last draw")
    parser.add_argument("--first", type=int, default=1, help="number of the first draw")
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--table", action="store_true", help="make nothing, print what is there")
    given = parser.parse_args()
    folder = make_folder(given.output_dir)
    for draw in range(given.first, given.draws + 1):
        path = Path(folder) / f"{given.task}-{draw}.json"
        if path.is_file() or given.table:
            continue
        data, sets = drawn(given.task, given.data_dir, draw)
        columns = data.task.text_columns, ("label",)
        work = Path(folder) / f"{given.task}-{draw}"
        options = FitOptions(model=given.model)
        result = fit_data(data, columns, options, work, notice=print, report=print)
        found = hindsight(data, sets, dataclasses.replace(options, jobs=1), result.record)
        write_json(path, summary(result.record, found, draw))
    results = [read_json(path) for path in folder.glob(f"{given.task}-*.json")]
    print(lines(sorted(results, key=lambda one: one["draw"])))


if __name__ == "__main__":
    main()
