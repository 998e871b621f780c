"""Write ``architectures.md``: what the hook mixes by default in every architecture that is tested.

Run from the root of the repository: ``python -m docs.make_architectures``.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import transformers
from torch import nn
from transformers import Conv1D

from agwm.markdown import table
from agwm.mixing.selection import Candidate, find_candidates
from tests.architectures import ARCHITECTURES, Architecture
from tests.architectures.rows import UNSUPPORTED

PAGE = Path(__file__).with_name("architectures.md")

HEAD = """# Architectures

`agwm.inject(model)` works on any Hugging Face model. The tests run it on every architecture of the
sequence-classification mapping of transformers {version} that can be built on a CPU: {count} of them,
as tiny models with random weights. Each is checked for

* the same output, bit for bit, as the plain model when W = W0, whatever alpha is;
* the output and the gradients of W and alpha of both formulas, against a plain model that holds the
  mixed weights (float64, or float32 where marked);
* the same gradients under gradient checkpointing, where the architecture supports it;
* `merge()`, `save_pretrained` and `from_pretrained` without agwm: the same logits, bit for bit.

"Mixed weights" counts parameters, for a model of two layers; a tied parameter counts once. Where it
is a number alone, all of them are `nn.Linear`. "Left out" are parameters of two or more dimensions in
the backbone, embeddings aside, that are trained but not mixed by default; `include` can name them.

"""

TAIL = """
## Rules of the default

* Mixed: `nn.Linear` and its subclasses, classes called `...Linear`, `Conv1D` of GPT-2, pointwise
  `nn.Conv1d`, the projections of `nn.MultiheadAttention`, and raw parameters of three or more
  dimensions that are a linear map (XLNet, Funnel, Zamba, stacked experts), all inside `model.base_model`.
* A router that is an `nn.Linear` is mixed like one; a router given as a bare matrix is left out.
* Stacked experts are one matrix each for alpha: rank-1 alpha has a pair of vectors for every expert.
* Not mixed: embeddings, norms, biases, convolutions of a kernel wider than one, latents, and the head.
  Perceiver's head lies inside `base_model`, as its decoder, and is left out too.
* The pooler of BERT-like models is part of `base_model` and is mixed.
* A weight tied to an embedding is left out; named by `include`, it is mixed in all its places.

## Not tested

"""

LIMITS = """
## Known limits

* Reformer in training mode has a backward pass of its own that adds into `.grad`: `loss.backward()`
  reaches W and alpha, but `torch.autograd.grad` finds no gradient for the weights inside its layers,
  with or without agwm. The hook works; whatever needs `torch.autograd.grad` does not.
* `nn.LSTM`, `nn.GRU` and `nn.RNN` read a flattened copy of their weights, so naming one is an error.
  So it is for weights under `torch.nn.utils.parametrize`, TorchScript modules and quantized weights. Of
  reparametrized layers that the default leaves out a warning gives the number and a name.
* `nn.DataParallel`, `FullyShardedDataParallel` and `fully_shard` are refused with a clear error; use
  `DistributedDataParallel`.
* `model.get_parameter(name)` of a mixed weight raises; use `dict(model.named_parameters())[name]`. So do
  `tie_weights()` and `resize_token_embeddings()` where a tied weight is mixed, which call it: use them
  before `inject`, or after `merge`.
* A layer that owns a mixed weight is an object of its class as `isinstance` sees it; its `type` is a
  subclass of the same name until the hook is off.

## Reading, writing, copying, saving

`layer.weight` of an injected model is computed for the read. So:

* **Reads change nothing.** W0 keeps the dtype and device it was taken in; a pass in another dtype or on
  another device uses a converted copy, which is kept for the next pass, beside the first. Alpha stays
  where it is and is copied over in each pass: `mixup.follow_model_()` moves both for good, and
  `build_engine` does so.
