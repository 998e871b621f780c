"""Kill runs at random moments, damage their files, and give commands hostile input: how they end.

python -m benchmarks.survival --tries 200
python -m benchmarks.survival --row grid --tries 50 --add       # a row alone, in pieces that are summed

A run is a process of its own, forked where everything is imported. It is killed by SIGKILL, SIGTERM or
SIGINT after a random time, in the middle of a write too, and the same command is given again. What it
leaves is compared, file by file, with what a run leaves that nobody killed. ``reliability.md`` has a row
for each kind.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from agwm.experiments.records import versions
from agwm.files import make_folder, read_json, write_json, write_text
from agwm.markdown import table
from benchmarks.damaged_checkpoints import damage
from benchmarks.hostile.count import count_kinds
from benchmarks.killed_runs import command, finetune, fit, grid, has_claims, has_trainings, save_model
from benchmarks.killing import Row, kill_row, leader_or_worker

__all__ = ["NAME", "ROWS", "main", "merged", "render"]

NAME = "reliability"
_SUMMED = ("tried", "survived", "went_on", "wrong", "left", "refused", "accepted", "minutes")
Make = Callable[[int, Path, int], list[dict[str, Any]]]


def _killed(row: Callable[..., Row]) -> Make:
    return lambda tries, work, seed: [asdict(row(tries, work, seed))]


def _finetune(tries: int, work: Path, seed: int) -> Row:
    return kill_row("`finetune`, K = 2, killed", finetune, tries, work, seed)


def _compare(tries: int, work: Path, seed: int) -> Row:
    run = command(save_model(make_folder(work / "bert")))
    return kill_row("`agwm compare`, killed", run, tries, make_folder(work / "runs"), seed)


def _grid(tries: int, work: Path, seed: int) -> Row:
    run = grid(save_model(make_folder(work / "bert")), work / "grid.yaml")
    kind = "`agwm compare --grid --jobs 2`, it or a worker killed"
    return kill_row(kind, run, tries, make_folder(work / "runs"), seed, leader_or_worker, has_claims)


def _fit(tries: int, work: Path, seed: int) -> Row:
    run = fit(save_model(make_folder(work / "bert")), work / "rows.csv")
    kind = "`agwm fit`, killed"
    return kill_row(kind, run, tries, make_folder(work / "runs"), seed, has_begun=has_trainings)


def _damage(tries: int, work: Path, seed: int) -> list[dict[str, Any]]:
    return [asdict(row) for row in damage(tries, work, seed)]


def _input(tries: int, work: Path, seed: int) -> list[dict[str, Any]]:
    """Return a row for each kind of hostile input: 50 inputs for each try, in all."""
    found = count_kinds(50 * tries, seed)
    return [
        {
            "kind": one.kind,
            "tried": one.tried,
            "refused": one.refused,
            "accepted": one.accepted,
            "wrong": len(one.faults),
            "problems": [f"{case.argv}: {words}" for case, words in one.faults],
            "seeds": [seed],
        }
        for one in found
    ]


ROWS: dict[str, Make] = {
    "finetune": _killed(_finetune),
    "compare": _killed(_compare),
    "fit": _killed(_fit),
    "grid": _killed(_grid),
    "damage": _damage,
    "input": _input,
}


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], add: bool) -> list[dict[str, Any]]:
    """Return old rows with new ones in their places.

    Args:
        old: Rows of earlier pieces.
        new: Rows of this one.
        add: Add the counts of a kind that is there; if not, they are replaced.
    """
    rows = {row["kind"]: row for row in old}
    for row in new:
        before = rows.get(row["kind"])
        if before is not None and add:
            summed = {
                key: None if row[key] is None else before[key] + row[key] for key in _SUMMED if key in row
            }
            both = {key: [*before[key], *row[key]] for key in ("problems", "seeds")}
            row = {**row, **summed, **both}
        rows[row["kind"]] = row
    return list(rows.values())


def next_seed(rows: Sequence[dict[str, Any]]) -> int:
    """Return a seed that no piece had: of the same one the same moments would be drawn again."""
    return 1 + max((seed for row in rows for seed in row["seeds"]), default=0)


def render(result: dict[str, Any]) -> str:
    """Return the result as a Markdown page."""
    killed = [row for row in result["rows"] if "refused" not in row]
    killed.sort(key=lambda row: row["went_on"] is None)
    inputs = [row for row in result["rows"] if "refused" in row]
    return "\n".join(
        [
            "# What runs survive",
            "",
            "Written by the command below. Once it has begun to write, a run is killed at a random",
            "moment by SIGKILL (half of them), SIGTERM or SIGINT, and the same command is given again.",
            "It survived if it ends with every file equal to that of a run nobody killed: weights to",
            "the bit, records but for times. It goes on from a checkpoint where one had been written.",
            "A damaged checkpoint counts as survived if that is told, and nothing of it is used.",
            "",
            "* Command: `make survive TRIES=200` makes all rows anew. A row in pieces, whose counts are",
            f"  summed: `python -m benchmarks.survival --row {' | '.join(ROWS)} --tries 20 --add`",
            f"* agwm {result['versions']['agwm']}, torch {result['versions']['torch']}",
            f"* Took {sum(row['minutes'] for row in result['rows']):.0f} minutes",
            "",
            _table(
                killed,
                {
                    "what was done": "kind",
                    "tried": "tried",
                    "survived": "survived",
                    "went on from a checkpoint": "went_on",
                    "silently wrong": "wrong",
                    "files left": "left",
                },
            ),
            "## Hostile input",
            "",
            "Valid files and command lines with up to three places changed: values of other types, huge",
            "and negative numbers, control characters, keys twice, tags and aliases of YAML, other",
            "encodings, NUL bytes, cut files. Each is given to its command, up to where training would",
            "begin. It is accepted, or refused in one line that says what was expected; anything else,",
            "such as a traceback or a hang, is a fault.",
            "",
            _table(
                inputs,
                {
                    "input": "kind",
                    "tried": "tried",
                    "refused": "refused",
                    "accepted": "accepted",
                    "faults": "wrong",
                },
            ),
        ]
    )


def _table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> str:
    cells = [tuple("" if row[key] is None else str(row[key]) for key in columns.values()) for row in rows]
    return table(tuple(columns), cells, right=tuple(range(1, len(columns))), is_padded=False)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Make rows, and write ``reliability.json`` and ``reliability.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tries", type=int, default=200, help="of each row; of hostile input 50 times that"
    )
    parser.add_argument("--row", action="append", choices=list(ROWS), help="may be repeated (default: all)")
    parser.add_argument("--add", action="store_true", help="add to the counts that are there")
    parser.add_argument("--seed", type=int, help="default: 1; with --add one that no piece had")
    parser.add_argument(
        "--merge", action="append", default=[], metavar="DIR", help="add the counts of another --out"
    )
    parser.add_argument("--out", default="docs", help="folder to write")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder = make_folder(given.out)
    path = folder / f"{NAME}.json"
    rows = read_json(path)["rows"] if path.is_file() else []
    for other in given.merge:
        rows = merged(rows, read_json(Path(other) / f"{NAME}.json")["rows"], add=True)
    seed = given.seed or (next_seed(rows) if given.add else 1)
    for name in given.row or ([] if given.merge else ROWS):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            new = ROWS[name](given.tries, Path(work), seed)
        for row in new:
            row["minutes"] = (time.perf_counter() - start) / 60 / len(new)
        rows = merged(rows, new, given.add)
        _write(folder, rows)
    _write(folder, rows)
    return rows


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    result = {"versions": versions(), "rows": rows}
    write_json(folder / f"{NAME}.json", result)
    write_text(folder / f"{NAME}.md", render(result))


if __name__ == "__main__":
    for row in main():
        print(row)
