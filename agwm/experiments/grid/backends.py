"""Run loops that hand cells to workers, in threads or on the machines of Ray."""

from __future__ import annotations

import ipaddress
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import joblib

from agwm.errors import AgwmError, ConfigError, MissingExtraError, one_line
from agwm.experiments.grid.client import PATIENCE, OneWorker
from agwm.experiments.grid.tickets import Ticket
from agwm.experiments.grid.work import Work
from agwm.experiments.grid.worker import Ended, run_cell

__all__ = ["run_loops"]

_ROOT = Path(__file__).resolve().parents[3]
_SECONDS_BETWEEN_LOOKS = 1.0


def run_loops(tickets: Sequence[Ticket], work: Work) -> dict[Path, str]:
    """Run the cells that no other process runs, several at once.

    Every loop walks through all cells and runs those that it is first to claim: it makes no difference
    whether the others are its own process's or another's.

    Args:
        tickets: The cells.
        work: Says how many loops there are and where they run, each with a worker process.

    Returns:
        Record's file -> why it was not written, for cells that are to be run again.

    Raises:
        MissingExtraError: If Ray is asked for and not installed.
        AgwmError: If workers cannot start, or claims and records cannot be written.
        KeyboardInterrupt: After Ctrl-C, when the workers have ended.
    """
    if work.jobs == 0:
        return _walk(tickets, lambda ticket: run_cell(ticket, None, work.stores, progress=None))
    with _ending_as_by_ctrl_c(signal.SIGTERM):
        try:
            with _away_from_here(), warnings.catch_warnings():
                # of a process whose memory grew, which loky starts anew; the cells are all run
                warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
                return _run_loops(tickets, work)
        except (KeyboardInterrupt, AgwmError):
            OneWorker.stop_all()
            raise


def _run_loops(tickets: Sequence[Ticket], work: Work) -> dict[Path, str]:
    num_loops = min(work.jobs, len(tickets))
    if work.backend == "ray":
        found = _on_ray(tickets, work, num_loops)
    else:
        found = joblib.Parallel(n_jobs=num_loops, batch_size=1, backend=work.backend)(
            joblib.delayed(_loop)(tickets, work.threads) for _ in range(num_loops)
        )
    return {path: line for lost in found for path, line in lost.items()}


def _on_ray(tickets: Sequence[Ticket], work: Work, num_loops: int) -> list[dict[Path, str]]:
    """Run loops as tasks of Ray, which starts that of a node that died again on another.

    Ray may take minutes to notice a machine that fell silent. Nobody waits for it when a loop has ended and
    nobody runs a cell any more: what is left is free, for the next round.

    Raises:
        AgwmError: If a loop does, or Ray gives one up.
    """
    ray = _start_ray(work.jobs)
    loop = ray.remote(_loop).options(num_cpus=1, scheduling_strategy="SPREAD")
    given = ray.put(tickets)
    found: list[dict[Path, str]] = []
    running = waiting = [loop.remote(given, work.threads) for _ in range(num_loops)]
    try:
        while waiting and not (found and all(one.is_done() or one.is_free() for one in tickets)):
            ended, waiting = ray.wait(waiting, timeout=_SECONDS_BETWEEN_LOOKS)
            found += ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise AgwmError(
            f"Ray gave a loop up: expected nodes that last, got {one_line(str(error), 200)}. Run the same"
            " command again, which goes on."
        ) from None
    finally:  # those that still run, as after Ctrl-C, end their cells at a checkpoint
        for one in waiting:
            ray.cancel(one)
        ray.wait(running, num_returns=num_loops, timeout=PATIENCE)
    return found


@contextmanager
def _ending_as_by_ctrl_c(number: int) -> Iterator[None]:
    """Context manager: a signal first ends the body as Ctrl-C does, and then does what it does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    has_come = False

    def end(*_: object) -> NoReturn:
        nonlocal has_come
        has_come = True
        raise KeyboardInterrupt

    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)
        if has_come:
            signal.raise_signal(number)


@contextmanager
def _away_from_here() -> Iterator[None]:
    """Context manager: processes that start import nothing from the present folder, as of Python 3.11.

    An empty part of ``PYTHONPATH``, as in ``/a:``, stands for that folder too.
    """
    before = {name: os.environ.get(name) for name in ("PYTHONSAFEPATH", "PYTHONPATH")}
    paths = filter(None, (before["PYTHONPATH"] or "").split(os.pathsep))
    os.environ |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join((str(_ROOT), *paths))}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _loop(tickets: Sequence[Ticket], threads: int) -> dict[Path, str]:
    with OneWorker(threads) as worker:
        return _walk(tickets, worker.run)


def _walk(tickets: Sequence[Ticket], run: Callable[[Ticket], Ended]) -> dict[Path, str]:
    ended = {ticket.path: run(ticket).lost for ticket in tickets if not ticket.is_done()}
    return {path: line for path, line in ended.items() if line}


def _start_ray(jobs: int) -> Any:
    """Return Ray: that which the program runs in, that of RAY_ADDRESS, or one on the loopback address.

    Raises:
        ConfigError: If Ray listens on the network.
        MissingExtraError: If Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray puts the machine's own address in place of a loopback one, unless this is 0 when it is imported
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError(
            "Backend 'ray' is not installed: expected the extra 'ray', got none."
            " Run: pip install 'agwm[ray]', or choose --backend threading."
        ) from None
    if ray.is_initialized():
        return ray
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        ray.init("local", num_cpus=jobs, include_dashboard=False, _node_ip_address="127.0.0.1")
        address = ray.util.get_node_ip_address()
        if not ipaddress.ip_address(address).is_loopback:
            ray.shutdown()
            raise ConfigError(
                f"Ray listens on the network: expected a loopback address, got {address}. Set"
                " RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, or start Ray yourself before the grid."
            )
    return ray
