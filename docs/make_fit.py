"""Write what runs of ``agwm fit`` showed, and how well its intervals cover, into ``docs/fit.md``.

Run from the root of the repository: ``python -m docs.make_fit``. The files of the runs are made by
``benchmarks.fit_runs``, the draws by ``benchmarks.calibration``; their pages say how.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agwm.files import read_json, write_text
from agwm.markdown import put_between, table
from benchmarks.calibration import lines

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "fit.md", ROOT / "docs" / "results" / "fit"
_WHAT = {
    "sst2": "SST-2, and its validation file",
    "stsb": "STS-B, and its validation file",
    "messages": "four teams of a bank, and 1,000 other messages",
}
_REST = ("reading", "training on all rows", "saving", "test rows")


def runs(folder: Path = RESULTS) -> str:
    """Return the table of the runs."""
    head = ["300 rows, and new rows", "chosen", "metric", "cross-validation", "new rows", "inside", "time"]
    head += ["trials", "folds", "rest"]
    cells = []
    for name, what in _WHAT.items():
        run = read_json(folder / f"{name}.json")
        value, low, high = run["cross_validation"]
        new, seconds = run["new_rows"], run["seconds"]
        stages = (seconds["trials"], seconds["folds"], sum(seconds.get(stage, 0) for stage in _REST))
        cells.append(
            [
                f"{what} ([terminal](results/fit/{name}.txt))",
                run["chosen"],
                run["metric"],
                _interval(value, low, high),
                _interval(new["score"], new["low"], new["high"]),
                "yes" if low <= new["score"] <= high else "no",
                _minutes(run["wall"]),
                *map(_minutes, stages),
            ]
        )
    return table(head, cells, right=(6, 7, 8, 9))


def draws(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the records of the draws, in order."""
    return sorted(
        (read_json(path) for path in folder.glob("calibration/*.json")), key=lambda one: one["draw"]
    )


def section(folder: Path = RESULTS) -> str:
    """Return what stands between the marks of the page."""
    shown = (folder / "messages.txt").read_text(encoding="utf-8").strip()
    return "\n".join(
        [
            "Three runs with 300 rows, the packaged encoder and the default budget, on two cores of"
            f" {read_json(folder / 'sst2.json')['versions']['processor']}"
            " (`python -m benchmarks.fit_runs`; this part of the page: `python -m docs.make_fit`):\n",
            runs(folder),
            "All that the terminal shows of the third:\n",
            f"```text\n{shown}\n```\n",
            f"Draws of 300 rows of SST-2, on {_cards(draws(folder))} (`python -m benchmarks.calibration`)."
            " The interval of the chosen candidate is set beside its score on the validation file, whose"
            " sentences are longer than the training rows, and on 1,000 other training rows. In parentheses"
            " stands the candidate that is the best there:\n",
            lines(draws(folder)),
        ]
    )


def page(folder: Path = RESULTS) -> str:
    """Return the page with its section made anew."""
    return put_between(PAGE.read_text(encoding="utf-8"), "results", section(folder))


def _cards(found: list[dict[str, Any]]) -> str:
    return " and ".join(sorted({one["card"] or one["versions"]["processor"] for one in found}))


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _minutes(seconds: float) -> str:
    return f"{round(seconds) // 60} min {round(seconds) % 60} s" if seconds >= 60 else f"{seconds:.0f} s"


if __name__ == "__main__":
    write_text(PAGE, page())
