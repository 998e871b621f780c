"""The mixup of one model: its W0 and alpha, how they come off again, and how they are saved."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from agwm.cards import CardFacts
from agwm.errors import AgwmWarning, ConfigError, ModelError, ShapeError
from agwm.mixing.alpha import ALPHA_FORMS, Alpha, Attention
from agwm.mixing.candidates import Candidate
from agwm.mixing.functions import check_factors
from agwm.mixing.hook import MIXUP, MixedWeight, hooked_places, install, is_hooked, recomputing, uninstall
from agwm.mixing.merging import Place, places_outside, write_mixed
from agwm.mixing.pretrained import PretrainedWeights
from agwm.mixing.saving import save
from agwm.mixing.saving_notice import notice_saving, stop_noticing

__all__ = ["Mixup"]


class Mixup:
    """Weights mixup of one model. Made by :func:`inject`, not by hand.

    Attributes:
        model: The model, whose parameters are the task weights W.
        attention: An ``nn.Module`` owning the factors of alpha, and nothing else. Not part of ``model``.
        formula: ``"convex"`` or ``"factored"``.
        alpha_form: Name of the form of alpha, or the name of the user's class.
        candidates: The mixed weights by name, each with the places that hold it.
        weights: W0, alpha and formula of each mixed weight, by name.
        has_noticed_saving: True once the user was told what the model's ``save_pretrained`` writes.
    """

    def __init__(
        self, model: nn.Module, candidates: list[Candidate], formula: str, alpha_form: str
    ) -> None:
        self.model = model
        self.formula = formula
        self.alpha_form = alpha_form
        self.attention = Attention()
        self.weights: dict[str, MixedWeight] = {}
        self.candidates = {candidate.name: candidate for candidate in candidates}
        self._is_attached = False
        self.has_noticed_saving = False

    def __repr__(self) -> str:
        numbers = sum(parameter.numel() for parameter in self.attention.parameters())
        return (
            f"Mixup({type(self.model).__name__}, {len(self.names)} mixed weights,"
            f" {numbers} attention parameters, alpha={self.alpha_form!r}, formula={self.formula!r})"
        )

    @property
    def names(self) -> list[str]:
        """Names of the mixed weights, in the order of ``model.named_parameters()``."""
        return list(self.candidates)

    @property
    def pretrained(self) -> Mapping[str, Tensor]:
        """Pretrained weights W0 by name; frozen, they never receive gradient."""
        return PretrainedWeights(self.weights, self.candidates)

    def alpha(self, name: str) -> Tensor:
        """Return alpha in full, of the shape of the weight called ``name`` (any of its names).

        Raises:
            ConfigError: If no weight of that name is mixed.
        """
        for known, candidate in self.candidates.items():
            if name == known or name in candidate.aliases:
                return self.attention[known]()
        raise ConfigError(
            f"Weight is not mixed: expected one of {len(self.names)} names in mixup.names, got {name!r}."
        )

    def mixed_weights(self) -> dict[str, Tensor]:
        """Return the mixed weights by name, with the graph to W and alpha.

        Raises:
            ModelError: After ``merge`` or ``remove``: the parameters are no longer W, or no longer mixed.
        """
        self.check_attached()
        return {
            name: self.weights[name].mix(candidate.task_weights)
            for name, candidate in self.candidates.items()
        }

    def project_(self) -> None:
        """Clamp the attention parameters to [0, 1] in place."""
        self.attention.project_()

    @contextmanager
    def cached(self) -> Iterator[None]:
        """Mix each weight once while the body runs without gradient, e.g. for ``generate``.

        A weight that is changed in the body is mixed anew, unless it is changed through ``.data``, which
        nobody sees. Passes with gradient enabled are not cached.
        """
        outside = [weight for weight in self.weights.values() if not weight.caching]
        for weight in outside:
            weight.caching = True
        try:
            yield
        finally:
            for weight in outside:
                weight.forget()

    def recomputing(self) -> AbstractContextManager[None]:
        """Keep no mixed weights of forward passes in the body; backward mixes them again (opt-in).

        Saves 4 bytes for each mixed weight while a pass is on its way. The gradients are the same bits.
        """
        return recomputing()

    def compile(self) -> None:
        """Mix by ``torch.compile`` from now on (opt-in): see :mod:`agwm.mixing.compiled`."""
        from agwm.mixing.compiled import mix_weights_compiled  # only here: it sets up the compiler

        for weight in self.weights.values():
            weight.function = mix_weights_compiled

    def merge(self) -> nn.Module:
        """Write the mixed weights into the parameters and take the hook off.

        Every place is written: those of a tie that came apart, and copies of parts that were put into the
        model.

        Returns:
            The model, now a plain one that needs agwm no more.

        Raises:
            ModelError: If the hook is off already, or weights have no values.
        """
        self.check_attached()
        places = self._places()
        outside = places_outside(self.model, places)
        write_mixed(places)
        if outside:
            warnings.warn(
                f"Mixed weights are used outside of the {type(self.model).__name__} that was injected:"
                f" expected no other place, got {', '.join(map(repr, outside))}, which read W so far and"
                " reads the mixed weights now. Inject the model that holds all places.",
                AgwmWarning,
                stacklevel=2,
            )
        return self.remove()

    def remove(self) -> nn.Module:
        """Take the hook off and leave the task weights W in the model.

        Returns:
            The model, now a plain one with weights W.

        Raises:
            ModelError: If the hook is off already.
        """
        self.check_attached()
        for module in {id(module): module for module, _, _ in self._places()}.values():
            uninstall(module)
        stop_noticing(self.model)
        self.model.__dict__.pop(MIXUP, None)
        self._is_attached = False
        return self.model

    def _places(self) -> list[Place]:
        """Return every place of a mixed weight: in the model as it is now, and those that left it."""
        present = [place for place in hooked_places(self.model) if isinstance(place[2], MixedWeight)]
        seen = {id(module) for module, _, _ in present}
        gone = [
            (module, attribute, self.weights[name])
            for name, candidate in self.candidates.items()
            for module, attribute in candidate.places
            if id(module) not in seen and is_hooked(module)
        ]
        return present + gone

    def save_pretrained(
        self, directory: str | Path, *, processing_class: Any = None, card: CardFacts | None = None
    ) -> None:
        """Save W, W0 and alpha so that :func:`agwm.load` gives them back (safetensors and JSON).

        Args:
            directory: Folder to write; made if missing. It is swapped whole: an earlier save stays until
                the new one is on the disk.
            processing_class: The model's tokenizer, to be saved beside it.
            card: Facts for the card, ``README.md``.

        Raises:
            ConfigError: If the tokenizer cannot be saved, or does not fit the model.
            DataError: If the folder cannot be written; an earlier save in it is unchanged.
            ModelError: If the hook is off the model, or the model holds copies of mixed parts.
        """
        self.check_whole()
        pretrained = {name: weight.pretrained for name, weight in self.weights.items()}
        parts = (self.model, self.formula, self.alpha_form, pretrained, self.attention)
        save(directory, *parts, processing_class, card)

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
            ModelError: If ``merge`` or ``remove`` took it off, of a part or of all.
        """
        places = [place for candidate in self.candidates.values() for place in candidate.places]
        if not (self._is_attached and all(is_hooked(module) for module, _ in places)):
            raise ModelError(
                "Mixup is no longer on the model: expected the hook to be on, got one that merge()"
                " or remove() took off. Call agwm.inject(model) again."
            )

    def check_whole(self) -> None:
        """Raise unless the hook is on the model and every mixed weight in the model is of this mixup.

        Raises:
            ModelError: Otherwise: nobody learns or saves alpha of a layer that was copied into the model,
                and alpha of one that left it has no effect.
        """
        self.check_attached()
        present = set(map(id, self.model.modules()))
        for name, candidate in self.candidates.items():
            if not any(id(module) in present for module, _ in candidate.places):
                raise ModelError(
                    f"Model lost a mixed weight: expected {name!r} in it, got a model whose layer was"
                    " replaced. Call merge() and inject the model as it is now."
                )
        own = set(map(id, self.weights.values()))
        for module, attribute, weight in hooked_places(self.model):
            if isinstance(weight, MixedWeight) and id(weight) not in own:
                raise ModelError(
                    f"Model holds a copy of a mixed part: expected the weights in mixup.names alone, got"
                    f" another {attribute!r} in a {type(module).__name__}. Call merge() and inject the"
                    " model as it is now."
                )

    def follow_model_(self) -> None:
        """Move W0 and alpha to where W is, its shards included. A pass does so for itself alone."""
        for name, candidate in self.candidates.items():
            if not candidate.task_weights.is_meta:
                self.weights[name].follow_(candidate.task_weights)

    def attach(self, alphas: Mapping[str, Alpha], pretrained: Mapping[str, Tensor]) -> None:
        """Take alpha and W0 of every mixed weight and put the hook on; for ``inject`` and ``load``.

        Raises:
            ShapeError: If one does not fit its weight.
        """
        for name, candidate in self.candidates.items():
            shape, alpha = candidate.parameter.shape, alphas[name]
            check_factors(name, shape, alpha.factors())
            if pretrained[name].shape != shape:
                raise ShapeError(
                    f"Shape mismatch for {name!r}: expected pretrained weights of {tuple(shape)}, got"
                    f" {tuple(pretrained[name].shape)}. Load the model the weights were saved from."
                )
            self.attention.add(name, alpha)
            self.weights[name] = MixedWeight(pretrained[name], alpha, self.formula)
        try:
            for name, candidate in self.candidates.items():
                for module, attribute in candidate.places:
                    install(module, attribute, self.weights[name])
        except BaseException:
            for module in {id(module): module for module, _, _ in hooked_places(self.model)}.values():
                uninstall(module)
            raise
        self.model.__dict__[MIXUP] = self
        notice_saving(self.model, self)
        self._is_attached = True

    @classmethod
    def around(cls, model: nn.Module, candidates: list[Candidate], weights: list[MixedWeight]) -> Mixup:
        """Return a mixup of hooks that are there already, as in a copy of a part of an injected model."""
        form = type(weights[0].alpha)
        name = next((key for key, known in ALPHA_FORMS.items() if known is form), form.__name__)
        mixup = cls(model, candidates, weights[0].formula, name)
        for candidate, weight in zip(candidates, weights, strict=True):
            mixup.attention.add(candidate.name, weight.alpha)
            mixup.weights[candidate.name] = weight
        mixup._is_attached = True
        return mixup
