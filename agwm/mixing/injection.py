"""Inject weights mixup into a model, and find the mixup of a model again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from agwm.errors import ModelError
from agwm.mixing.alpha import Alpha, AlphaForm, alpha_class, check_start
from agwm.mixing.functions import Formula, check_formula
from agwm.mixing.hook import MIXUP, MixedWeight, hooked_places
from agwm.mixing.merging import Place
from agwm.mixing.mixup import Mixup
from agwm.mixing.selection import Candidate, Patterns, select
from agwm.shards import reshard_

__all__ = ["check_plain", "inject", "mixup_of", "ordinary_tensors"]


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Let the body make tensors on the CPU that can be trained, whatever the caller has set.

    Inference mode would make W0 and alpha useless for training, and a default device would put alpha
    elsewhere than W.
    """
    with torch.inference_mode(False), torch.device("cpu"):
        yield


def mixup_of(model: nn.Module) -> Mixup | None:
    """Return the mixup that is on a model, or None.

    It is found on a deep copy of an injected model, inside of a wrapper (compiled, distributed), and
    on a part of an injected model or a copy of one: what it then holds are the weights of that part.

    Raises:
        ModelError: If the model holds several injected models.
    """
    if MIXUP in model.__dict__:
        return model.__dict__[MIXUP]
    hooks = [hook for hook in hooked_places(model) if isinstance(hook[2], MixedWeight)]
    if not hooks:
        return None
    owners = [module.__dict__[MIXUP] for module in model.modules() if MIXUP in module.__dict__]
    if len(owners) > 1:
        raise ModelError(
            f"Model holds several mixups: expected one, got {len(owners)}. Ask each injected model for its"
            " own."
        )
    return owners[0] if owners else _mixup_around(model, hooks)


def _mixup_around(model: nn.Module, hooks: list[Place]) -> Mixup:
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[int, tuple[Candidate, MixedWeight]] = {}
    for module, attribute, weight in hooks:
        name = f"{names[id(module)]}.{attribute}" if names[id(module)] else attribute
        task = cast(nn.Parameter, module._parameters[attribute])
        new = Candidate(name, task, num_batch_dims=weight.alpha.num_batch_dims)
        candidate, _ = found.setdefault(id(weight), (new, weight))
        candidate.aliases.append(name)
        candidate.places.append((module, attribute))
    candidates, weights = zip(*found.values(), strict=True)
    return Mixup.around(model, list(candidates), list(weights))


def check_plain(model: nn.Module) -> None:
    """Raise if any weight of the model is mixed already.

    Raises:
        ModelError: If one is.
    """
    if next(hooked_places(model), None) is not None:
        raise ModelError(
            "Model is injected already: expected a plain model, got one with mixed weights."
            " Call remove() or merge() of its mixup (agwm.mixup_of(model)) first."
        )


def inject(
    model: nn.Module,
    include: Patterns = None,
    exclude: Patterns = None,
    formula: Formula = "convex",
    alpha: AlphaForm | type[Alpha] = "rank1",
    init_std: float = 0.005,
    seed: int | None = None,
    pretrained: Mapping[str, Tensor] | None = None,
) -> Mixup:
    r"""Make every call of a model see mixed weights :math:`\hat W = \alpha W + (1 - \alpha) W_0`.

    The model stays the same object of the same class with the same parameters (they are W, optimizers
    built before still work) and the same ``state_dict`` keys. W0 is a copy of the weights as they are
    now, unless ``pretrained`` gives others. At W = W0 the model's output is bit for bit what it was
    (convex formula).

    Args:
        model: Any Hugging Face ``PreTrainedModel`` or ``nn.Module``. Changed in place.
        include: Weights to mix: glob pattern(s), words that are a part of a name, such as
            ``["query", "value"]``, or ``predicate(name, parameter)``, over parameters of at least two
            dimensions. None: the linear maps of ``model.base_model``.
        exclude: Weights to leave out, the same way.
        formula: ``"convex"`` (definition) or ``"factored"`` (official code).
        alpha: Form of alpha: ``"rank1"``, ``"full"``, ``"row"``, ``"column"``, ``"scalar"``,
            ``"frozen"``, or a subclass of :class:`agwm.Alpha`.
        init_std: Standard deviation of the factors' initial values around 1, before projection.
        seed: Seed of the initial values; the global generator is used when None.
        pretrained: W0 by name of a weight, of the same shape, for a model that is finetuned already.
            More names than are mixed may be there. They are copied to device and dtype of W.

    Returns:
        The :class:`Mixup`.

    Raises:
        SelectionError: If a pattern matches nothing, or nothing can be mixed.
        ModelError: If weights are on the meta device, the model is injected already, or ``pretrained``
            lacks a weight to mix.
        ConfigError: If ``formula``, ``alpha``, ``init_std`` or ``seed`` is wrong.
        ShapeError: If a user's form of alpha, or ``pretrained``, does not fit a weight.

    Reference:
        Somayajula et al., NAACL 2024: the weights mixup g(W, alpha, W0) with rank-1 factors.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3, bias=False))
        >>> mixup = inject(model, include="*", alpha="scalar", init_std=0.0)
        >>> w0, w = mixup.pretrained["0.weight"], next(model.parameters())
        >>> w.data, mixup.attention["0.weight"].a.data = w0 + 1, torch.full((1, 1), 0.25)
        >>> assert torch.allclose(model[0].weight, w0 + 0.25)  # a read sees the mixed weights
    """
    form = alpha_class(alpha)
    check_formula(formula)
    check_start(init_std, seed)
    check_plain(model)
    reshard_(model)
    candidates = select(model, include, exclude)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    with ordinary_tensors():
        alphas = {
            c.name: form(c.parameter.shape, c.num_batch_dims, init_std, generator).to(c.parameter.device)
            for c in candidates
        }
        starts = {c.name: _start_of(c, pretrained) for c in candidates}
    mixup = Mixup(model, candidates, formula, alpha if isinstance(alpha, str) else form.__name__)
    mixup.attach(alphas, starts)
    return mixup


def _start_of(candidate: Candidate, pretrained: Mapping[str, Tensor] | None) -> Tensor:
    """Return W0 of a weight, a copy: of the weight as it is now, or of what is given under its name.

    Raises:
        ModelError: If nothing is given for it.
    """
    weight = candidate.parameter.detach()
    if pretrained is None:
        return weight.clone()
    given = [pretrained[name] for name in candidate.aliases if name in pretrained]
    if not given:
        raise ModelError(
            f"Pretrained weights lack one to mix: expected {candidate.name!r}, got {len(pretrained)}"
            " others. Pass those of the same class of model, or leave this weight out by exclude."
        )
    return given[0].detach().to(weight.device, weight.dtype, copy=True)
