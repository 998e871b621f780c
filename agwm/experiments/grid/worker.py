"""The worker program: it runs cells of a grid, one after another, in its own process.

``python -m agwm.experiments.grid.worker`` reads a JSON request from each line of standard input and
writes a JSON answer to standard output: one line when it is ready, then one for each request. It ends
with its input, even in the middle of a run: nobody waits for the answer any more.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from agwm.errors import one_line
from agwm.experiments.config import RunConfig
from agwm.experiments.examples import Examples, load_examples
from agwm.experiments.kept_models import keep_model
from agwm.experiments.run import run_one
from agwm.out_of_memory import out_of_memory

__all__ = ["Stores", "answer", "main"]


class Stores:
    """Data that runs share, loaded once: the examples of each task, and encoded test examples."""

    def __init__(self) -> None:
        self.encoded_tests: dict[tuple, list] = {}
        self._examples: dict[str, Examples] = {}

    def examples(self, config: RunConfig) -> Examples:
        """Return the examples of a config."""
        key = json.dumps([config.task, config.test_limit, config.to_dict()["data"]])
        if key not in self._examples:
            self._examples[key] = load_examples(config)
        return self._examples[key]


def answer(request: Mapping[str, Any], stores: Stores, progress: bool | None = False) -> dict[str, Any]:
    """Run one cell.

    Args:
        request: ``config`` (nested plain dicts), ``method``, ``label``, ``seed``, ``scores_test``, and
            ``kept_record``: the record's file if the model is to be saved beside it, or null.
        stores: Examples that earlier runs loaded.
        progress: Show bars; None: only on a terminal.

    Returns:
        ``{"record": ...}``, which says if the model could not be saved, or ``{"error": ...}`` with the
        reason in one line.
    """
    try:
        config = RunConfig.from_dict(request["config"])
        record, outcome = run_one(
            config,
            request["method"],
            request["seed"],
            stores.examples(config),
            progress,
            label=request["label"],
            scores_test=request["scores_test"],
            encoded_tests=stores.encoded_tests,
        )
        if request["kept_record"] is not None and outcome is not None:
            record = keep_model(outcome, Path(request["kept_record"]), record)
    except Exception as error:  # whatever stops one cell must not stop the others
        return {"error": out_of_memory(error) or f"{type(error).__name__}: {one_line(str(error), 600)}"}
    return {"record": record.to_dict()}


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries write to standard output is no answer
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    stores = Stores()
    reply: dict[str, Any] = {"ready": os.getpid()}
    while True:
        answers.write(json.dumps(reply, allow_nan=False) + "\n")
        answers.flush()
        reply = answer(json.loads(requests.get()), stores)


if __name__ == "__main__":
    main()
