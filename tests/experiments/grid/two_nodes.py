"""A Ray cluster of two nodes, each in a network of its own: run a grid, and kill the second node in a cell.

Started in namespaces of its own (:data:`ALONE`), so that nothing outlives it and nobody else can reach it.
Arguments: a grid file, its output folder, and a new folder of a short name for Ray.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.experiments.grid.commands import ENVIRONMENT
from tests.programs import GLUE_LOWRES

__all__ = ["ALONE"]

_OWN = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
ALONE = ["unshare", "--map-root-user", *_OWN]
_HEAD, _OTHER, _PORT = "10.77.0.1", "10.77.0.2", 6379
_RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus", "1", "--disable-usage-stats"]
_QUICK = {  # of the head: a node that is silent for so long is dead
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_WAIT_AND_JOIN = """
hostname other
until ip link show other; do sleep 0.1; done
ip link set lo up && ip addr add "$1/24" dev other && ip link set other up
until [ -e "$2/ready" ]; do sleep 0.1; done
shift 2
exec "$@"
"""


def _ip(*words):
    subprocess.run(["ip", *words], check=True)


def _until(condition, seconds):
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.02)
    return found


def _start_nodes(folder):
    """Start the head in this network and another node in a network of its own; return the other."""
    _ip("link", "set", "lo", "up")
    join = [*_RAY, "--block", "--address", f"{_HEAD}:{_PORT}", "--node-ip-address", _OTHER]
    join += ["--temp-dir", str(folder / "b")]
    other = subprocess.Popen(
        ["unshare", "--uts", *_OWN, "sh", "-c", _WAIT_AND_JOIN, "sh", _OTHER, str(folder), *join],
        env=ENVIRONMENT,
        stdout=(folder / "other.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    children = Path(f"/proc/{other.pid}/task/{other.pid}/children")
    child = _until(children.read_text, 30).strip()
    _ip("link", "add", "name", "head", "type", "veth", "peer", "name", "other", "netns", child)
    _ip("addr", "add", f"{_HEAD}/24", "dev", "head")
    _ip("link", "set", "head", "up")
    head = [*_RAY, "--head", "--port", str(_PORT), "--node-ip-address", _HEAD]
    head += ["--include-dashboard", "false", "--temp-dir", str(folder / "a")]
    with (folder / "head.log").open("w") as log:
        subprocess.run(head, env=ENVIRONMENT | _QUICK, check=True, stdout=log, stderr=log)
    (folder / "ready").touch()
    return other


def _claimed_by_other(claims):
    for path in claims.glob("*.lock"):
        try:
            if path.read_text().endswith(" on other"):
                return path.stem
        except OSError:  # gone in the meantime
            continue
    return None


def _main(grid, out, folder):
    other = _start_nodes(folder)
    command = [sys.executable, str(GLUE_LOWRES), "--grid", grid, "--backend", "ray", "--jobs", "2"]
    leader = subprocess.Popen(
        command,
        env=ENVIRONMENT | {"RAY_ADDRESS": f"{_HEAD}:{_PORT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    cell = _until(lambda: _claimed_by_other(out / "claims") or leader.poll() is not None, 900)
    found = {"cell": cell}
    if leader.poll() is None:
        _ip("link", "set", "head", "down")  # a dead machine does not say that it is gone
        other.kill()
        found["had_record"] = (out / "results" / f"{cell}.json").exists()
    found["out"], found["err"] = leader.communicate()
    print(json.dumps({**found, "code": leader.returncode}))


if __name__ == "__main__":
    os.environ.pop("RAY_ADDRESS", None)
    ENVIRONMENT["RAY_AUTH_MODE"] = "disabled"  # Ray 2.60 asks for a token; nobody else is in here
    _main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
