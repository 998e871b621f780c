"""Write the table of folders into ``architecture.md``: their size, and who imports whom.

Run from the root of the repository: ``python -m docs.make_layout``.
"""

from __future__ import annotations

from pathlib import Path

from agwm.files import write_text
from agwm.markdown import put_between, table
from tests.imports import folder_of, imports, modules, target_of

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"


def arrows(package: Path) -> set[tuple[str, str]]:
    """Return the pairs of modules of different folders of which the first imports the second."""
    known = modules(package)
    found = {
        (module, target)
        for module, path in known.items()
        for target in (target_of(name, known) for _, name in imports(path))
        if module not in ("agwm", "__main__") and target is not None
    }
    return {(one, other) for one, other in found if folder_of(one, known) != folder_of(other, known)}


def section(package: Path = ROOT / "agwm") -> str:
    """Return the table, and the count of arrows, without the marks."""
    known = modules(package)
    found = arrows(package)
    folders = sorted({folder_of(module, known) for module in known})
    rows = []
    for folder in folders:
        own = [path for module, path in known.items() if folder_of(module, known) == folder]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in own)
        below = {folder_of(other, known) for one, other in found if folder_of(one, known) == folder}
        names = ", ".join(f"`{name or 'ground'}`" for name in sorted(below))
        rows.append([f"`{folder or 'ground'}`", str(len(own)), str(lines), names or "-"])
    between = {(folder_of(one, known), folder_of(other, known)) for one, other in found}
    total = sum(int(row[2]) for row in rows)
    rows.append(["all", str(len(known)), str(total), ""])
    text = table(["folder", "modules", "lines", "imports"], rows, right=range(1, 3))
    return (
        f"{text.strip()}\n\n{len(between)} arrows between folders, made of {len(found)} imports of modules;"
        " none points up, and none makes a circle. Made by `python -m docs.make_layout`."
    )


def page() -> str:
    """Return the page with its table made anew."""
    return put_between(PAGE.read_text(encoding="utf-8"), "layout", section())


if __name__ == "__main__":
    write_text(PAGE, page())
