"""Damage a checkpoint, and look whether that is told, and nothing of it used."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

from agwm.checkpoints import Checkpoints
from agwm.errors import AgwmError
from benchmarks.killing import Row

__all__ = ["damage"]


class _Taken:
    """A training that notes what it takes up."""

    step = 3
    tree: Any = None

    def to_tree(self) -> Any:
        return {"weights": torch.arange(4000.0), "step": 3, "names": ["a", "b"]}

    def load_tree(self, tree: Any) -> None:
        self.tree = tree

    result_tree, load_result = to_tree, load_tree


def damage(tries: int, work: Path, seed: int = 1) -> list[Row]:
    """Flip bits in the newest checkpoint, and cut it short: each is told, and the run ends the same."""
    flips = Row("a bit of a checkpoint flipped", seeds=[seed])
    cuts = Row("a checkpoint cut short", seeds=[seed])
    draw, told = random.Random(seed), list[str]()
    with Checkpoints(work / "damaged", {"seed": 1}, step=1, tell=told.append) as checkpoints:
        stage = checkpoints.stage("a training")
        stage.after_step(_Taken())
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
                taken = _Taken()
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
