"""What a CPU cannot show: masks, bits, memory and checkpoints on a CUDA device."""

from __future__ import annotations

import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

import agwm
from agwm.rng import seed_everything
from agwm.testing import FAMILIES, examples, pretrained
from benchmarks import oracles
from tests import masked_searches
from tests.fitting.made_rows import made_rows, tiny_model
from tests.hypergradient.test_explicit import windows
from tests.search_runs import Search, token_batches
from tests.tiny_models import tiny_bert

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
# cuBLAS repeats itself only with a workspace of its own, chosen before its first call
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# As on the CPU: see test_hypergradient_exact.py.
TOLERANCE = {"central": 5e-8, "forward": 2e-5}
ADAM = {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


@pytest.mark.parametrize("scheme", TOLERANCE)
@pytest.mark.parametrize("best_response", ["optimizer", "sgd"])
def test_hypergradient_is_exact_in_the_masks_that_the_device_drew(scheme, best_response):
    torch.manual_seed(5)
    update = {"optimizer": oracles.adam, "sgd": oracles.plain_sgd}[best_response]
    options = {"at_taken": best_response == "sgd"}
    search = Search(
        tiny_bert(dropout=0.1, dtype=torch.float64).cuda(),
        settings=ADAM,
        train_iters=4,
        hypergradient={"scheme": scheme, "best_response": best_response},
    )
    for moment in search.run():
        expected = oracles.unrolled(search.loss, moment, update, 0.0, **options)
        assert oracles.relative_error(moment.gradient, expected) < TOLERANCE[scheme]
        cpu = moment.inner[0][1][0]
        moment.inner = [(batch, (cpu, torch.cuda.get_rng_state())) for batch, _ in moment.inner]
        other = oracles.unrolled(search.loss, moment, update, 0.0, **options)
        assert best_response == "optimizer" or (
            oracles.relative_error(moment.gradient, other) > 100 * TOLERANCE["central"]
        )


@pytest.mark.parametrize("best_response", ["optimizer", "sgd"])
def test_explicit_part_is_exact_on_the_device(best_response):
    torch.manual_seed(5)
    update = {"optimizer": oracles.adam, "sgd": oracles.plain_sgd}[best_response]
    search = Search(
        tiny_bert(dropout=0.1, dtype=torch.float64).cuda(),
        settings=ADAM,
        train_iters=4,
        hypergradient={"scheme": "explicit", "best_response": best_response},
    )
    moments = search.run()
    assert len(moments) == 4
    for moment in moments:
        pretrained = dict(search.mixup.pretrained.items())
        expected = oracles.explicit(
            search.loss, moment, update, pretrained, at_taken=best_response == "sgd"
        )
        assert oracles.relative_error(moment.gradient, expected) < 1e-10
    assert oracles.relative_error(oracles.direct(search.loss, moment), expected) > 1e-4


def test_explicit_parts_of_a_window_are_exact_on_the_device():
    torch.manual_seed(5)
    options = {"train_iters": 6, "unroll_steps": 2, "hypergradient": {"scheme": "explicit"}}
    search = Search(tiny_bert(dropout=0.1, dtype=torch.float64).cuda(), settings=ADAM, **options)
    found = windows(search)
    assert [len(window) for window in found] == [2, 2, 2]
    for window in found:
        expected = oracles.explicit_window(search.loss, window, dict(search.mixup.pretrained.items()))
        assert oracles.relative_error(window[-1].gradient, expected) < 1e-10


FULL = """
import sys
import torch
from agwm.command_line.main import main
torch.cuda.set_per_process_memory_fraction(1e-6)
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_device_is_told_in_one_line(tmp_path):
    """In a process of its own: this one has room in blocks that it holds already."""
    tiny_model(tmp_path / "tiny")
    pd.DataFrame(made_rows(30)).to_csv(tmp_path / "rows.csv", index=False)
    line = ["fit", "rows.csv", "--text", "text", "--label", "label", "--model", "tiny"]
    line += ["--methods", "vanilla", "--device", "cuda", "--output-dir", "model"]
    place = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    command = [sys.executable, "-c", FULL, *line]
    done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True, check=False)
    errors = done.stderr.strip().splitlines()
    assert done.returncode == 1, errors
    assert errors[-1].startswith("error: Out of memory: expected room for a batch"), errors
    assert not any("Traceback" in text for text in errors)
    assert not (tmp_path / "model" / "config.json").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_output_at_the_pretrained_weights_is_the_plain_one_bit_for_bit(family, dtype):
    model = pretrained(family).model.to("cuda", dtype).eval()
    batch = {key: value.cuda() for key, value in torch.utils.data.default_collate(examples()[:4]).items()}
    with torch.no_grad():
        expected = model(**batch).logits
        agwm.inject(model, seed=0)
        assert torch.equal(model(**batch).logits, expected)


def test_outer_steps_leave_the_device_s_masks_to_the_inner_passes():
    control, full = (masked_searches.search(alpha, device="cuda") for alpha in ("frozen", "rank1"))
    learned = masked_searches.search("rank1", device="cuda", init_std=0.2, outer_lr=0.1)
    for engine in (control, full, learned):
        seed_everything(5)
        engine.run()
        assert torch.equal(torch.stack(engine.inner.masks), torch.stack(control.inner.masks))
    assert equal(masked_searches.weights(control), masked_searches.weights(full))
    assert not equal(masked_searches.weights(control), masked_searches.weights(learned))


def rows(seed: int) -> list[dict[str, torch.Tensor]]:
    (batch,) = token_batches(1, size=22, seed=seed)
    return [{key: value[i] for key, value in batch.items()} for i in range(22)]


def build(train_iters: int, seed: int, **options) -> Search:
    torch.manual_seed(seed)
    inner, outer = (
        DataLoader(rows(s), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(s))
        for s in (3, 4)
    )
    model = tiny_bert(dropout=0.1).cuda()
    return Search(model, inner=inner, outer=outer, train_iters=train_iters, hypergradient={}, **options)


def test_resumed_search_is_the_uninterrupted_one(tmp_path):
    file = tmp_path / "state.safetensors"
    whole = build(9, 7)
    whole.run()
    again = build(9, 7)  # after the run: building seeds the device
    again.run()
    assert equal(whole.weights(), again.weights())  # the device itself repeats
    build(4, 7, checkpoint=file).run()
    resumed = build(9, 99)
    resumed.engine.resume(file)
    resumed.run()
    assert equal(whole.weights(), resumed.weights()) and equal(whole.alpha(), resumed.alpha())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_held_memory_does_not_grow(precision):
    search = build(12, 7, precision=precision)
    held = []
    search.inner_optimizer.register_step_pre_hook(lambda *_: search.moments.clear())
    search.outer_optimizer.register_step_post_hook(lambda *_: held.append(torch.cuda.memory_allocated()))
    search.run()
    assert max(held[4:]) <= held[3] + 65536  # batches differ by a few bytes of padding


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_finetune_repeats_and_saves_what_it_computes(precision, tmp_path):
    results = []
    for _ in range(2):
        model = pretrained("bert").model.cuda()
        config = agwm.FinetuneConfig(
            search=agwm.SearchConfig(epochs=1, num_resplits=2, precision=precision),
            final=agwm.TrainingConfig(epochs=1, precision=precision),
        )
        collate = torch.utils.data.default_collate
        results.append(agwm.finetune(model, examples(), collate=collate, config=config, progress=False))
    first, second = (result.model for result in results)
    assert equal(first.state_dict(), second.state_dict())
    assert equal(results[0].alpha, results[1].alpha)
    results[0].save_pretrained(tmp_path)
    loaded = type(first).from_pretrained(tmp_path).cuda().eval()
    batch = {key: value.cuda() for key, value in torch.utils.data.default_collate(examples()).items()}
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, first.eval()(**batch).logits)


def test_mixup_is_saved_and_loaded_on_the_device(tmp_path):
    model = pretrained("bert").model.cuda()
    mixup = agwm.inject(model, seed=0)
    mixup.save_pretrained(tmp_path)
    again = agwm.load(tmp_path, model=pretrained("bert").model.cuda())
    for name in mixup.names:
        assert again.alpha(name).is_cuda and torch.equal(again.alpha(name), mixup.alpha(name))
        assert torch.equal(again.pretrained[name], mixup.pretrained[name])
