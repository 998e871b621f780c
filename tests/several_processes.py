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
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, start_processes

ROOT = Path(__file__).parents[1]


def run_together(target: str, size: int, *arguments: str, timeout: int = 200) -> None:
    """Call a function in so many processes.

    Args:
        target: ``"module:function"``.
        size: Number of processes.
        arguments: What the function is called with.
        timeout: Seconds.
    """
    run_in_turn([(target, *arguments)], size, timeout=timeout)


def run_in_turn(calls: list[tuple[str, ...]], size: int, *, timeout: int = 200) -> None:
    """Call one function after the other, each in so many new processes.

    Args:
        calls: ``"module:function"`` and its arguments; ``"!module:function"`` where one process ends early.
        size: Number of processes.
        timeout: Seconds for all.
    """
    if not torch.distributed.is_gloo_available():
        pytest.skip("torch is built without gloo")
    # they part in a process that has imported everything: to import it takes ten times as long
    modules = ", ".join(sorted({call[0].lstrip("!").partition(":")[0] for call in calls}))
    code = f"import {modules}; from tests.several_processes import part; part({calls}, {size})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MASTER_ADDR": "127.0.0.1",
            "WORLD_SIZE": str(size),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr


def part(calls: list[tuple[str, ...]], size: int) -> None:
    """Run all processes of each call, each parted from this one."""
    for target, *arguments in calls:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ["MASTER_PORT"] = str(probe.getsockname()[1])
        if target.startswith("!"):
            _run_to_a_loss(target[1:], tuple(arguments), size)
        else:
            start_processes(_work, (target, tuple(arguments)), nprocs=size, start_method="fork")


def _run_to_a_loss(target: str, arguments: tuple[str, ...], size: int) -> None:
    try:
        start_processes(_work, (target, arguments), nprocs=size, start_method="fork")
    except ProcessExitedException:
        return
    except ProcessRaisedException as error:  # another process may tell first that it has lost one
        if "agwm.errors.ProcessError: " in str(error):
            return
        raise
    raise AssertionError(f"{target} came to its end")


def _work(rank: int, target: str, arguments: tuple[str, ...]) -> None:
    """Call the function as one process; torchrun sets the same variables."""
    warnings.simplefilter("ignore")
    os.environ["RANK"] = str(rank)
    torch.distributed.init_process_group("gloo")
    module, _, name = target.partition(":")
    getattr(importlib.import_module(module), name)(*arguments)
    torch.distributed.destroy_process_group()
