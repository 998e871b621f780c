"""How close the whole hypergradient comes to the exact derivative, in a search on a pretrained model.

python -m benchmarks.whole_hypergradient --data-dir path/to/glue --output-dir docs/bench

The model learns a task of GLUE from 300 rows, a fifth of them outer ones, for three epochs of AdamW. Every
scheme walks the same path: each applies the indirect term of the central difference. At the second outer
step, in the middle and at the end the gradient that the outer optimizer gets is compared with the exact
one: double backward in float64, in the very dropout masks. The indirect term alone is compared beside it.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import agwm
from agwm.data import encode, load_task
from agwm.data.quiet import quiet_datasets
from agwm.data.sampling import split_train
from agwm.experiments.records import versions
from agwm.files import make_folder, write_json, write_text
from agwm.markdown import table
from agwm.mixing.selection import select
from agwm.models.pretrained import load_pretrained
from agwm.recipe.padding import PaddedBatches
from benchmarks import oracles
from benchmarks.dropout_masks import apply_masks
from benchmarks.fidelity import Watched
from benchmarks.models import DEVICES, Machine
from benchmarks.variants import Variant, iteration

__all__ = ["SETTINGS", "SCHEMES", "Ground", "Setting", "measure", "render"]

SCHEMES = ("central", "forward", "explicit")
DIRECT = "direct term alone"
LR, OUTER_LR, BATCH, EPOCHS, SEED = 1e-4, 2e-3, 16, 3, 1
FAR = (0.5, 1.0)  # factors of an alpha far from 1: their products lie in [0.25, 1]
NAME = "whole_hypergradient"
Term = list[Tensor]


@dataclass(frozen=True)
class Setting:
    """A search whose hypergradients are compared.

    Attributes:
        task: A task of GLUE.
        best_response: Of the hypergradient.
        unroll_steps: Inner steps to an outer one; the exact derivative goes through all of them.
        is_far: Whether alpha starts far from 1.
    """

    task: str = "sst2"
    best_response: str = "optimizer"
    unroll_steps: int = 1
    is_far: bool = False


SETTINGS = (
    *(Setting(best_response=name) for name in ("sgd", "optimizer", "identity")),
    *(Setting(unroll_steps=number) for number in (2, 4)),
    *(Setting("stsb", unroll_steps=number, is_far=True) for number in (1, 2, 4)),
)


@dataclass
class Ground:
    """A pretrained model and the batches of a task.

    Attributes:
        model: The model with a new head, its attention in plain tensor operations.
        inner: Batches of the inner split, three epochs of them.
        outer: Batches of the outer split, as many.
    """

    model: nn.Module
    inner: list[dict[str, Tensor]] = field(default_factory=list)
    outer: list[dict[str, Tensor]] = field(default_factory=list)

    @classmethod
    def of(cls, task_name: str, data_dir: str, model: str, rows: int, machine: Machine) -> Ground:
        """Load a model, and draw rows of a task."""
        with quiet_datasets():
            data = load_task(task_name, data_dir)
            loaded = load_pretrained(model, data.task.label_names, SEED)
            drawn = data.train.shuffle(seed=SEED).select(range(rows))
            examples = list(encode(drawn, loaded.tokenizer, data.task, 128))
        loaded.model.set_attn_implementation("eager")  # its masks can be recorded
        parts = split_train(len(examples), 0.2, seed=SEED)
        batches = [
            _batches([examples[i] for i in part], PaddedBatches(loaded.tokenizer, loaded.model), seed)
            for seed, part in enumerate(parts)
        ]
        size = len(batches[0])
        found = [[_moved(batch, machine) for batch in (part * size)[:size]] for part in batches]
        return cls(loaded.model.train().to(machine.device), *found)

    @property
    def dropout(self) -> float:
        """The probability of every dropout of the model.

        Raises:
            ValueError: If the model has dropouts of several probabilities.
        """
        found = {module.p for module in self.model.modules() if isinstance(module, nn.Dropout)}
        found |= {getattr(self.model.config, "attention_probs_dropout_prob", *found)}
        if len(found) != 1:
            raise ValueError(f"Expected one probability of dropout in the model, got {sorted(found)}.")
        return found.pop()


def _batches(rows: list[Any], collate: PaddedBatches, seed: int) -> list[dict[str, Tensor]]:
    order = torch.Generator().manual_seed(seed)
    loader = DataLoader(rows, BATCH, shuffle=True, collate_fn=collate, generator=order)
    return [batch for _ in range(EPOCHS) for batch in loader]


def _moved(batch: dict[str, Tensor], machine: Machine) -> dict[str, Tensor]:
    return {name: tensor.to(machine.device) for name, tensor in batch.items()}


def _search(ground: Ground, setting: Setting, scheme: str, machine: Machine) -> Variant:
    model = copy.deepcopy(ground.model)
    mixup = agwm.inject(model, seed=SEED)
    if setting.is_far:
        generator = torch.Generator().manual_seed(SEED)
        for vector in mixup.attention.parameters():
            drawn = torch.rand(vector.shape, generator=generator)
            vector.data.copy_(FAR[0] + (FAR[1] - FAR[0]) * drawn)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    outer_optimizer = torch.optim.AdamW(mixup.attention.parameters(), lr=OUTER_LR)
    engine = agwm.build_engine(
        mixup,
        ground.inner,
        ground.outer,
        optimizer,
        outer_optimizer,
        train_iters=setting.unroll_steps,  # the steps are taken one by one, not by run()
        hypergradient={"scheme": scheme, "best_response": setting.best_response},
        unroll_steps=setting.unroll_steps,
        precision=machine.precision,
        progress=False,
    )
    pretrained = tuple(mixup.pretrained.values())
    step = iteration(engine, setting.unroll_steps)
    return Variant(scheme, "", model, step, optimizer, engine, mixup.attention, pretrained, outer_optimizer)


def _exact(watched: Watched, loss: oracles.Loss, setting: Setting, scheme: str) -> tuple[Term, Term]:
    """Return the direct term and the exact indirect one of the present outer step, in float64."""
    moment = watched.moment(loss, len(watched.starts) - 1)
    direct = oracles.direct(loss, moment)
    if setting.best_response == "optimizer":
        return list(direct.values()), watched.exact(loss)
    if setting.best_response == "identity":  # central takes it where the inner step arrived
        place = moment.updated if scheme == "central" else moment.before
        return list(direct.values()), list(oracles.identity_term(loss, moment, place).values())
    whole = oracles.unrolled(loss, moment, oracles.plain_sgd, at_taken=True)
    return list(direct.values()), [whole[name] - term for name, term in direct.items()]


def _flat(term: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.detach().double().flatten() for part in term])


def _compared(got: Tensor, expected: Tensor) -> dict[str, float]:
    return {
        "cosine": float(nn.functional.cosine_similarity(got, expected, dim=0)),
        "error": float((got - expected).norm() / expected.norm()),
    }


def measure(ground: Ground, setting: Setting, machine: Machine) -> list[dict[str, Any]]:
    """Compare the hypergradients of all schemes on one path, and of the direct term alone.

    Returns:
        A record for each scheme: at each step ``whole`` and ``indirect`` with ``cosine`` and relative
        ``error``, and ``share``, the norm of the exact indirect term over that of the direct one.
    """
    names = [candidate.name for candidate in select(ground.model, None, None)]
    plain = copy.deepcopy(ground.model).double()
    loss = oracles.mixed_loss(plain, names, drawn=partial(apply_masks, dropout=ground.dropout))
    last = len(ground.inner) // setting.unroll_steps
    tested = sorted({min(2, last), (last + 1) // 2, last})
    exact: dict[tuple[int, bool], tuple[Term, Term]] = {}
    applied: list[Term] = []
    records: dict[str, list[dict[str, Any]]] = {DIRECT: []}
    for scheme in SCHEMES:
        watched = Watched(_search(ground, setting, scheme, machine), names, machine)
        records[scheme] = []
        torch.manual_seed(SEED)
        for number in range(1, last + 1):
            key = number, setting.best_response == "identity" and scheme == "central"
            own: list[Tensor] = []
            whole: list[Tensor] = []

            def then(indirect: Term, key: Any = key, watched: Watched = watched, own: Any = own) -> Term:
                if key[0] in tested and key not in exact:
                    exact[key] = _exact(watched, loss, setting, watched.variant.name)
                if len(applied) < key[0]:
                    applied.append(indirect)
                own.append(_flat(indirect))
                return applied[key[0] - 1]

            def note(*_: Any, watched: Watched = watched, whole: Any = whole) -> None:
                whole.append(_flat([vector.grad for vector in watched.alpha.values()]))

            optimizer: Any = watched.variant.outer_optimizer
            handle = optimizer.register_step_pre_hook(note)
            watched.run(then)
            handle.remove()
            if number not in tested:
                continue
            direct, indirect = (_flat(term) for term in exact[key])
            whole_of = whole[0] - _flat(applied[number - 1]) + own[0]
            share = float(indirect.norm() / direct.norm())
            records[scheme].append(
                {
                    "step": number * setting.unroll_steps,
                    "whole": _compared(whole_of, direct + indirect),
                    "indirect": _compared(own[0], indirect),
                    "share": share,
                }
            )
            if scheme == "forward":  # once, where forward and explicit have the same reference
                alone = _compared(whole_of - own[0], direct + indirect)
                records[DIRECT].append(
                    {"step": number * setting.unroll_steps, "whole": alone, "share": share}
                )
    return [{"scheme": scheme, "steps": steps} for scheme, steps in records.items()]


def _title(setting: dict[str, Any]) -> str:
    text = f"{setting['task']}, {setting['best_response']}, {setting['unroll_steps']} inner step"
    text += "s" if setting["unroll_steps"] > 1 else ""
    return text + (", alpha from [0.25, 1]" if setting["is_far"] else "")


def render(result: dict[str, Any]) -> str:
    """Return the result as a Markdown page."""
    rows = [
        (
            _title(entry["setting"]),
            record["scheme"],
            *(f"{step['whole']['cosine']:.5f}" for step in record["steps"]),
            f"{max(step['whole']['error'] for step in record['steps']):.2%}",
            f"{min(step['indirect']['cosine'] for step in record['steps']):.4f}"
            if record["scheme"] != DIRECT
            else "",
            " ".join(f"{step['share']:.1e}" for step in record["steps"]),
        )
        for entry in result["settings"]
        for record in entry["records"]
    ]
    heads = (
        "Search",
        "Scheme",
        "Cosine, start",
        "middle",
        "end",
        "Largest error",
        "Cosine of the indirect term alone",
        "Its size to the direct term's",
    )
    packages = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return "\n".join(
        [
            "# The whole hypergradient, measured",
            "",
            f"{result['model']} on {result['rows']} rows, batches of {BATCH}, {EPOCHS} epochs of AdamW at"
            f" {LR:g}, rank-1 alpha at {OUTER_LR:g},",
            "dropout as in pretraining. This page is written by the command below.",
            "",
            "Every scheme walks the path of the central difference. The gradient that the outer optimizer",
            "gets is compared with the exact one: double backward in float64, in the very dropout masks,",
            "through all inner steps since the last outer one. `identity` is compared for its own formula,",
            "which is taken at the updated W by `central` and at W before the step by the others.",
            "",
            f"* {packages}",
            f"* Command: `{result['command']}`" + (f", on {result['card']}" if result["card"] else ""),
            f"* Took {result['minutes']:.1f} minutes",
            "",
            table(heads, rows, is_padded=False),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure all settings, and write ``whole_hypergradient.json`` and ``.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--output-dir", required=True)
    given = parser.parse_args(arguments)
    machine = Machine(given.device)
    machine.check()
    folder, start = make_folder(given.output_dir), time.perf_counter()
    grounds: dict[str, Ground] = {}
    make: Callable[[str], Ground] = lambda task: Ground.of(  # noqa: E731
        task, given.data_dir, given.model, given.rows, machine
    )
    entries = []
    for setting in SETTINGS:
        ground = grounds.setdefault(setting.task, make(setting.task))
        entries.append({"setting": asdict(setting), "records": measure(ground, setting, machine)})
        print(_title(asdict(setting)), f"{time.perf_counter() - start:.0f} s", flush=True)
    packages = versions()
    packages.pop("processor")
    result = {
        "command": f"python -m benchmarks.{NAME} --data-dir path/to/glue"
        f" --rows {given.rows} --output-dir docs/bench",
        "model": given.model,
        "rows": given.rows,
        "card": machine.card,
        "versions": packages,
        "minutes": (time.perf_counter() - start) / 60,
        "settings": entries,
    }
    name = NAME if machine.device == "cpu" else f"{NAME}_{machine.device}"
    write_json(folder / f"{name}.json", result)
    write_text(folder / f"{name}.md", render(result))
    return result


if __name__ == "__main__":
    print(render(main()))
