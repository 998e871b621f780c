"""A new method is its file, the list of methods, its settings and its card, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
METHOD = '''"""Halved gradients."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from agwm.checks import Fraction
from agwm.methods.method import OneLevelMethod, Settings

__all__ = ["Halved", "HalvedSettings"]


@dataclass(frozen=True)
class HalvedSettings(Settings):
    """Settings of :class:`Halved`.

    Attributes:
        factor: What gradients are multiplied by.
    """

    factor: Fraction = 0.5


class Halved(OneLevelMethod):
    """Gradients are multiplied by a factor; a step costs two passes."""

    name = "halved"
    acts_on = ("gradient",)
    settings_class = HalvedSettings
    passes_per_step = 2

    def edit_gradients(self, model: nn.Module) -> None:
        """Multiply them."""
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad *= self.settings.factor
'''


@pytest.fixture
def with_halved(tmp_path):
    """Copy the project's code and add one method to it, in three places of two files."""
    for name in ("agwm", "examples", "docs"):  # with what Python compiled, which it need not do again
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("results"))
    (tmp_path / "agwm/methods/halved.py").write_text(METHOD, encoding="utf-8")
    registry = tmp_path / "agwm/methods/__init__.py"
    text = registry.read_text(encoding="utf-8")
    for old, new in (
        (
            "from agwm.methods.lora",
            "from agwm.methods.halved import Halved, HalvedSettings\nfrom agwm.methods.lora",
        ),
        ("        Lora,\n", "        Lora,\n        Halved,\n"),
        (
            "    lora: LoraSettings",
            "    halved: HalvedSettings = field(default_factory=HalvedSettings)\n    lora: LoraSettings",
        ),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    registry.write_text(text, encoding="utf-8")
    return tmp_path


# One process for all: what takes time is importing.
PROGRAM = """
import json, sys
sys.path.insert(0, "examples")
import glue_lowres, report
from agwm.methods import METHODS
from agwm.testing import check_method

flags = json.loads(sys.argv[1])
assert glue_lowres.main([*flags, "--method", "halved", "--set", "rivals.halved.factor=2"]) == 2
assert glue_lowres.main([*flags, "--method", "vanilla,halved"]) == 0
assert report.main(["out", "--output-dir", "report"]) == 0
assert glue_lowres.main(["--grid", "grid.yaml", "--dry-run"]) == 0
assert check_method(METHODS["halved"], families=["bert"]) == {"bert": None}
"""


def test_a_new_method_runs_is_planned_and_reported(with_halved, tiny_model, own_files):
    train, test = own_files
    flags = ["--task", "order", "--model", tiny_model, "--train-file", train, "--test-file", test]
    flags += ["--text-columns", "text", "--train-size", "20", "--seeds", "2", "--set", "device=cpu"]
    flags += ["--set", "vanilla.epochs=1", "--output-dir", "out"]
    (with_halved / "grid.yaml").write_text(
        "grid: {methods: {vanilla: {}, halved: {}}, tasks: [rte], models: [minilm], train_sizes: [300],"
        " seeds: 1}\n",
        encoding="utf-8",
    )
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([str(flag) for flag in flags])],
        cwd=with_halved,
        env={**os.environ, "PYTHONPATH": str(with_halved), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert outcome.returncode == 0, outcome.stderr
    # no traceback and no warning of a library comes before the line on a mistake
    assert outcome.stderr.startswith("error: ") and "Traceback" not in outcome.stderr
    assert "'rivals.halved.factor' in --set" in outcome.stderr
    assert "expected a number in [0, 1], got 2" in " ".join(outcome.stderr.split())
    paths = sorted((with_halved / "out/results").glob("halved--*.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    assert len(records) == 2 and {record["train_info"]["passes"] for record in records} == {4}
    assert records[0]["run_info"]["settings"]["rivals"]["halved"]["factor"] == 0.5
    assert "halved" in (with_halved / "report/report.md").read_text(encoding="utf-8")
    # 300 examples in 57 steps of two passes each
    assert [line for line in outcome.stdout.splitlines() if "halved" in line and "114" in line]
