"""Write the table of the tutorials, with their times in the last build, into ``docs/tutorials/index.md``.

Run from the root of the repository, after ``make docs``: ``.venv/bin/python -m docs.make_tutorials``.
"""

from __future__ import annotations

import re
from pathlib import Path

from agwm.files import write_text
from agwm.markdown import put_between, table
from agwm.versions import versions
from docs.notebooks import ROOT, TUTORIALS, cache_folder, read

PAGE = ROOT / "docs" / "tutorials" / "index.md"


def row(page: Path, seconds: float) -> list[str]:
    """Return the line of a tutorial: its title, its goal, its time."""
    text = page.read_text(encoding="utf-8")
    title, goal = re.search(r"^# (.+)\n\nGoal: (.+?)\.\s", text, re.MULTILINE | re.DOTALL).groups()
    return [f"[{title}]({page.name})", " ".join(goal.split()), f"{seconds:.0f} s"]


def measured() -> dict[Path, float]:
    """Return the seconds that each tutorial took when the site was built."""
    from jupyter_cache import get_cache

    cache = get_cache(cache_folder())
    records = {page: cache.match_cache_notebook(read(page)) for page in TUTORIALS}
    return {page: record.data["execution_seconds"] for page, record in records.items()}


def section(seconds: dict[Path, float]) -> str:
    """Return what stands between the marks of the page."""
    rows = [row(page, seconds[page]) for page in TUTORIALS]
    made = versions()
    return (
        f"{table(['tutorial', 'goal', 'time'], rows, right=[2])}\n"
        f"Times of a build, one thread a process, on {made['processor']} with torch {made['torch']}"
        " (`make docs`, then `.venv/bin/python -m docs.make_tutorials`). On the site each page tells that"
        " of its own build."
    )


if __name__ == "__main__":
    write_text(PAGE, put_between(PAGE.read_text(encoding="utf-8"), "tutorials", section(measured())))
