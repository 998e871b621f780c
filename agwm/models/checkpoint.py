"""Compare a loaded model with its checkpoint: weights that are missing, of another shape, or left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open
from transformers import PreTrainedModel

from agwm.errors import ModelError
from agwm.models.heads import new_parts

__all__ = ["check_quantized", "check_types", "check_weights", "listed", "mismatched_shapes"]

_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # of safetensors
_SHOWN = 3  # names in a message


def listed(names: Sequence[str], shown: int = _SHOWN) -> str:
    """Return the first names, and the number of the others."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def mismatched_shapes(report: Mapping[str, Any]) -> dict[str, tuple[Sequence[int], Sequence[int]]]:
    """Return name -> shape in the checkpoint and in the model, for parameters of which the two differ."""
    # some releases of transformers give names without shapes
    entries = [key if isinstance(key, tuple) else (key, (0,), (0,)) for key in report["mismatched_keys"]]
    return {key: (tuple(stored), tuple(wanted)) for key, stored, wanted in entries}


def check_weights(
    name: str, model: PreTrainedModel, report: Mapping[str, Any]
) -> tuple[set[str], list[str]]:
    """Raise unless the checkpoint gave every weight of the backbone, in its shape, and finite.

    A pooler may be missing: it is trained from scratch, as the head is.

    Args:
        name: The model, as the user calls it.
        model: The model, loaded.
        report: What ``from_pretrained`` returned with it.

    Returns:
        Names of the parameters that the checkpoint did not give; notes on layers that were left out.

    Raises:
        ModelError: If weights are missing, of another shape or not finite.
    """
    parameters = dict(model.named_parameters())
    mismatched = mismatched_shapes(report)
    fresh = {key for key in {*report["missing_keys"], *mismatched} if key in parameters}
    may_be_new = new_parts(model)
    for key in parameters:
        if key in mismatched and key not in may_be_new:
            stored, wanted = mismatched[key]
            raise ModelError(
                f"Weights of model {name!r} do not fit its config: expected {key} of shape {list(wanted)},"
                f" got {list(stored)} in the checkpoint. Correct its config.json, or pass another --model."
            )
    missing = [
        key
        for key, parameter in parameters.items()
        # tables of sines are parameters that are never drawn and never trained
        if key in fresh and key not in may_be_new and parameter.requires_grad and not _is_pooler(key)
    ]
    if missing:
        raise ModelError(
            f"Weights of model {name!r} do not fit its config: expected all {len(parameters)} weights but"
            f" the head's in the checkpoint, got none for {listed(missing)}. Correct its config.json, or"
            " pass another --model."
        )
    for key, parameter in parameters.items():
        # a sum is finite only if all are, or nearly so: it is ten times as fast as a look at each
        if not bool(torch.isfinite(parameter.sum())) and not bool(torch.isfinite(parameter).all()):
            raise ModelError(
                f"Weights of model {name!r} are damaged: expected finite numbers, got NaN or infinity in"
                f" {key}. Take a checkpoint from before its training diverged, or pass another --model."
            )
    return fresh, _left_out(model, report["unexpected_keys"])


def check_quantized(name: str, config: Any) -> None:
    """Raise if the config of a model says that its weights are quantized.

    Raises:
        ModelError: If it does.
    """
    if kind := getattr(config, "quantization_config", None):
        values = kind if isinstance(kind, Mapping) else vars(kind)
        method = values.get("quant_method", "")
        _refuse_quantized(name, f"quantization_config ({getattr(method, 'value', method)})")


def check_types(name: str, source: str) -> list[str]:
    """Raise if a checkpoint holds weights that are no floats; return a note if they are not of float32.

    Args:
        name: The model, as the user calls it.
        source: Folder, or name of a model on the hub that is in the cache.

    Raises:
        ModelError: If weights are quantized.
    """
    stored: dict[str, str] = {}
    for path in _weight_files(source):
        stored.update(_types(path))
    for key, dtype in stored.items():
        if key.endswith((".weight", ".bias")) and dtype not in _FLOATS.values():
            _refuse_quantized(name, f"{dtype} in {key}")
    others = sorted(set(stored.values()) & {"float16", "bfloat16", "float64"})
    return [f"its weights in {' and '.join(others)} are used in float32"] if others else []


def _weight_files(source: str) -> list[Path]:
    """Return the files of weights that transformers reads: of several kinds the first."""
    folder = Path(source)
    if not folder.is_dir():
        cached = try_to_load_from_cache(source, "config.json")
        folder = Path(cached).parent if isinstance(cached, str) else folder
    for pattern in ("model.safetensors", "model-*.safetensors", "pytorch_model*.bin"):
        if found := sorted(folder.glob(pattern)):
            return found
    return []


def _types(path: Path) -> dict[str, str]:
    """Return the types of the tensors in a file, without reading the numbers."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            types = {key: file.get_slice(key).get_dtype() for key in file.keys()}
        return {key: _FLOATS.get(dtype, dtype) for key, dtype in types.items()}
    try:
        tensors = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:  # an old form: what is wrong with it, if anything, from_pretrained says
        return {}
    return {key: str(tensor.dtype).removeprefix("torch.") for key, tensor in tensors.items()}


def _refuse_quantized(name: str, got: str) -> None:
    raise ModelError(
        f"Model {name!r} is quantized: expected weights in float32, float16 or bfloat16, got {got}."
        " Pass the model that it was made from as --model."
    )


def _is_pooler(key: str) -> bool:
    return "pooler" in key.split(".")


def _left_out(model: PreTrainedModel, unexpected: Iterable[str]) -> list[str]:
    """Return a note if the checkpoint has more layers than the model: keys that differ in numbers alone."""
    known = {re.sub(r"\d+", "#", key) for key in model.state_dict()}
    prefix = f"{model.base_model_prefix}."
    extra = sorted(
        key
        for key in unexpected
        if known & {re.sub(r"\d+", "#", form) for form in (key, prefix + key, key.removeprefix(prefix))}
    )
    if not extra:
        return []
    return [f"{len(extra)} tensors of its checkpoint are in no layer of its config: {listed(extra)}"]
