"""Two nodes, each a network namespace of its own: torchrun on both ends where one process ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.recipe.test_sharded_weights import close, finetuned, model_of, outcome_of

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import torch
from tests.recipe.test_sharded_weights import finetuned, model_of, outcome_of, sharded_model
torch.distributed.init_process_group("gloo")
number = torch.distributed.get_rank()
for name, make in {"whole": model_of, "sharded": sharded_model}.items():
    result = finetuned(make())
    torch.save(outcome_of(result), f"{sys.argv[1]}/{name}.{number}.pt")
torch.distributed.destroy_process_group()
"""
# The namespaces, and the cable between them, go with the shell that makes them.
NODES = """
set -e
mount -t tmpfs none /run
ip netns add first && ip netns add second
ip link add left netns first type veth peer name right netns second
ip -n first addr add 10.77.0.1/24 dev left && ip -n second addr add 10.77.0.2/24 dev right
for one in "first left" "second right"; do
  set -- $one "$PYTHON" "$SCRIPT" "$OUT"
  ip -n $1 link set lo up && ip -n $1 link set $2 up
done
export GLOO_SOCKET_IFNAME=left
node() { ip netns exec $1 "$PYTHON" -m torch.distributed.run --nnodes 2 --node-rank $2 --nproc-per-node 1 \
  --master-addr 10.77.0.1 --master-port 29500 "$SCRIPT" "$OUT"; }
node first 0 & leader=$!
GLOO_SOCKET_IFNAME=right node second 1
wait $leader
"""


@pytest.mark.slow
def test_two_nodes_end_where_one_process_ends(tmp_path):
    rights = ["unshare", "-rnm", "bash", "-c"]
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("there is no unshare or ip here")
    if subprocess.run(
        [*rights, "mount -t tmpfs none /run && ip netns add x"], capture_output=True
    ).returncode:
        pytest.skip("no network namespace can be made here")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    own = {"PYTHON": sys.executable, "SCRIPT": str(script), "OUT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*rights, NODES],
        env={**os.environ, **own, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    expected = outcome_of(finetuned(model_of()))
    for name in ("whole", "sharded"):
        for number in range(2):
            found = torch.load(tmp_path / f"{name}.{number}.pt")
            assert close(found["W"], expected["W"], 1e-7) and close(found["alpha"], expected["alpha"], 1e-6)
