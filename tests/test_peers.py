"""A process that dies is named by all others, and only that one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from agwm import peers
from agwm.errors import ProcessError
from agwm.peers import introduce, naming_lost
from agwm.processes import average_, process_number
from tests.several_processes import run_together

HERE = "tests.test_peers"


def work(folder: str) -> None:
    """Lose the second of three processes."""
    number = process_number()
    introduce()
    introduce()  # known already: no exchange
    average_([torch.ones(2)])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which a launcher ends the others
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _told(folder, number, lambda: average_([torch.ones(2)]))


def shards(folder: str) -> None:
    """The same in a pass of sharded weights, where torch makes the exchange."""
    number = process_number()
    introduce()
    model = fully_shard(nn.Linear(4, 4), mesh=init_device_mesh("cpu", (2,)))
    model(torch.ones(1, 4)).sum().backward()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which a launcher ends the others
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)

    @naming_lost()
    def step() -> None:
        for _ in range(3):
            model(torch.ones(1, 4)).sum().backward()

    _told(folder, number, step)


def _told(folder: str, number: int, call: object) -> None:
    try:
        call()
    except ProcessError as error:
        Path(folder, f"{number}.txt").write_text(str(error), encoding="utf-8")
    os._exit(0)  # gloo's threads wait for the lost process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
@pytest.mark.parametrize(("target", "size"), [("work", 3), ("shards", 2)])
def test_the_others_name_the_lost_one(tmp_path, target, size):
    with pytest.raises(AssertionError, match="SIGKILL"):
        run_together(f"{HERE}:{target}", size, str(tmp_path))
    told = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")}
    assert set(told) == {"0", "2"} & set(map(str, range(size)))
    for number, line in told.items():
        assert line.startswith(f"Process 1 is lost: expected all {size} to exchange gradients, got no"), (
            line
        )
        assert f"answer in process {number} (" in line and line.endswith("what it printed last.")


@pytest.mark.parametrize(
    ("far", "who"),
    [([2], "Process 2 is"), ([2, 3], "One of processes 2, 3 is"), ([], "A process is")],
)
def test_of_other_hosts_those_are_named_that_may_be_lost(monkeypatch, far, who):
    """The two below stand in for processes on two machines, which are not here."""
    own = peers._place()
    known = [own, (own[0], os.getppid()), *(("elsewhere", 1) for _ in far)]
    monkeypatch.setattr(peers, "_peers", {dist.group.WORLD: known})
    monkeypatch.setattr(peers, "_PATIENCE", 0.1)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: len(known))
    with pytest.raises(ProcessError, match=f"^{who} lost: expected all {len(known)} to"), naming_lost():
        raise RuntimeError("gloo: Connection closed by peer")


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="a loss of one's own") as caught, naming_lost():
        raise RuntimeError("a loss of one's own")
    assert not isinstance(caught.value, ProcessError)
