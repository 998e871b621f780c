"""Inject weights mixup into a model, and hold its W0 and alpha."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from agwm.errors import ConfigError, ModelError, ShapeError
from agwm.mixing.alpha import Alpha, AlphaForm, Attention, alpha_class, check_start
from agwm.mixing.functions import Formula, check_factors, check_formula
from agwm.mixing.hook import MixedWeight, install, is_hooked, recomputing, uninstall
from agwm.mixing.saving import save
from agwm.mixing.selection import Candidate, Patterns, select

__all__ = ["Mixup", "check_plain", "inject", "mixup_of"]

_MIXUP = "_agwm_mixup"


class _PretrainedWeights(Mapping[str, Tensor]):
    """Read-only view: weight name -> pretrained weights W0."""

    def __init__(self, weights: dict[str, MixedWeight]) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[name].pretrained

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


class Mixup:
    """Weights mixup of one model. Made by :func:`inject`, not by hand.

    Attributes:
        model: The model, whose parameters are the task weights W.
        attention: An ``nn.Module`` owning the factors of alpha, and nothing else. Not part of ``model``.
        formula: ``"convex"`` or ``"factored"``.
        alpha_form: Name of the form of alpha, or the name of the user's class.
    """

    def __init__(
        self, model: nn.Module, candidates: list[Candidate], formula: str, alpha_form: str
    ) -> None:
        self.model = model
        self.formula = formula
        self.alpha_form = alpha_form
        self.attention = Attention()
        self._weights: dict[str, MixedWeight] = {}
        self._candidates = {candidate.name: candidate for candidate in candidates}
        self._is_attached = False

    def __repr__(self) -> str:
        numbers = sum(parameter.numel() for parameter in self.attention.parameters())
        return (
            f"Mixup({type(self.model).__name__}, {len(self.names)} mixed weights,"
            f" {numbers} attention parameters, alpha={self.alpha_form!r}, formula={self.formula!r})"
        )

    @property
    def names(self) -> list[str]:
        """Names of the mixed weights, in the order of ``model.named_parameters()``."""
        return list(self._candidates)

    @property
    def pretrained(self) -> Mapping[str, Tensor]:
        """Pretrained weights W0 by name; frozen, they never receive gradient."""
        return _PretrainedWeights(self._weights)

    def alpha(self, name: str) -> Tensor:
        """Return alpha in full, of the shape of the weight called ``name``.

        Raises:
            ConfigError: If no weight of that name is mixed.
        """
        if name not in self._weights:
            raise ConfigError(
                f"Weight is not mixed: expected one of {len(self.names)} names in mixup.names,"
                f" got {name!r}."
            )
        return self.attention[name]()

    def mixed_weights(self) -> dict[str, Tensor]:
        """Return the mixed weights by name, with the graph to W and alpha.

        Raises:
            ModelError: After ``merge`` or ``remove``: the parameters are no longer W, or no longer mixed.
        """
        self.check_attached()
        return {
            name: self._weights[name].mix(candidate.task_weights)
            for name, candidate in self._candidates.items()
        }

    def project_(self) -> None:
        """Clamp the attention parameters to [0, 1] in place."""
        self.attention.project_()

    @contextmanager
    def cached(self) -> Iterator[None]:
        """Mix each weight once while the body runs without gradient, e.g. for ``generate``.

        The weights must not change in the body; passes with gradient enabled are not cached.
        """
        for weight in self._weights.values():
            weight.caching = True
        try:
            yield
        finally:
            for weight in self._weights.values():
                weight.caching, weight.cache = False, None

    def recomputing(self) -> AbstractContextManager[None]:
        """Keep no mixed weights of forward passes in the body; backward mixes them again (opt-in).

        Saves 4 bytes for each mixed weight while a pass is on its way. The gradients are the same bits.
        """
        return recomputing()

    def compile(self) -> None:
        """Mix by ``torch.compile`` from now on (opt-in): see :mod:`agwm.mixing.compiled`."""
        from agwm.mixing.compiled import mix_weights_compiled  # only here: it sets up the compiler

        for weight in self._weights.values():
            weight.function = mix_weights_compiled

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """Write the mixed weights into the parameters and take the hook off.

        Returns:
            The model, now a plain one that needs agwm no more.

        Raises:
            ModelError: If the hook is off already.
        """
        self.check_attached()
        for name, candidate in self._candidates.items():
            candidate.task_weights.copy_(self._weights[name].mix(candidate.task_weights))
        return self.remove()

    def remove(self) -> nn.Module:
        """Take the hook off and leave the task weights W in the model.

        Returns:
            The model, now a plain one with weights W.

        Raises:
            ModelError: If the hook is off already.
        """
        self.check_attached()
        modules = {id(m): m for c in self._candidates.values() for m, _ in c.places}
        for module in modules.values():
            uninstall(module)
        del self.model.__dict__[_MIXUP]
        self._is_attached = False
        return self.model

    def save_pretrained(self, directory: str | Path) -> None:
        """Save W, W0 and alpha so that :func:`agwm.load` gives them back (safetensors and JSON).

        Args:
            directory: Folder to write; made if missing.

        Raises:
            DataError: If the folder cannot be written.
            ModelError: If the hook is off the model.
        """
        self.check_attached()
        save(directory, self.model, self.formula, self.alpha_form, self.pretrained, self.attention)

    def __deepcopy__(self, memo: dict[int, object]) -> Mixup:
        """Copy the model along, so that the copy is independent."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for key, value in self.__dict__.items():
            twin.__dict__[key] = copy.deepcopy(value, memo)
        return twin

    def check_attached(self) -> None:
        """Raise unless the hook is on the model.

        Raises:
            ModelError: If ``merge`` or ``remove`` took it off.
        """
        if not self._is_attached:
            raise ModelError(
                "Mixup is no longer on the model: expected the hook to be on, got one that merge()"
                " or remove() took off. Call agwm.inject(model) again."
            )

    def attach(self, alphas: Mapping[str, Alpha], pretrained: Mapping[str, Tensor]) -> None:
        """Take alpha and W0 of every mixed weight and put the hook on; for ``inject`` and ``load``.

        Raises:
            ShapeError: If one does not fit its weight.
        """
        for name, candidate in self._candidates.items():
            shape, alpha = candidate.parameter.shape, alphas[name]
            check_factors(name, shape, alpha.factors())
            if pretrained[name].shape != shape:
                raise ShapeError(
                    f"Shape mismatch for {name!r}: expected pretrained weights of {tuple(shape)}, got"
                    f" {tuple(pretrained[name].shape)}. Load the model the weights were saved from."
                )
            self.attention.add(name, alpha)
            self._weights[name] = MixedWeight(pretrained[name], alpha, self.formula)
        for name, candidate in self._candidates.items():
            for module, attribute in candidate.places:
                install(module, attribute, self._weights[name])
        self.model.__dict__[_MIXUP] = self
        self._is_attached = True


