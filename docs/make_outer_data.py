"""Write the tables of the examples with outer data into ``docs/outer_data.md``.

Run from the root of the repository: ``python -m docs.make_outer_data``. The records are those that the
examples wrote; a folder that is not there has no table.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from agwm.files import read_json, write_text
from agwm.markdown import put_between

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from outer_data.methods import METHODS  # noqa: E402  the examples are no package
from outer_data.table import table  # noqa: E402

PAGE, RESULTS = ROOT / "docs" / "outer_data.md", ROOT / "docs" / "results" / "outer_data"
NAMES = ("continual", "noisy_labels", "domain_shift")


def records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return method -> its runs that have a test score, in the order of their draws."""
    runs = [read_json(path) for path in folder.glob("*.json")]
    scored = sorted((run for run in runs if "test" in run), key=lambda run: run["seed"])
    found: dict[str, list[dict[str, Any]]] = {}
    for method in METHODS:
        if own := [run for run in scored if run["method"] == method]:
            found[method] = own
    return found


def section(folder: Path = RESULTS) -> str:
    """Return what stands between the marks of the page."""
    parts = []
    for name in NAMES:
        runs = records(folder / name)
        if not runs:
            continue
        every = [read_json(path) for path in (folder / name).glob("*.json")]
        hours = sum(run["seconds"] for run in every) / 3600
        cards = " and ".join(sorted({run["card"] or "a CPU" for run in every}))
        parts.append(
            f"### {name}\n\n{table(runs)}\n{len(every)} runs, {hours:.1f} hours in all, on {cards}.\n"
        )
    return "\n".join(parts) or "Nothing yet: no runs have been made with the settings above.\n"


def page(folder: Path = RESULTS) -> str:
    """Return the page with its section made anew."""
    return put_between(PAGE.read_text(encoding="utf-8"), "results", section(folder))


if __name__ == "__main__":
    write_text(PAGE, page())
