"""Run loops that hand cells to workers, in threads or in a backend of joblib."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Annotated

import joblib

from agwm.checks import Interval, check_value
from agwm.errors import AgwmError, ConfigError, MissingExtraError, close_names, shown
from agwm.experiments.grid.claims import claim, release
from agwm.experiments.grid.client import CellWorker, InProcess
from agwm.experiments.grid.orphans import ending_with
from agwm.experiments.grid.tickets import Ticket
from agwm.files import write_json

__all__ = ["BACKENDS", "check_workers", "run_loops"]

BACKENDS: tuple[str, ...] = ("threading", "loky", "multiprocessing", "ray")


def check_workers(jobs: int, backend: str, threads: int) -> None:
    """Raise unless the backend is known and the numbers are in range.

    Raises:
        ConfigError: Otherwise.
    """
    check_value("--jobs", Annotated[int, Interval(0, 1024)], jobs)
    check_value("--threads", Annotated[int, Interval(1, 1024)], threads)
    if backend not in BACKENDS:
        raise ConfigError(
            f"Unknown backend {shown(backend)}: expected one of {', '.join(BACKENDS)}."
            f"{close_names(backend, BACKENDS)}"
        )


def run_loops(tickets: Sequence[Ticket], jobs: int, backend: str, threads: int) -> bool:
    """Run the cells that no other process holds, several at once.

    Every loop walks through all cells and runs those that it is first to claim: it makes no difference
    whether the others are its own process's or another's.

    Args:
        tickets: The cells.
        jobs: Number of loops; 0: one in this process, that runs the cells itself.
        backend: One of ``BACKENDS``, for ``jobs`` of 1 and more.
        threads: Torch threads of a worker.

    Returns:
        True if the loops came to their end; False if one of them was killed, and all ended with it.
        Of ``multiprocessing`` a loop that was killed is not noticed, but waited for.

    Raises:
        ConfigError: If the backend or the number is wrong.
        MissingExtraError: If Ray is asked for and not installed.
        AgwmError: If workers cannot start, or claims and records cannot be written.
        KeyboardInterrupt: After Ctrl-C, when the loops have ended.
    """
    check_workers(jobs, backend, threads)
    leader = os.getpid()
    if jobs == 0 or (jobs == 1 and backend == "threading"):
        _loop(tickets, jobs, threads, leader)
        return True
    if backend == "ray":
        _start_ray(jobs)
    num_loops = max(1, min(jobs, len(tickets)))
    try:
        with _away_from_here(), joblib.parallel_config(backend):
            joblib.Parallel(n_jobs=num_loops, batch_size=1)(
                joblib.delayed(_loop)(tickets, jobs, threads, leader) for _ in range(num_loops)
            )
    except (KeyboardInterrupt, AgwmError):
        CellWorker.stop_all()
        raise
    except BrokenProcessPool:
        return False
    return True


@contextmanager
def _away_from_here() -> Iterator[None]:
    """Context manager: processes import nothing from the present folder, from Python 3.11 on."""
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _loop(tickets: Sequence[Ticket], jobs: int, threads: int, leader: int) -> None:
    with ending_with(leader), CellWorker(threads) if jobs else InProcess() as worker:
        for ticket in tickets:
            if ticket.is_done():
                continue
            worker.start()
            if not claim(ticket.claim, worker.pid):
                continue
            try:
                if not ticket.is_done():  # another may have finished it before the claim
                    _run(ticket, worker, threads)
            finally:
                release(ticket.claim)


def _run(ticket: Ticket, worker: CellWorker | InProcess, threads: int) -> None:
    start = time.perf_counter()
    reply = worker.run(ticket.request())
    record = reply.get("record")
    if record is None:
        record = ticket.failed(reply["error"], time.perf_counter() - start, threads).to_dict()
    write_json(ticket.path, record)


def _start_ray(jobs: int) -> None:
    """Start Ray on this machine's loopback address, unless the program runs in a Ray already.

    Raises:
        ConfigError: If Ray listens on the network.
        MissingExtraError: If Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray puts the machine's own address in place of a loopback one, unless this is 0 when it is imported
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise MissingExtraError(
            "Backend 'ray' is not installed: expected the extra 'ray', got none."
            " Run: pip install 'agwm[ray]', or choose --backend loky."
        ) from None
    if not ray.is_initialized():
        ray.init(num_cpus=jobs, include_dashboard=False, _node_ip_address="127.0.0.1")
        address = ray.util.get_node_ip_address()
        if not ipaddress.ip_address(address).is_loopback:
            ray.shutdown()
            raise ConfigError(
                f"Ray listens on the network: expected a loopback address, got {address}. Set"
                " RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, or start Ray yourself before the grid."
            )
    register_ray()
