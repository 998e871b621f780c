"""Two processes give what one gives on the global batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from agwm.processes import average_gradients_, num_processes
from benchmarks.oracles import relative_error
from tests.search_runs import Search, token_batches

ROOT = Path(__file__).parents[2]
OPTIONS = {"train_iters": 4, "gradient_clipping": 0.1}


def large_batches(seed: int) -> list[dict[str, torch.Tensor]]:
    # no padding: both halves weigh the same
    batches = token_batches(4, size=4, seed=seed)
    return [{k: v for k, v in batch.items() if k != "attention_mask"} for batch in batches]


def share(batches: list[dict[str, torch.Tensor]], rank: int) -> list[dict[str, torch.Tensor]]:
    return [{k: v[2 * rank : 2 * rank + 2] for k, v in batch.items()} for batch in batches]


def work(rank: int, best_response: str, scheme: str, folder: str) -> None:
    """Run one rank; the other variables of torchrun are set."""
    warnings.simplefilter("ignore")
    os.environ["RANK"] = str(rank)
    torch.distributed.init_process_group("gloo")
    assert torch.distributed.get_rank() == rank and num_processes() == 2
    search = Search(
        inner=share(large_batches(0), rank),
        outer=share(large_batches(1), rank),
        hypergradient={"best_response": best_response, "scheme": scheme},
        **OPTIONS,
    )
    unused = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    unused[0].grad = torch.full((2,), 2.0)
    unused[1].grad = torch.full((2,), 4.0) if rank == 1 else None
    average_gradients_(unused)
    assert unused[0].grad.tolist() == [2.0, 2.0]
    assert unused[1].grad.tolist() == [2.0, 2.0]
    assert unused[2].grad is None
    search.run()
    torch.save(
        {
            "gradients": [m.gradient for m in search.moments],
            "weights": search.weights(),
            "alpha": search.alpha(),
        },
        f"{folder}/{rank}.pt",
    )
    torch.distributed.destroy_process_group()


def part(*arguments: str) -> None:
    """Run both ranks, each in a process of its own."""
    torch.multiprocessing.start_processes(work, arguments, nprocs=2, start_method="fork")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
@pytest.mark.parametrize(
    ("best_response", "scheme"),
    [("optimizer", "forward"), pytest.param("identity", "central", marks=pytest.mark.slow)],
)
def test_two_processes_give_what_one_gives_on_the_global_batch(best_response, scheme, tmp_path):
    if not torch.distributed.is_gloo_available():
        pytest.skip("torch is built without gloo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # the ranks part in a process that has imported everything: to import it takes ten times as long
    arguments = (best_response, scheme, str(tmp_path))
    code = f"from tests.search.test_engine_processes import part; part(*{arguments})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": "2",
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    search = Search(
        inner=large_batches(0),
        outer=large_batches(1),
        hypergradient={"best_response": best_response, "scheme": scheme},
        **OPTIONS,
    )
    moments = search.run()
    for moment, one, two in zip(moments, first["gradients"], second["gradients"], strict=True):
        assert relative_error(two, one) == 0
        # rounding, which the finite difference magnifies: measured 1e-9 (central), 1e-6 (forward)
        assert relative_error(one, moment.gradient) < (1e-7 if scheme == "central" else 1e-4)
    for name, weight in search.weights().items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], weight, rtol=1e-5, atol=1e-8)
    assert not torch.equal(*(token_batches(1)[0]["input_ids"][i] for i in (0, 2)))
