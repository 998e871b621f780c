"""Load a pretrained model and its tokenizer for a task: packaged, from a folder, or from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from agwm.errors import ConfigError, ModelError, border, shown
from agwm.models.checkpoint import check_quantized, check_types, check_weights, listed, mismatched_shapes
from agwm.models.files import model_name
from agwm.models.heads import class_layer, fit_head
from agwm.models.sources import PACKAGED_MODEL, locate, packaged_notes
from agwm.models.vocabulary import check_tokenizer
from agwm.rng import seed_everything

__all__ = ["PACKAGED_MODEL", "Pretrained", "load_pretrained", "pick_device", "quiet_transformers"]

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]


@dataclass(frozen=True)
class Pretrained:
    """A model with a head for the task, and its tokenizer.

    Attributes:
        model: The model, on the CPU, in float32, in evaluation mode.
        tokenizer: Its tokenizer, with a padding token.
        fresh: Names of the parameters that the checkpoint does not hold. They have no ``W0``.
        name: The model's name, as in records.
        num_tensors: Number of its parameters.
        num_loaded: Number of those that the checkpoint gave.
        notes: Lines for the user, each with the model's name, on what was done while loading.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fresh: tuple[str, ...]
    name: str = field(default="", kw_only=True)
    num_tensors: int = field(default=0, kw_only=True)
    num_loaded: int = field(default=0, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def origin(self) -> str:
        """One line on where the weights come from: the checkpoint, or drawn at random."""
        new = set(self.fresh)
        ordered = [name for name, _ in self.model.named_parameters() if name in new]
        drawn = f"; new: {listed(ordered, 4)}" if ordered else ""
        return f"{self.name}: {self.num_loaded} of {self.num_tensors} tensors from the checkpoint{drawn}"


def load_pretrained(
    name: str,
    label_names: Sequence[str] | None,
    seed: int,
    trust_remote_code: bool = False,
    problem_type: str | None = None,
) -> Pretrained:
    """Load a model for sequence classification or regression, and compare it with its own files.

    A head for the same classes keeps them by name, whatever their order. A head for others is replaced,
    and so is one of several labels an example by one of one label, and the other way round.

    Args:
        name: A packaged model (``"minilm"``, in the extra ``offline``, or another of ``docs/models.md``), a
            folder, or a name on the hub.
        label_names: Class names in index order; None for regression on one score.
        seed: Seed of the head's initial weights. It seeds the global random state.
        trust_remote_code: True to run code that comes with the model.
        problem_type: ``"multi_label_classification"`` for any number of labels an example; None: one
            label an example, or a regression where there are no names.

    Returns:
        The model, its tokenizer and the names of its fresh parameters.

    Raises:
        ConfigError: If ``problem_type`` is unknown, or does not fit the names.
        ModelError: If there is no such model, it cannot be read, its class has no such head, weights of the
            backbone are missing or of another shape, or its tokenizer is missing or another model's.
        MissingExtraError: If ``name`` is that of a packaged model, and its packages are not installed.
    """
    kind = _problem_type(label_names, problem_type)
    source, is_local = locate(name)
    shared = {"trust_remote_code": trust_remote_code, "local_files_only": is_local}
    content = "a Hugging Face checkpoint with a tokenizer"
    with (
        quiet_transformers(),
        border(name, content, "Check --model.", problem="Cannot load model", error=ModelError),
    ):
        stored, _ = PretrainedConfig.get_config_dict(source, **shared)
        config = AutoConfig.from_pretrained(source, **shared)
        check_quantized(name, config)
        tokenizer = AutoTokenizer.from_pretrained(source, **shared)
        _fit_config(config, label_names, kind)
        seed_everything(seed)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # replaces a head for other labels by a new one
            output_loading_info=True,
            **shared,
        )
        notes = packaged_notes(name) + check_types(name, source)
        fresh, more = check_weights(name, model, report)
        other = mismatched_shapes(report).get(f"{class_layer(model)}.weight")
        rows = None if other is None else other[0][0]
        notes += more + fit_head(model, stored, label_names, fresh, rows, kind)
        notes += check_tokenizer(name, tokenizer, model)
        _fit_padding(model, tokenizer)
    total, label = sum(1 for _ in model.parameters()), model_name(name)
    return Pretrained(
        model.eval(),
        tokenizer,
        tuple(sorted(fresh)),
        name=label,
        num_tensors=total,
        num_loaded=total - len(fresh),
        notes=tuple(f"{label}: {note}" for note in notes),
    )


def pick_device(name: str) -> torch.device:
    """Return the device of a name. ``"auto"`` is CUDA if PyTorch finds it, else the CPU.

    Raises:
        ConfigError: If the name is unknown or PyTorch cannot use the device.
        OutOfMemoryError: If the device is full.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except torch.OutOfMemoryError:  # the device is there, and full
        raise
    except (RuntimeError, AssertionError):  # NotImplementedError is a RuntimeError
        raise ConfigError(
            f"Device is not usable: expected auto, cpu or one that PyTorch finds here, got {name!r}."
            " Set device (--device) to auto."
        ) from None
    return device


def _problem_type(label_names: Sequence[str] | None, problem_type: str | None) -> ProblemType:
    """Return the kind of labels, as transformers calls it.

    Raises:
        ConfigError: If the stated kind is unknown, or does not fit the names.
    """
    kinds: list[ProblemType] = ["regression"]
    if label_names is not None:
        kinds = ["single_label_classification", "multi_label_classification"]
    if problem_type is not None and problem_type not in kinds:
        names = "without label names" if label_names is None else f"with {len(label_names)} label names"
        raise ConfigError(
            f"Wrong problem type: expected {' or '.join(kinds)} {names}, got {shown(problem_type, 80)}."
            " Correct problem_type, or the names."
        )
    return next((kind for kind in kinds if kind == problem_type), kinds[0])


def _fit_config(
    config: PretrainedConfig, label_names: Sequence[str] | None, problem_type: ProblemType
) -> None:
    config.num_labels = 1 if label_names is None else len(label_names)
    config.problem_type = problem_type
    if label_names is not None:
        config.id2label = dict(enumerate(label_names))
        config.label2id = {label: index for index, label in enumerate(label_names)}


def _fit_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give models that were trained without padding (GPT-2, Llama) the end token for it.

    XLNet's head reads the last position of the batch, so that padding has to stand at the left.

    Raises:
        ModelError: If the tokenizer has neither a padding nor an end token.
    """
    if getattr(model.config, "summary_type", None) == "last":
        tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                "Tokenizer has no padding token: expected a padding or an end token, got neither."
                " Set tokenizer.pad_token and save it again."
            )
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide progress bars and warnings. A warning would report the new head, which is intended here."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
