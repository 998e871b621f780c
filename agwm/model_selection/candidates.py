"""Candidates of a model selection: methods, with the range of settings that each is tried with."""

from __future__ import annotations

import dataclasses
from typing import Any

from transformers import PretrainedConfig

from agwm.errors import ConfigError, close_names, shown
from agwm.hypergradient.settings import Hypergradient
from agwm.methods import METHODS, Method
from agwm.recipe.config import FinetuneConfig, SearchConfig
from agwm.training.config import TrainingConfig

__all__ = ["CONSTANT", "Settings", "base_epochs", "base_rate", "candidate_names", "is_trained", "made_with"]

CONSTANT = "constant"
Settings = dict[str, Any]

_BATCH_SIZE = 16
_STEPS = 45  # of a training part, about: fewer do not learn, more take longer
_FEWEST_EPOCHS, _MOST_EPOCHS = 2, 10
_RATE_OF_LARGE, _WIDTH_OF_LARGE = 2e-5, 1024  # the usual rate of BERT-large, and its hidden size
_SMALLEST_RATE, _LARGEST_RATE = 1e-5, 1e-3
# Methods that train few new weights on a frozen model, with the factor of their rate and of their epochs.
_OF_FEW_WEIGHTS = {"lora": (10.0, 1.5), "prefix_tuning": (70.0, 4.0), "prompt_tuning": (70.0, 4.0)}
_SEARCH_EPOCHS = 2  # of methods on two levels; the epochs that are chosen are those of the final stage
# Methods whose only setting is chosen by a cross-validation of their own.
_CHOOSES_ITSELF = ("probe",)


def candidate_names(names: list[str] | None, default: list[str]) -> list[str]:
    """Return the candidates that are tried: those named, or the default ones, with the constant answer.

    Raises:
        ConfigError: If a name is unknown, or is given twice.
    """
    chosen = list(default if names is None else names)
    for name in chosen:
        if name != CONSTANT and name not in METHODS:
            known = (CONSTANT, *METHODS)
            raise ConfigError(
                f"Unknown method {shown(name)}: expected one of {', '.join(known)}."
                f"{close_names(name, known)} Correct --methods."
            )
    twice = [name for name in chosen if chosen.count(name) > 1]
    if twice or not chosen:
        got = f"{twice[0]} twice" if twice else "none"
        raise ConfigError(f"Wrong --methods: expected different names, got {got}. Correct --methods.")
    return [CONSTANT, *(name for name in chosen if name != CONSTANT)]


def is_trained(name: str) -> bool:
    """Return whether a candidate has a learning rate and epochs to choose."""
    return name != CONSTANT and name not in _CHOOSES_ITSELF


def base_rate(name: str, config: PretrainedConfig) -> float:
    r"""Return the learning rate in the middle of a candidate's range.

    .. math:: 2 \cdot 10^{-5} (1024 / h)^2, \quad \text{within } [10^{-5}, 10^{-3}]

    with the hidden size ``h``: the usual rates of large, base and small encoders. Methods that train few
    new weights get ten times as much (LoRA), or seventy times (prompt tuning, prefix-tuning).

    Example:
        >>> from transformers import BertConfig
        >>> [f"{base_rate('vanilla', BertConfig(hidden_size=size)):.1e}" for size in (1024, 768, 384)]
        ['2.0e-05', '3.6e-05', '1.4e-04']
    """
    width = getattr(config, "hidden_size", None) or getattr(config, "d_model", None) or 768
    rate = _RATE_OF_LARGE * (_WIDTH_OF_LARGE / width) ** 2
    rate = min(_LARGEST_RATE, max(_SMALLEST_RATE, rate))
    return float(f"{rate * _OF_FEW_WEIGHTS.get(name, (1.0, 1.0))[0]:.2g}")


def base_epochs(name: str, num_examples: int) -> int:
    """Return the shorter number of epochs of a candidate: about 45 steps, and 2 to 10 epochs.

    Args:
        name: The candidate.
        num_examples: Size of a training part.

    Example:
        >>> base_epochs("vanilla", 240), base_epochs("vanilla", 60), base_epochs("lora", 240)
        (3, 10, 5)
    """
    epochs = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, round(_STEPS / -(-num_examples // _BATCH_SIZE))))
    return -int(-epochs * _OF_FEW_WEIGHTS.get(name, (1.0, 1.0))[1] // 1)


def made_with(
    name: str, settings: Settings, seed: int, gradient_accumulation: int = 1
) -> tuple[Method, TrainingConfig, FinetuneConfig]:
    """Return a method and the settings of its run.

    Args:
        name: Name of the method.
        settings: ``learning_rate`` and ``epochs``; or empty. Methods on two levels have the rate in both
            stages, and the epochs in the final one.
        seed: Seed of the run.
        gradient_accumulation: Micro-batches of a batch, in every stage.
    """
    training = TrainingConfig(**settings, gradient_accumulation=gradient_accumulation)
    kind = METHODS[name].settings_class
    own = None if kind is None else kind()
    fields = {field.name for field in dataclasses.fields(own)} if dataclasses.is_dataclass(own) else set()
    fitting = {key: value for key, value in settings.items() if key in fields}
    if own is not None and fitting:
        own = dataclasses.replace(own, **fitting)
    recipe = FinetuneConfig(
        # One outer step to two inner ones, and a difference of one pass: half of the usual time.
        search=SearchConfig(
            **{**settings, "epochs": _SEARCH_EPOCHS},
            gradient_accumulation=gradient_accumulation,
            unroll_steps=2,
            attention_learning_rate=1e-2,
            evaluations=0,
            stratified=True,
        ),
        final=training,
        hypergradient=Hypergradient(scheme="forward"),
        seed=seed,
    )
    return METHODS[name](own), training, recipe
