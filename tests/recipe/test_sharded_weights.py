"""Weights that fully_shard spreads over processes: parts of 1/n, and the steps of one process."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import agwm
from agwm.checkpoints import Stage
from agwm.errors import ProcessError
from agwm.hypergradient import search_step
from agwm.processes import num_processes, process_number
from agwm.search.engine import MixupEngine
from agwm.shards import is_sharded, whole
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import examples
from agwm.training.loop import train
from tests.methods.cells import small_method
from tests.recipe.test_several_processes import NUM_EXAMPLES, loaded_model
from tests.several_processes import run_together

HERE = "tests.recipe.test_sharded_weights"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
collate = torch.utils.data.default_collate
SETTINGS = {
    "clipped": {"clipping": 0.05},  # below the norm of every gradient
    "window": {"unroll_steps": 2, "num_resplits": 2},
}


def model_of() -> Any:
    return loaded_model().model


def sharded_model() -> Any:
    """Shard each layer, then what is left, over all processes."""
    model, mesh = model_of(), init_device_mesh("cpu", (num_processes(),))
    for layers in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for layer in layers:
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def finetuned(model: Any, **search: Any) -> Any:
    config = agwm.FinetuneConfig(
        search=agwm.SearchConfig(epochs=1, batch_size=8, learning_rate=1e-3, **search),
        final=agwm.TrainingConfig(epochs=1, batch_size=8, learning_rate=1e-3),
        seed=3,
    )
    rows = examples()[:NUM_EXAMPLES]
    # the mean loss is a pass without a backward one, after which FSDP leaves weights gathered
    return agwm.finetune(model, rows, eval_dataset=rows[:8], collate=collate, config=config, progress=False)


def state_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: whole(tensor).detach().clone() for name, tensor in model.named_parameters()}


def outcome_of(result: Any) -> dict[str, Any]:
    return {
        "W": state_of(result.model),
        "alpha": dict(result.attention.named_parameters()),
        "losses": [record["eval_loss"] for record in result.history],
    }


def check_part(tensor: Any) -> None:
    """Raise unless a tensor is sharded, and this process has no more of it than its part."""
    assert is_sharded(tensor)
    rows = -(-tensor.shape[0] // num_processes())
    assert tensor.to_local().numel() <= rows * (tensor.numel() // tensor.shape[0])


def check_parts(engine: MixupEngine, vectors: list[Any]) -> None:
    """Raise unless W, W0, moments, v and the slopes of a search that has run are sharded."""
    inner = engine._inner
    large = [p for p in inner.model.parameters() if p.shape[0] > num_processes() and p.dim() > 1]
    moments = [inner.optimizer.state[p][key] for p in large for key in ("exp_avg", "exp_avg_sq")]
    pretrained = list(inner.mixup.pretrained.values())
    slopes = [*inner._recording.slopes.values()]
    assert len(large) > 20 and len(pretrained) > 15
    assert len(vectors) > (20 if inner.gradient_clipping < 1.0 else 15)  # unclipped: of the mixed weights
    for tensor in (*large, *moments, *pretrained, *vectors, *slopes):
        check_part(tensor)
    for tensor in (*large, *moments, *pretrained):  # nor is it a view of a whole one
        assert tensor.to_local().untyped_storage().nbytes() <= 0.75 * tensor.numel() * tensor.element_size()


def work(folder: str) -> None:
    """Finetune sharded models as one of several processes."""
    seen: list[Any] = []
    own, run = search_step.explicit_term, MixupEngine.run

    def noting(vector: list[Any], asked: Any, weights: Any, uppers: Any, trace: Any, *rest: Any) -> Any:
        seen[:] = [v for v in vector if v.shape[0] > num_processes() and v.dim() > 1]
        for tensor in (*seen, *trace.slopes.values(), *filter(is_sharded, trace.step.gradients)):
            assert is_sharded(tensor)
        return own(vector, asked, weights, uppers, trace, *rest)

    def checked(engine: MixupEngine) -> None:
        run(engine)
        check_parts(engine, seen)

    search_step.explicit_term, MixupEngine.run = noting, checked
    for name, search in SETTINGS.items():
        result = finetuned(sharded_model(), **search)
        torch.save(outcome_of(result), f"{folder}/{name}.{process_number()}.pt")
    result.save_pretrained(f"{folder}/model")
    model = sharded_model()
    train_vanilla(model, job_of(loaded_model(), epochs=1))
    torch.save(state_of(model), f"{folder}/vanilla.{process_number()}.pt")
    check_refusals()


def check_refusals() -> None:
    """What needs whole weights is refused by name, before it changes any."""
    model = sharded_model()
    before = state_of(model)
    mixout = small_method("mixout")
    job = job_of(loaded_model(), epochs=1)
    with pytest.raises(ProcessError, match="expected whole ones in each process for method 'mixout', got"):
        train(model, job.examples, collate=collate, config=job.training, seed=1, hooks=mixout)
    central = agwm.FinetuneConfig(hypergradient=agwm.Hypergradient(scheme="central"))
    with pytest.raises(ProcessError, match="for a finite difference, got a DTensor in 'bert.* 'explicit'"):
        agwm.finetune(model, examples(), collate=collate, config=central)
    back = agwm.FinetuneConfig(search=agwm.SearchConfig(roll_back=True))
    with pytest.raises(ProcessError, match="for roll_back, got a DTensor"):
        agwm.finetune(model, examples(), collate=collate, config=back)
    for stage in ("search", "final"):
        section = {"search": agwm.SearchConfig, "final": agwm.TrainingConfig}[stage]
        cut = agwm.FinetuneConfig(**{stage: section(gradient_accumulation=2)})
        with pytest.raises(ProcessError, match="for gradient_accumulation above 1, got a DTensor"):
            agwm.finetune(model, examples(), collate=collate, config=cut)
    mixup = agwm.inject(model)
    with pytest.raises(ProcessError, match="Save by the result of agwm.finetune, in all processes."):
        mixup.save_pretrained("never")
    with pytest.raises(agwm.errors.ModelError, match="expected a weight that fully_shard has gathered"):
        model.bert.encoder.layer[0].output.dense.weight  # noqa: B018
    with torch.no_grad():  # in full, as the hook mixes it
        read = model.bert.encoder.layer[0].output.dense.weight
    assert torch.equal(read, before["bert.encoder.layer.0.output.dense.weight"])
    mixup.remove()
    after = state_of(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def train_vanilla(model: torch.nn.Module, job: Any, stage: Stage | None = None) -> None:
    """Train a model by the method vanilla, on the examples and by the settings of a job."""
    train(
        model,
        job.examples,
        collate=collate,
        config=job.training,
        seed=1,
        hooks=small_method("vanilla"),
        progress=False,
        stage=stage,
    )


def close(found: Any, expected: Any, least: float) -> bool:
    return all(torch.allclose(found[key], expected[key], rtol=0, atol=least) for key in expected)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What one process makes."""
    found = {name: outcome_of(finetuned(model_of(), **search)) for name, search in SETTINGS.items()}
    model = model_of()
    train_vanilla(model, job_of(loaded_model(), epochs=1))
    return {**found, "vanilla": state_of(model)}


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_shards_make_the_steps_of_one_process(tmp_path, expected, size):
    run_together(f"{HERE}:work", size, str(tmp_path), timeout=400)
    start = state_of(model_of())
    for name in SETTINGS:
        outcomes = [torch.load(tmp_path / f"{name}.{number}.pt") for number in range(size)]
        for outcome in outcomes:
            assert close(outcome["W"], expected[name]["W"], 1e-7), name
            assert close(outcome["alpha"], expected[name]["alpha"], 1e-6), name
            assert outcome["losses"] == pytest.approx(expected[name]["losses"], abs=1e-9)
        assert not close(start, expected[name]["W"], 1e-3)  # the steps are not next to nothing
        assert max(float((1 - a).abs().max()) for a in expected[name]["alpha"].values()) > 1e-3
    for number in range(size):
        assert close(torch.load(tmp_path / f"vanilla.{number}.pt"), expected["vanilla"], 1e-7)
    saved = type(model_of()).from_pretrained(tmp_path / "model", dtype=torch.float64)
    assert close(state_of(saved), torch.load(tmp_path / "window.0.pt")["W"], 0.0)
    assert "FSDP" not in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
