"""A model as it was given: the state that a failed run puts back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from agwm.mixing.injection import mixup_of
from agwm.out_of_memory import out_of_memory
from agwm.shards import own_part

__all__ = ["Snapshot"]


class Snapshot:
    """Copy of a model's weights, buffers and flags. The copies are in the CPU's memory.

    Args:
        model: The model, plain.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [(parameter, _copy(parameter)) for parameter in model.parameters()]
        self._flags = [(p, p.requires_grad, p.device) for p, _ in self._parameters]
        self._gradients = [
            (p, p.grad, None if p.grad is None else _copy(p.grad)) for p, _ in self._parameters
        ]
        self._buffers = [
            (module, {n: (b, None if b is None else _copy(b)) for n, b in module._buffers.items()})
            for module in model.modules()
        ]
        self._modes = [(module, module.training) for module in model.modules()]
        self._config: Any = getattr(model, "config", None)
        self._padding = getattr(self._config, "pad_token_id", None)

    @torch.no_grad()
    def restore_tensors(self) -> None:
        """Put parameters and buffers back, into the very tensors that held them."""
        for (parameter, value), (_, _, device) in zip(self._parameters, self._flags, strict=True):
            if parameter.device != device or parameter.dtype != value.dtype:
                parameter.data = torch.empty_like(value, device=device)
            own_part(parameter).copy_(value)
        for module, buffers in self._buffers:
            for name in set(module._buffers) - set(buffers):
                del module._buffers[name]
            for name, (buffer, kept) in buffers.items():
                if buffer is not None and kept is not None:
                    buffer.copy_(kept)
                module._buffers[name] = buffer

    @contextmanager
    def guarding(self, model: nn.Module) -> Iterator[None]:
        """Context manager: a body that fails or is interrupted leaves the model as it was given.

        A note on the error says what to lower where memory was short.

        Args:
            model: The model, which may be injected in the body.
        """
        try:
            yield
        except BaseException as error:
            line = out_of_memory(error)
            if line is not None and sys.version_info >= (3, 11):
                error.add_note(line)
            mixup = mixup_of(model)
            if mixup is not None:
                mixup.remove()
            self.restore()
            raise

    def restore_flags(self) -> None:
        """Put ``requires_grad`` of every parameter back."""
        for parameter, is_trained, _ in self._flags:
            parameter.requires_grad_(is_trained)

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back: tensors, ``.grad``, ``requires_grad``, the modes and the padding token."""
        self.restore_tensors()
        if hasattr(self._config, "pad_token_id"):
            self._config.pad_token_id = self._padding
        self.restore_flags()
        for parameter, gradient, value in self._gradients:
            if gradient is not None and value is not None:
                own_part(gradient).copy_(value)
            parameter.grad = gradient
        for module, is_training in self._modes:
            module.training = is_training


def _copy(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor if tensor.is_meta else own_part(tensor).to("cpu", copy=True)  # inject refuses meta
