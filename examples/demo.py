"""From labelled rows to a model in use, on two cores and without network: what ``make demo`` runs.

python examples/demo.py --output-dir output/demo

It writes two files of an embedded task, as a user would have them, and runs the two commands it prints.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from pathlib import Path

from agwm.command_line.main import main as agwm
from agwm.data import load_task

ROWS, NEW = 120, 6


def write_rows(folder: Path) -> tuple[Path, Path]:
    """Write labelled rows and new texts as CSV files, and return their paths."""
    data = load_task("acceptability", train_size=ROWS, test_size=NEW)
    names = data.task.label_names or ()
    folder.mkdir(parents=True, exist_ok=True)
    rows, new = folder / "rows.csv", folder / "new.csv"
    with rows.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence", "verdict"])
        writer.writerows([row["sentence1"], names[row["label"]]] for row in data.train)
    with new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence"])
        writer.writerows([row["sentence1"]] for row in data.test)
    return rows, new


def run(*arguments: str) -> None:
    """Run a command as a user would, and stop where it fails."""
    print(f"\n$ agwm {shlex.join(arguments)}", flush=True)
    code = agwm(list(arguments))
    if code:
        sys.exit(code)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output-dir", default="output/demo", metavar="DIR")
    folder = Path(parser.parse_args().output_dir)
    rows, new = write_rows(folder)
    model = folder / "model"
    run(
        "fit",
        str(rows),
        "--text",
        "sentence",
        "--label",
        "verdict",
        "--budget",
        "small",
        "--output-dir",
        str(model),
    )
    run("predict", str(model), str(new))
    conclusion = json.loads((model / "fit.json").read_text(encoding="utf-8"))["conclusion"]
    print(f"\n{conclusion}\nReport: {model / 'report.html'}\nModel: {model}")


if __name__ == "__main__":
    main()
