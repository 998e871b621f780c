"""Processes that work together over gloo on this machine: each calls a function of a test module."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def run_together(target: str, size: int, *arguments: str, timeout: int = 200) -> None:
    """Call a function in so many processes.

    Args:
        target: ``"module:function"``.
        size: Number of processes.
        arguments: What the function is called with.
        timeout: Seconds.
    """
    if not torch.distributed.is_gloo_available():
        pytest.skip("torch is built without gloo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # they part in a process that has imported everything: to import it takes ten times as long
    module = target.partition(":")[0]
    code = (
        f"import {module}; from tests.several_processes import part; part({target!r}, {size}, *{arguments})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(size),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr


def part(target: str, size: int, *arguments: str) -> None:
    """Run all processes, each parted from this one."""
    torch.multiprocessing.start_processes(_work, (target, arguments), nprocs=size, start_method="fork")


def _work(rank: int, target: str, arguments: tuple[str, ...]) -> None:
    """Call the function as one process; torchrun sets the same variables."""
    warnings.simplefilter("ignore")
    os.environ["RANK"] = str(rank)
    torch.distributed.init_process_group("gloo")
    module, _, name = target.partition(":")
    getattr(importlib.import_module(module), name)(*arguments)
    torch.distributed.destroy_process_group()
