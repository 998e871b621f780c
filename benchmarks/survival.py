"""Kill runs at random moments and damage their files: how many go on, and end with the same bits.

python -m benchmarks.survival --tries 200 --out docs

A run is a process of its own, forked where everything is imported. It is killed by SIGKILL, SIGTERM or
SIGINT after a random time, in the middle of a write too, and the same command is given again. What it
leaves is compared, file by file, with what a run leaves that nobody killed. ``reliability.md`` has a row
for each kind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import agwm
from agwm.checkpoints import Checkpoints
from agwm.command_line.main import main as agwm_main
from agwm.errors import AgwmError
from agwm.experiments.records import versions
from agwm.files import make_folder, write_json, write_text
from agwm.markdown import table
from agwm.testing import examples, pretrained

__all__ = ["Row", "damage", "kill_row", "main", "render"]

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
NAME = "reliability"
_VOLATILE = {"total_seconds", "seconds", "threads", "created"}  # of a record: times of the run
Run = Callable[[Path], Any]


@dataclass
class Row:
    """What became of runs, or of files, of one kind.

    Attributes:
        kind: What was done.
        tried: How often.
        survived: How often it ended with the bits of an undisturbed run, or the damage was told.
        went_on: How often it went on from a checkpoint, where that was to be.
        wrong: How often the end was another, without a word.
        left: How many files were left that an undisturbed run does not leave.
        problems: The first of what went wrong, in words.
    """

    kind: str
    tried: int = 0
    survived: int = 0
    went_on: int | None = None
    wrong: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)


def _forked(run: Run, folder: Path, log: Path) -> int:
    """Run in a forked process, whose words go into a file, and return its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run(folder) or 0
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:  # it is told by the parent
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _content(folder: Path) -> dict[str, str]:
    """Return relative name -> digest of what must be the same: times in records do not count."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".json":
                data = json.dumps(_steady(json.loads(data)), sort_keys=True).encode()
            elif path.suffix in (".png", ".md"):
                data = b""
            found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key not in _VOLATILE}
    return [_steady(item) for item in value] if isinstance(value, list) else value


def kill_row(kind: str, run: Run, tries: int, work: Path, seed: int = 1) -> Row:
    """Kill a run ``tries`` times, each in a new folder, and let the same call end what was begun."""
    row, draw = Row(kind, went_on=0), random.Random(seed)
    make_folder(work)
    _wait(_forked(run, work / "warm", work / "log"))
    start = time.perf_counter()
    _wait(_forked(run, work / "reference", work / "log"))
    whole, expected = time.perf_counter() - start, _content(work / "reference")
    if not expected:
        raise SystemExit(f"The run does not end: {(work / 'log').read_text()[-500:]}")
    while row.tried < tries:
        folder, log = work / f"run{row.tried}", work / f"log{row.tried}"
        pid = _forked(run, folder, log)
        time.sleep(draw.uniform(0, whole))
        with suppress(ProcessLookupError):
            os.kill(pid, draw.choice(SIGNALS))
        if _wait(pid) == 0:
            shutil.rmtree(folder, ignore_errors=True)
            continue  # it was done before
        row.tried += 1
        has_checkpoint = any(folder.rglob("[0-9][0-9]-*.safetensors"))
        code = _wait(_forked(run, folder, log))
        words, found = log.read_text(errors="replace"), _content(folder)
        changed = [name for name, digest in expected.items() if found.get(name) != digest]
        more = sorted(set(found) - set(expected))
        row.survived += code == 0 and not changed
        row.wrong += code == 0 and bool(changed)
        row.left += len(more)
        row.went_on += has_checkpoint and "Going on from" in words
        if code or changed or more:
            row.problems.append(f"exit {code}; changed {changed}; more {more}; {words[-300:]}")
        shutil.rmtree(folder, ignore_errors=True)
    return row


def finetune(folder: Path) -> None:
    """Finetune with K = 2, with checkpoints, and save the model."""
    stage = {"epochs": 4, "batch_size": 4, "learning_rate": 1e-3}
    config = agwm.FinetuneConfig(
        search=agwm.SearchConfig(num_resplits=2, **stage), final=agwm.TrainingConfig(**stage)
    )
    result = agwm.finetune(
        pretrained("bert").model,
        examples(),
        collate=torch.utils.data.default_collate,
        config=config,
        progress=False,
        checkpoint_dir=folder / "checkpoints",
        checkpoint_step=2,
    )
    result.save_pretrained(folder / "model")


def command(model: str, *flags: str) -> Run:
    """Return a run of ``agwm compare`` on an embedded task, with the models kept."""

    def run(folder: Path) -> int:
        settings = ["max_length=32", "test_limit=20", "save_model=true", "checkpoint_step=2", "device=cpu"]
        given = [
            "compare",
            "--task",
            "acceptability",
            "--model",
            model,
            "--train-size",
            "24",
            "--seeds",
            "1",
        ]
        given += ["--epochs", "4", "--output-dir", str(folder), *flags]
        for setting in settings:
            given += ["--set", setting]
        return agwm_main(given)

    return run


def damage(tries: int, work: Path, seed: int = 1) -> list[Row]:
    """Flip bits in the newest checkpoint, and cut it short: each is told, and the run ends the same."""
    flips, cuts = Row("a bit of a checkpoint flipped"), Row("a checkpoint cut short")
    draw = random.Random(seed)

    class Taken:
        """What is taken up."""

        step = 3
        tree: Any = None

        def to_tree(self) -> Any:
            return {"weights": torch.arange(4000.0), "step": 3, "names": ["a", "b"]}

        def load_tree(self, tree: Any) -> None:
            self.tree = tree

        result_tree, load_result = to_tree, load_tree

    told: list[str] = []
    with Checkpoints(work / "damaged", {"seed": 1}, step=1, tell=told.append) as checkpoints:
        stage = checkpoints.stage("a training")
        stage.after_step(Taken())
        (path,) = (work / "damaged").glob("*.safetensors")
        whole = path.read_bytes()
        for row in (flips, cuts):
            for _ in range(tries):
                content = bytearray(whole)
                if row is flips:
                    place = draw.randrange(8 * len(content))
                    content[place // 8] ^= 1 << place % 8
                else:
                    del content[draw.randrange(len(content)) :]
                path.write_bytes(bytes(content))
                row.tried += 1
                told.clear()
                taken = Taken()
                try:
                    stage.take_up(taken)
                except AgwmError as error:
                    told.append(str(error))
                is_told = any(
                    "damaged" in line or "another" in line or "Cannot read" in line for line in told
                )
                row.survived += is_told and taken.tree is None
                row.wrong += taken.tree is not None
                if not is_told:
                    row.problems.append(f"{told}")
        path.write_bytes(whole)
    return [flips, cuts]


def render(result: dict[str, Any]) -> str:
    """Return the result as a Markdown page."""
    heads = (
        "what was done",
        "tried",
        "survived",
        "went on from a checkpoint",
        "silently wrong",
        "files left",
    )
    rows = [
        (row["kind"], row["tried"], row["survived"], row["went_on"], row["wrong"], row["left"])
        for row in result["rows"]
    ]
    cells = [tuple("" if cell is None else str(cell) for cell in row) for row in rows]
    return "\n".join(
        [
            "# What runs survive",
            "",
            "Written by the command below. A run is killed after a random time by SIGKILL (half of them),",
            "SIGTERM or SIGINT, and the same command is given again. It survived if it ends with every",
            "file equal to that of a run nobody killed: weights to the bit, records but for times. It goes",
            "on from a checkpoint where one had been written. A damaged checkpoint counts as survived if",
            "that is told, and nothing of it is used.",
            "",
            f"* Command: `{result['command']}`",
            f"* agwm {result['versions']['agwm']}, torch {result['versions']['torch']}",
            f"* Took {result['minutes']:.1f} minutes",
            "",
            table(heads, cells, right=(1, 2, 3, 4, 5), is_padded=False),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Make all rows, and write ``reliability.json`` and ``reliability.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=200, help="of each kind")
    parser.add_argument("--out", default="docs", help="folder to write")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        loaded = pretrained("bert", tmp_path=work / "tokenizer")
        loaded.model.save_pretrained(work / "bert")
        loaded.tokenizer.save_pretrained(work / "bert")
        kinds: list[tuple[str, Run]] = [
            ("`finetune`, K = 2, killed", finetune),
            ("`agwm compare`, killed", command(str(work / "bert"), "--method", "vanilla,agwm")),
        ]
        rows = []
        for number, (kind, run) in enumerate(kinds):
            folder = make_folder(work / str(number))
            rows.append(kill_row(kind, run, given.tries, folder))
        rows += damage(given.tries, work)
    result = {
        "command": f"python -m benchmarks.survival --tries {given.tries}",
        "versions": versions(),
        "minutes": (time.perf_counter() - start) / 60,
        "rows": [asdict(row) for row in rows],
    }
    folder = make_folder(given.out)
    write_json(folder / f"{NAME}.json", result)
    write_text(folder / f"{NAME}.md", render(result))
    return rows


if __name__ == "__main__":
    for row in main():
        print(row)
