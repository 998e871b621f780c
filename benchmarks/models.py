"""The model and the batches that are measured, and the machine they are on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from agwm.errors import ConfigError

__all__ = ["CPU", "DEVICES", "PRECISIONS", "Machine", "Size"]

DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "bf16")
NUM_BATCHES = 4


@dataclass(frozen=True)
class Machine:
    """Where and in what precision everything runs.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        precision: ``"fp32"``, or ``"bf16"`` for autocast over weights in float32.
    """

    device: str = "cpu"
    precision: str = "fp32"

    def check(self) -> None:
        """Raise unless the device is there.

        Raises:
            ConfigError: If it is ``"cuda"`` and torch finds none.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device is not there: expected a CUDA device, got none. Use --device cpu.")

    @property
    def card(self) -> str | None:
        """Name of the graphics card in use, or None."""
        return torch.cuda.get_device_name() if self.device == "cuda" else None

    def autocast(self) -> torch.autocast:
        """Return the context in which a forward pass runs."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()


CPU = Machine()


@dataclass(frozen=True)
class Size:
    """Size of the model and of a batch; the feed-forward maps are four times ``hidden`` wide."""

    layers: int = 6
    hidden: int = 384
    heads: int = 12
    vocabulary: int = 30522
    batch: int = 16
    length: int = 128
    dropout: float = 0.1

    def model(self, machine: Machine = CPU, kernels: str = "sdpa") -> nn.Module:
        """Build the BERT classifier in training mode, the same weights at every call.

        Args:
            machine: Gives the device.
            kernels: ``"sdpa"``, or ``"eager"`` for attention in plain tensor operations.
        """
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden,
            max_position_embeddings=self.length,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            attn_implementation=kernels,
        )
        return BertForSequenceClassification(config).train().to(machine.device)

    def examples(self, count: int, seed: int) -> dict[str, Tensor]:
        """Draw so many texts of random tokens, none of them padding, with random labels."""
        generator = torch.Generator().manual_seed(seed)
        shape = (count, self.length)
        return {
            "input_ids": torch.randint(self.vocabulary, shape, generator=generator),
            "attention_mask": torch.ones(shape, dtype=torch.long),
            "labels": torch.randint(2, shape[:1], generator=generator),
        }

    def batches(self, seed: int, machine: Machine = CPU) -> list[dict[str, Tensor]]:
        """Draw the batches that a loader goes round."""
        whole = self.examples(NUM_BATCHES * self.batch, seed)
        parts = {name: tensor.to(machine.device).split(self.batch) for name, tensor in whole.items()}
        return [{name: part[i].clone() for name, part in parts.items()} for i in range(NUM_BATCHES)]
