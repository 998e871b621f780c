"""Child-Tuning_D: train only the child network, the block weights that matter most to the task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agwm.checks import Interval
from agwm.errors import DivergenceError
from agwm.methods.masks import Masks, count_of, largest
from agwm.methods.method import OneLevelMethod, Settings
from agwm.models.families import blocks
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.rng import RngState, replay

__all__ = ["ChildD", "ChildDSettings", "fisher_information"]

Batch = Mapping[str, Tensor]


def _rows(batch: Batch) -> Iterable[Batch]:
    for row in range(len(batch["labels"])):
        yield {name: value[row : row + 1] for name, value in batch.items()}


def fisher_information(
    loss: Callable[[Batch], Tensor],
    parameters: Sequence[nn.Parameter],
    batches: Iterable[Batch],
    kind: str = "example",
) -> list[Tensor]:
    r"""Return the diagonal of the empirical Fisher information.

    ``"example"`` gives the paper's :math:`F_i = \frac1n \sum_j (\partial \ell_j / \partial w_i)^2` over
    n examples. The loss :math:`\ell_j` of an example is minus its log likelihood. ``"batch"`` gives the
    variant of the official code. It clips each tensor of a batch's mean gradient to norm 1, squares it and
    takes the mean over batches.

    Args:
        loss: Function that returns the mean loss of a batch.
        parameters: Parameters whose Fisher information is returned.
        batches: One pass over the training set.
        kind: ``"example"`` or ``"batch"``.

    Returns:
        Tensors like ``parameters``, without gradient.

    Reference:
        Xu et al., Raise a Child in Large Language Model, EMNLP 2021.
    """
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    num_terms = 0
    for batch in batches:
        for part in _rows(batch) if kind == "example" else (batch,):
            # a batch may not reach every part of a model (XLNet's segments): no gradient there
            gradients = torch.autograd.grad(loss(part), parameters, allow_unused=True)
            num_terms += 1
            for total, gradient in zip(totals, gradients, strict=True):
                if gradient is None:
                    continue
                if kind == "batch":
                    gradient = gradient * (1 / (gradient.norm() + 1e-6)).clamp(max=1.0)
                total.addcmul_(gradient, gradient)
    for total in totals:
        total.div_(max(num_terms, 1))
    return totals


@dataclass(frozen=True)
class ChildDSettings(Settings):
    """Settings of :class:`ChildD`.

    Attributes:
        kept_fraction: Part of the blocks' weights that is trained, in (0, 1].
        fisher: ``"example"``: squares of gradients of single examples, without dropout; this is the
            definition. ``"batch"``: squares of clipped gradients of batches, with dropout; the authors'
            code does this.
        hold: True keeps the blocks' other weights bit for bit. False lets weight decay shrink them, as
            the authors' code does.
    """

    kept_fraction: Annotated[float, Interval(1e-6, 1)] = 0.3
    fisher: Literal["example", "batch"] = "example"
    hold: bool = True


class ChildD(OneLevelMethod):
    r"""Child-Tuning_D: :math:`g \leftarrow g \odot M`, M the weights of largest Fisher information.

    The method finds M once, before training, over the weights, biases and norms of all transformer blocks
    together. All parameters outside the blocks train: embeddings, any layers between them and the blocks,
    pooler and head.

    Reference:
        Xu et al., Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning,
        EMNLP 2021.
    """

    name = "child_d"
    acts_on = ("gradient", "optimizer")
    settings_class = ChildDSettings

    def __init__(self, settings: ChildDSettings | None = None) -> None:
        super().__init__(settings)
        self.masks = Masks()

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the model has no transformer blocks."""
        blocks(loaded.model)

    def before_training(self, model: nn.Module, batches: Iterable[Batch], num_steps: int) -> None:
        """Choose the child network, by one pass over the training set.

        Raises:
            DivergenceError: If the Fisher information is not finite.
        """
        found = {
            id(parameter): parameter
            for block in blocks(cast(PreTrainedModel, model))
            for parameter in block.parameters()
            if parameter.requires_grad
        }
        parameters = list(found.values())
        was_training = model.training
        model.train(self.settings.fisher == "batch")
        # dropout in training draws the same masks as without this pass
        with replay(RngState.capture(parameters[0].device)):
            fisher = fisher_information(
                lambda batch: self.loss(model, batch), parameters, batches, self.settings.fisher
            )
        model.train(was_training)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in fisher):
            raise DivergenceError(
                "Fisher information is not finite: expected numbers, got NaN or infinity."
                " Check the examples and the checkpoint."
            )
        count = count_of(self.settings.kept_fraction, sum(tensor.numel() for tensor in fisher))
        self.masks = Masks(list(zip(parameters, largest(fisher, count), strict=True)))

    def extra_passes(self, num_batches: int) -> float:
        """Return the passes that Fisher information takes: one per batch of the training set."""
        return num_batches

    def edit_gradients(self, model: nn.Module) -> None:
        """Mask the gradient, before it is clipped."""
        self.masks.mask_gradients()

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Remember the weights, so that masked ones can be put back."""
        if self.settings.hold:
            self.masks.hold()

    def after_step(self, model: nn.Module) -> None:
        """Put the masked weights back."""
        if self.settings.hold:
            self.masks.put_back()
