"""Checkpoints of sharded weights: each process writes its part, and all go on to the same bits."""

from __future__ import annotations

import json
import math
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils._pytree import tree_leaves
from transformers.modeling_outputs import SequenceClassifierOutput

import agwm
from agwm.checkpoints import Checkpoints, Stage
from agwm.errors import ConfigError
from agwm.files import load_tree
from agwm.processes import num_processes, process_number
from agwm.recipe import run_checkpoints
from agwm.recipe.run_checkpoints import checkpoints_of_run
from agwm.shards import whole
from agwm.testing.jobs import job_of
from agwm.testing.tiny_models import VOCAB_SIZE, examples, pretrained
from tests.recipe.test_sharded_weights import train_vanilla
from tests.several_processes import run_in_turn

HERE = "tests.recipe.test_checkpoints_of_shards"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot part here")
NUM_EXAMPLES = 17
collate = torch.utils.data.default_collate


class Odd(nn.Module):
    """A classifier whose weights no number of processes divides, with a tied weight and buffers."""

    def __init__(self, width: int = 7, num_layers: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, width)
        self.norm = nn.BatchNorm1d(width)
        self.narrow = nn.Linear(width, 1)  # all of it is in the first process
        self.wide = nn.Linear(1, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))
        self.dropout = nn.Dropout(0.2)
        self.words = nn.Linear(width, VOCAB_SIZE, bias=False)
        self.words.weight = self.embedding.weight
        self.head = nn.Linear(VOCAB_SIZE, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Any:
        state = self.norm(self.embedding(input_ids).transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            state = state + torch.tanh(layer(state))
        state = self.dropout(state + self.wide(torch.tanh(self.narrow(state))))
        logits = self.head(torch.tanh(self.words(state.mean(1))))
        return SequenceClassifierOutput(loss=nn.functional.cross_entropy(logits, labels), logits=logits)


def odd_model(width: int = 7, num_layers: int = 1, seed: int = 0) -> Odd:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Odd(width, num_layers)


def sharded(model: Any, *shape: int) -> Any:
    """Shard each layer, then what is left, over all processes."""
    shape = shape or (num_processes(),)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("copies", "parts")[-len(shape) :])
    for layers in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for layer in layers:
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def finetuned(folder: Any, model: Any, epochs: int = 2, **settings: Any) -> Any:
    """Finetune with dropout: each process has random states of its own."""
    config = agwm.FinetuneConfig(
        search=agwm.SearchConfig(epochs=1, num_resplits=2, batch_size=8, learning_rate=1e-3),
        final=agwm.TrainingConfig(epochs=epochs, batch_size=8, learning_rate=1e-3),
    )
    rows = examples()[:NUM_EXAMPLES]
    options: Any = {"collate": collate, "config": config, "progress": False, "checkpoint_step": 1}
    options |= {"checkpoint_dir": folder, "eval_dataset": rows[:8], **settings}
    return agwm.finetune(model, rows, **options)


def run(folder: str, name: str, kind: str = "odd", before: str = "") -> None:
    """Finetune sharded weights, and keep what came out, and what was told.

    Args:
        folder: Where the folder of the run is.
        name: Its name.
        kind: The model.
        before: ``"refused"`` or ``"damaged"``: see there.
    """
    if before:
        {"refused": refused, "damaged": damaged}[before](Path(folder, name))
    told: list[str] = []
    run_checkpoints._tell = told.append
    model = odd_model() if kind == "odd" else pretrained("bert").model
    result = finetuned(f"{folder}/{name}", sharded(model))
    found = {f"W {name}": whole(tensor) for name, tensor in result.model.named_parameters()}
    found |= {f"alpha {name}": tensor for name, tensor in result.attention.state_dict().items()}
    found |= {f"start {name}": tensor for name, tensor in result.initial_attention.state_dict().items()}
    found |= {f"own {name}": buffer for name, buffer in result.model.named_buffers()}
    outcome = {"tensors": found, "history": result.history, "told": told}
    torch.save(outcome, f"{folder}/{name}.{process_number()}.pt")


def stopping(folder: str, name: str, phase: str, step: str, how: str, kind: str = "odd") -> None:
    """Finetune, and end in the middle: the last process gets a signal, SIGTERM the others later on too.

    Args:
        folder: Where the folder of the run is.
        name: Its name.
        phase: The training in which it comes.
        step: The step before whose checkpoint it comes, which the others write; 0: before the training.
        how: ``"SIGKILL"`` or ``"SIGTERM"``.
        kind: The model.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    is_last = process_number() == num_processes() - 1
    write, begin = Stage._write, Checkpoints.stage

    def written(stage: Stage, what: str, state: Any) -> None:
        late = int(what) - int(step) if stage.name == phase and what.isdigit() else None
        if is_last and late == 0:  # SIGTERM is passed on to all after the next step
            os.kill(os.getpid(), getattr(signal, how))
        if not is_last and late == 1 and how == "SIGTERM":  # a launcher sends it to all
            os.kill(os.getpid(), signal.SIGTERM)
        write(stage, what, state)

    def begun(checkpoints: Checkpoints, stage: str) -> Stage:
        if is_last and (stage, "0") == (phase, step):
            os.kill(os.getpid(), getattr(signal, how))
        return begin(checkpoints, stage)

    Stage._write, Checkpoints.stage = written, begun
    run(folder, name, kind)


def damaged(place: Path) -> None:
    """Damage the newest checkpoint of the last process, which all have."""
    number, size = process_number() + 1, num_processes()
    newest = max(Path(place, f"process-{number}-of-{size}").glob("*.safetensors"))
    assert newest.name == "03-00000004.safetensors"
    if number == size:
        newest.write_bytes(newest.read_bytes()[:-5])


def refused(place: Path) -> None:
    """Whole weights, other weights and another sharding are another run; nothing is removed."""
    before = sorted(place.rglob("*.safetensors"))
    parts = r"11 by Shard\(dim=0\) over \[0, 1\]; gathered by the model"
    for model, line in (
        (odd_model(), f"expected sharding 'whole', got '{parts}, layers.0'"),
        (fully_shard(odd_model()), f"expected sharding '{parts}', got '{parts}, layers.0'"),
        (sharded(odd_model(), 1, 2), r"expected sharding '11 by Replicate\(\), Shard.*', got '11 by Shard"),
        (sharded(odd_model(seed=1)), "expected model '[0-9a-f]+', got '"),
    ):
        with pytest.raises(ConfigError, match=f"are of another run: {line}"):
            finetuned(place, model)
    assert before and before == sorted(place.rglob("*.safetensors"))


def sizes(folder: str) -> None:
    """Write how many bytes the checkpoints of whole and of sharded weights have; check each part."""
    found: dict[str, dict[str, int]] = {}
    write = Stage._write

    def noted(stage: Stage, what: str, state: Any) -> None:
        write(stage, what, state)
        path = stage._path(what)
        found[kind][f"{stage.name} {what}"] = path.stat().st_size
        if kind == "sharded":
            check_parts(load_tree(path)["state"])

    Stage._write = noted
    for kind, model in {"whole": odd_model(256, 4), "sharded": sharded(odd_model(256, 4))}.items():
        found[kind] = {}
        finetuned(f"{folder}/{kind}", model, epochs=1)
    Path(folder, f"sizes.{process_number()}.json").write_text(json.dumps(found), encoding="utf-8")


def check_parts(state: Any) -> None:
    """Raise unless a checkpoint has the part of this process of each weight, and all have all of it."""

    def is_part(value: Any) -> bool:
        return isinstance(value, dict) and "layout" in value

    parts = [leaf for leaf in tree_leaves(state, is_part) if is_part(leaf)]
    own = torch.tensor([part["part"].numel() for part in parts])
    total, least = own.clone(), own.clone()
    torch.distributed.all_reduce(total)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    assert total.tolist() == [math.prod(part["shape"]) for part in parts]
    assert len(parts) >= 11 and int(least.min()) == 0  # a process has nothing of the narrow layer


def vanilla(folder: str) -> None:
    """Train on one level, as often as it takes to get through interruptions."""
    after_step, ends = Stage.after_step, []

    def interrupted(stage: Stage, state: Any) -> None:
        after_step(stage, state)
        if state.step == 3:
            raise KeyboardInterrupt

    for place, step in ((f"{folder}/through", after_step), (f"{folder}/cut", interrupted)):
        Stage.after_step = step
        with nullcontext() if step is after_step else pytest.raises(KeyboardInterrupt):
            ends.append(vanilla_end(place))
    Stage.after_step = after_step
    assert sorted(Path(folder, "cut").rglob("*-00000003.safetensors"))
    ends.append(vanilla_end(f"{folder}/cut"))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def vanilla_end(place: str) -> dict[str, Tensor]:
    job, model = job_of(pretrained("bert"), epochs=2), sharded(odd_model())
    with checkpoints_of_run(place, dict, 1, True) as checkpoints:
        assert checkpoints is not None
        train_vanilla(model, job, checkpoints.stage("vanilla"))
    return {name: whole(tensor) for name, tensor in model.named_parameters()}


# Name of a run, where it is stopped, and what is told when it goes on.
STOPPED = {
    "search": (("search 2/2", "2", "SIGKILL", "refused"), ["Going on from step 1 of phase 'search 2/2'."]),
    "between": (("final", "0", "SIGKILL", ""), []),
    "final": (("final", "3", "SIGTERM", "damaged"), ["Going on from step 3 of phase 'final'."]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Outcomes of two processes: of a run that nobody stops, of three that are taken up, and the rest."""
    place = tmp_path_factory.mktemp("shards")
    calls = [(f"{HERE}:run", str(place), "through")]
    for name, ((phase, step, how, before), _) in STOPPED.items():
        calls.append((f"!{HERE}:stopping", str(place), name, phase, step, how))
        calls.append((f"{HERE}:run", str(place), name, "odd", before))
    run_in_turn([*calls, (f"{HERE}:sizes", str(place)), (f"{HERE}:vanilla", str(place))], 2)
    return place


def check_same_end(folder: Path, name: str, size: int, told: list[str]) -> None:
    """Raise unless a run that was stopped ended, in all processes, as the one that nobody stopped."""
    for number in range(size):
        through = torch.load(folder / f"through.{number}.pt")
        again = torch.load(folder / f"{name}.{number}.pt")
        assert set(through["tensors"]) == set(again["tensors"])
        assert all(torch.equal(tensor, again["tensors"][key]) for key, tensor in through["tensors"].items())
        assert through["history"] == again["history"]
        assert through["told"] == []
        assert [line for line in again["told"] if "Going on" in line] == (told if number == 0 else [])
    assert not (folder / name).exists()  # the run is done


@pytest.mark.parametrize("name", STOPPED)
def test_sharded_weights_go_on_to_the_same_bits(folder, name):
    check_same_end(folder, name, 2, STOPPED[name][1])
    last = torch.load(folder / f"{name}.1.pt")["told"]
    assert len(last) == (name == "final")
    assert all("00000004.safetensors'" in line and "before it is used." in line for line in last)
    tensors = torch.load(folder / f"{name}.0.pt")["tensors"]
    start = odd_model().state_dict()
    assert not torch.equal(tensors["W narrow.weight"], start["narrow.weight"])
    alphas = [key for key in tensors if key.startswith("alpha ")]
    assert not all(torch.equal(tensors[key], tensors[f"start{key[5:]}"]) for key in alphas)


def test_a_checkpoint_has_the_part_of_one_process(folder):
    for number in range(2):
        found = json.loads((folder / f"sizes.{number}.json").read_text(encoding="utf-8"))
        assert set(found["sharded"]) == set(found["whole"]) and len(found["whole"]) > 6
        for name, size in found["sharded"].items():
            assert 0 <= size - found["whole"][name] / 2 < 0.1e6, name  # alpha and random states are whole
        assert min(found["whole"].values()) > 1e6


@pytest.mark.slow
def test_four_processes_go_on_to_the_same_bits(tmp_path):
    calls = [(f"{HERE}:run", str(tmp_path), "through", "bert")]
    for name, phase, how in (("search", "search 1/2", "SIGKILL"), ("final", "final", "SIGTERM")):
        calls.append((f"!{HERE}:stopping", str(tmp_path), name, phase, "2", how, "bert"))
        calls.append((f"{HERE}:run", str(tmp_path), name, "bert"))
    run_in_turn(calls, 4, timeout=400)
    check_same_end(tmp_path, "search", 4, ["Going on from step 1 of phase 'search 1/2'."])
    check_same_end(tmp_path, "final", 4, ["Going on from step 3 of phase 'final'."])