* **Writes raise.** `nn.init`, `model.apply(model._init_weights)`, `.data.fill_`, `clamp_`,
  `requires_grad_`, `register_hook`, an assigned `nn.Parameter`, peft's `merge_and_unload()`,
  `torch.nn.utils` reparametrizations and pruning: each is one line that names `merge()`. W itself is
  written by optimizers, by `load_state_dict` (`assign=True` too), `.to()`, and through
  `dict(model.named_parameters())[name]`. `.grad` of what was read is None; the gradient is W's.
* A **copy** of the model has a mixup of its own. A copy of a part has its hooks: `agwm.mixup_of(part)` is
  their mixup, which can merge or remove them.
* `model.save_pretrained`, and `Trainer` by it, **write W** and say so once: `Trainer` loads its
  checkpoints into the injected model again. `merge()` first for a model to use, or
  `mixup.save_pretrained` for W, W0 and alpha. `state_dict()` is W, so a plain `torch.save` of it, and
  `Trainer` over a model that is not Hugging Face's, are W without a word.
* **What alpha is not in.** Alpha and W0 are in no `parameters()`, `buffers()` or `state_dict()` of the
  model. So `AveragedModel` averages W and keeps the alpha of the moment at which it was made: right while
  alpha is fixed, stale while it is learned. `torch.func.stack_module_state` stacks W, and every member is
  mixed with the alpha of the model that is called. Merge the members first.
* TorchScript is refused; `torch.export`, `torch.fx` and `torch.compile` work, and so do the transforms of
  `torch.func`. Changes through `.data` are seen by nobody: not by `cached()`, not by autograd.
* A weight that a module outside of the injected part holds too reads W there until `merge()`, which says
  so.
"""


def _general(name: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)


def _kind(candidate: Candidate) -> str:
    module, attribute = candidate.places[0]
    kind = f"`{type(module).__name__}.{attribute}`"
    return f"{kind} (one matrix each)" if candidate.num_batch_dims else kind


def _mixed(candidates: list[Candidate]) -> str:
    chosen = [candidate for candidate in candidates if candidate.is_default]
    other = [c for c in chosen if type(c.places[0][0]) is not nn.Linear]
    counts = Counter(_kind(candidate) for candidate in other)
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    return f"{len(chosen)}, of them {kinds}" if kinds else str(len(chosen))


def _left_out(candidates: list[Candidate]) -> str:
    names = {
        f"`{_general(c.name)}`": None
        for c in candidates
        if c.in_backbone and not c.is_default and not _is_embedding(c)
    }
    return ", ".join(names)


def _is_embedding(candidate: Candidate) -> bool:
    return any(
        isinstance(module, nn.Embedding) or "mbedding" in type(module).__name__
        for module, _ in candidate.places
    )


def _notes(architecture: Architecture, candidates: list[Candidate]) -> str:
    notes = [architecture.note] if architecture.note else []
    tied = sum(len(candidate.places) > 1 for candidate in candidates if candidate.is_default)
    if tied:
        notes.append(f"{tied} of the mixed weights are tied")
    if any(isinstance(c.places[0][0], Conv1D) for c in candidates if c.is_default):
        notes.append("rows of alpha are inputs, as `Conv1D` stores its weight transposed")
    if not architecture.float64:
        notes.append("tested in float32")
    return "; ".join(notes)


def render() -> str:
    """Return the page as text."""
    rows = []
    for name, architecture in ARCHITECTURES.items():
        candidates = find_candidates(architecture.build())
        cells = (
            name,
            _mixed(candidates),
            _left_out(candidates),
            "yes" if architecture.checkpointing else "not supported by it",
            _notes(architecture, candidates),
        )
        rows.append(cells)
    columns = ("Architecture", "Mixed weights", "Left out", "Checkpointing", "Notes")
    there = table(columns, rows, is_padded=False)
    missing = table(("Architecture", "Why"), UNSUPPORTED.items(), is_padded=False)
    head = HEAD.format(version=transformers.__version__, count=len(ARCHITECTURES))
    return head + there + TAIL + missing + LIMITS


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