def mixup_of(model: nn.Module) -> Mixup | None:
    """Return the mixup that is on a model, or None; works on a deep copy of an injected model too."""
    return model.__dict__.get(_MIXUP)


def check_plain(model: nn.Module) -> None:
    """Raise if any weight of the model is mixed already.

    Raises:
        ModelError: If one is.
    """
    if any(is_hooked(module) for module in model.modules()):
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
) -> Mixup:
    r"""Make every call of a model see mixed weights :math:`\hat W = \alpha W + (1 - \alpha) W_0`.

    The model stays the same object of the same class with the same parameters (they are W, optimizers
    built before still work) and the same ``state_dict`` keys. W0 is a copy of the weights as they are
    now. At W = W0 the model's output is bit for bit what it was (convex formula).

    Args:
        model: Any Hugging Face ``PreTrainedModel`` or ``nn.Module``. Changed in place.
        include: Weights to mix: glob pattern(s) or ``predicate(name, parameter)``, over parameters of
            at least two dimensions. None: the linear maps of ``model.base_model``.
        exclude: Weights to leave out, the same way.
        formula: ``"convex"`` (definition) or ``"factored"`` (official code).
        alpha: Form of alpha: ``"rank1"``, ``"full"``, ``"row"``, ``"column"``, ``"scalar"``,
            ``"frozen"``, or a subclass of :class:`agwm.Alpha`.
        init_std: Standard deviation of the factors' initial values around 1, before projection.
        seed: Seed of the initial values; the global generator is used when None.

    Returns:
        The :class:`Mixup`.

    Raises:
        SelectionError: If a pattern matches nothing, or nothing can be mixed.
        ModelError: If weights are on the meta device, or the model is injected already.
        ConfigError: If ``formula``, ``alpha``, ``init_std`` or ``seed`` is wrong.
        ShapeError: If a user's form of alpha does not fit a weight.

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
    candidates = select(model, include, exclude)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    alphas = {
        c.name: form(c.parameter.shape, c.num_batch_dims, init_std, generator).to(c.parameter.device)
        for c in candidates
    }
    pretrained = {c.name: c.parameter.detach().clone() for c in candidates}
    mixup = Mixup(model, candidates, formula, alpha if isinstance(alpha, str) else form.__name__)
    mixup.attach(alphas, pretrained)
    return mixup
