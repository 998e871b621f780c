"""Mixout: dropout of weights that sets them to their pretrained values instead of 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import nn

from agwm.checks import Interval
from agwm.methods.backbone_dropout import BackboneDropout, BackboneDropoutMode
from agwm.methods.method import OneLevelMethod, Settings
from agwm.methods.mixout_weights import MixoutGradient, MixoutWeights, column_shape, mixable
from agwm.mixing.selection import Candidate
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig

__all__ = ["Mixout", "MixoutSettings"]


@dataclass(frozen=True)
class MixoutSettings(Settings):
    """Settings of :class:`Mixout`.

    Attributes:
        p: Probability that a weight falls back to its pretrained value.
        mask: ``"column"``: one draw for all weights of an input neuron; ``"element"``: one per weight.
        gradient: ``"exact"``: the derivative; ``"official"``: the derivative times 1 - p.
        dropout: ``"off"``: Mixout replaces the backbone's dropout; ``"keep"``: both act.
    """

    p: Annotated[float, Interval(0, 0.99)] = 0.7
    mask: Literal["column", "element"] = "column"
    gradient: MixoutGradient = "exact"
    dropout: BackboneDropoutMode = "off"


class Mixout(OneLevelMethod):
    r"""Linear maps of the backbone see :math:`W_0 + M \odot (W - W_0) / (1 - p)`, M drawn in every step.

    Evaluation and the finished model see W. Head, embeddings, biases and norms train as usual.

    Reference:
        Lee et al., Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models,
        ICLR 2020.
    """

    name = "mixout"
    acts_on = ("reparametrization",)
    settings_class = MixoutSettings

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if there is no pretrained linear map, or column masks meet one of unknown inputs."""
        self._shapes(loaded, mixable(loaded))

    def _shapes(self, loaded: Pretrained, candidates: Sequence[Candidate]) -> list[tuple[int, ...]]:
        if not candidates:
            raise self.refuse(loaded.model, "expected pretrained linear maps in its backbone, got none.")
        if self.settings.mask == "element":
            return [tuple(candidate.parameter.shape) for candidate in candidates]
        shapes = []
        for candidate in candidates:
            shape = column_shape(candidate)
            if shape is None:
                raise self.refuse(
                    loaded.model,
                    "expected linear maps whose inputs are known (nn.Linear, Conv1D, XLNet's), got"
                    f" {candidate.name!r}.",
                    "Set rivals.mixout.mask=element.",
                )
            shapes.append(shape)
        return shapes

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Copy the pretrained weights and put Mixout in place of dropout."""
        candidates = mixable(loaded)
        shapes = self._shapes(loaded, candidates)
        self.weights = MixoutWeights(candidates, shapes, self.settings.p, seed)
        self.dropout = BackboneDropout(loaded.model) if self.settings.dropout == "off" else None
        return loaded.model

    def begin_step(self) -> None:
        """Draw new masks, which stay until the step's backward passes are over."""
        self.weights.draw()

    def to_tree(self) -> Any:
        """Return the state of the generator of masks."""
        return self.weights.to_tree()

    def load_tree(self, tree: Any) -> None:
        """Take back the state of :meth:`to_tree`."""
        self.weights.load_tree(tree)

    def edit_gradients(self, model: nn.Module) -> None:
        """Remove the step's masks, so that evaluation sees W."""
        self.weights.clear()
        if self.settings.gradient == "official":
            self.weights.scale_gradients()

    def finish(self, model: nn.Module) -> nn.Module:
        """Return a plain model with the weights W."""
        self.weights.remove()
        if self.dropout is not None:
            self.dropout.restore()
        return model
