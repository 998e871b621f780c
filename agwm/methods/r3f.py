"""R3F and R4F: train a model to keep its output when noise moves the word embeddings a little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm
from transformers import PreTrainedModel

from agwm.checks import NonNegative
from agwm.methods.divergence import divergence_of, squared_distance
from agwm.methods.method import OneLevelMethod, Settings
from agwm.models.families import head_names, is_regression, word_embeddings
from agwm.models.pretrained import Pretrained
from agwm.recipe.config import FinetuneConfig
from agwm.rng import seed_everything

__all__ = ["R3F", "R4F", "R3FSettings", "draw_noise", "noisy_embeddings", "output_layer"]


@dataclass(frozen=True)
class R3FSettings(Settings):
    """Settings of :class:`R3F` and :class:`R4F`.

    Attributes:
        weight: Lambda, the factor of the divergence.
        noise_scale: Half width of uniform noise, or standard deviation of normal noise.
        noise: ``"uniform"`` or ``"normal"``.
        regression: Replacement for the divergence in regression: ``"mse"``, or ``"none"`` as in the
            official code. ``"none"`` turns R3F into vanilla finetuning.
    """

    weight: NonNegative = 1.0
    noise_scale: NonNegative = 1e-5
    noise: Literal["uniform", "normal"] = "uniform"
    regression: Literal["mse", "none"] = "mse"


def draw_noise(like: Tensor, kind: str, scale: float) -> Tensor:
    """Draw noise from :math:`U(-s, s)` or :math:`N(0, s^2)`, with shape and device of ``like``."""
    if kind == "uniform":
        return torch.empty_like(like).uniform_(-scale, scale)
    return torch.empty_like(like).normal_(0.0, scale)


@contextmanager
def noisy_embeddings(module: nn.Module, kind: str, scale: float) -> Iterator[None]:
    r"""Make the module return :math:`e + z` within the block, without gradient to its table.

    BART multiplies :math:`e` by ``embed_scale``. The noise is multiplied by it too.
    """
    factor = float(getattr(module, "embed_scale", 1.0))

    def add(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        output = output.detach()
        return output + factor * draw_noise(output, kind, scale)

    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def output_layer(model: PreTrainedModel) -> nn.Linear | None:
    """Return the last linear map of the head, which gives the logits; None if there is none."""
    head = set(head_names(model))
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and f"{name}.weight" in head
        and module.out_features == model.config.num_labels
    ]
    return found[-1] if found else None


class R3F(OneLevelMethod):
    r"""Robust representations by regularized finetuning.

    .. math::
        L = \ell(f(e), y) + \lambda \frac1B \sum_b \left[ KL(p_b \| q_b) + KL(q_b \| p_b) \right],
        \quad p = \mathrm{softmax} f(e),\ q = \mathrm{softmax} f(\mathrm{stopgrad}(e) + z)

    with the word embeddings :math:`e` (before positions are added) and noise :math:`z`. In regression the
    second term is :math:`\lambda \cdot MSE(f(e), f(e + z))`. With several labels an example KL is the sum
    over labels of that of "has it, or not".

    Both passes are in training mode and draw their own dropout masks. Gradient flows through both, but the
    noisy pass gives none to the word embeddings that it disturbs. In BART these are the encoder's; the
    decoder shares their table and gives it gradient. Both passes run in float32, even under autocast,
    because half precision would round noise of 1e-5 away.

    Reference:
        Aghajanyan et al., "Better fine-tuning by reducing representational collapse", ICLR 2021; fairseq,
        ``examples/rxf``.
    """

    name = "r3f"
    acts_on: ClassVar[tuple[str, ...]] = ("loss",)
    settings_class = R3FSettings
    passes_per_step = 2

    def unused(self) -> frozenset[str]:
        """Return the settings that have no effect. Both passes run in float32, so precision has none."""
        return super().unused() | {"vanilla.precision"}

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the model has no word embeddings."""
        try:
            word_embeddings(loaded.model)
        except (NotImplementedError, AttributeError):
            raise self.refuse(loaded.model, "expected an embedding of tokens, got none.") from None

    def step_passes(self, is_regression: bool) -> int:
        """Return 2 passes per step, or 1 if the settings have no second term in regression."""
        return 1 if is_regression and self.settings.regression == "none" else 2

    def loss(self, model: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Return the loss of a batch, from a clean and a noisy pass."""
        device = batch["labels"].device.type
        with torch.autocast(device, enabled=False):
            clean = model(**batch)
            if self.step_passes(is_regression(model)) == 1:
                return clean.loss
            inputs = {key: value for key, value in batch.items() if key != "labels"}
            # In BART only the encoder's embeddings get noise, as in the official code.
            table = word_embeddings(cast(PreTrainedModel, model))[0]
            with noisy_embeddings(table, self.settings.noise, self.settings.noise_scale):
                noisy = model(**inputs).logits
            distance = squared_distance if is_regression(model) else divergence_of(model)
            return clean.loss + self.settings.weight * distance(clean.logits, noisy, "mean")


class R4F(R3F):
    r"""R3F that divides the last linear map of the head by its largest singular value.

    :math:`W = V / \sigma_{max}(V)`, and :math:`V` is trained. Each pass takes one power iteration, as in
    the official code. After training the finished model holds W.

    Reference:
        As :class:`R3F`.
    """

    name = "r4f"
    acts_on = ("reparametrization", "loss")
    layer: nn.Linear

    def check(self, loaded: Pretrained, recipe: FinetuneConfig) -> None:
        """Raise if the model has no word embeddings, or no linear map to the logits."""
        super().check(loaded, recipe)
        if output_layer(loaded.model) is None:
            raise self.refuse(loaded.model, "expected a linear map to the logits, got none.")

    def reparametrize(self, loaded: Pretrained, recipe: FinetuneConfig, seed: int) -> nn.Module:
        """Divide the weight of the last linear map by its spectral norm from now on."""
        self.check(loaded, recipe)
        seed_everything(seed)
        self.layer = cast(nn.Linear, output_layer(loaded.model))  # check() found one
        spectral_norm(self.layer, "weight")
        return loaded.model

    def finish(self, model: nn.Module) -> nn.Module:
        """Write the quotient into the weight."""
        parametrize.remove_parametrizations(self.layer, "weight", leave_parametrized=True)
        return model
