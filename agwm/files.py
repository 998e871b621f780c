"""Files: written whole, in safetensors and JSON only."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from agwm.errors import DataError

__all__ = [
    "load_tree",
    "make_folder",
    "read_json",
    "refuse_to_write",
    "save_tree",
    "write_json",
    "write_text",
    "write_whole",
]

_TENSOR = "__tensor__"


def make_folder(directory: str | Path) -> Path:
    """Make a folder and its parents, and check that a file can be written in it.

    Raises:
        DataError: If it cannot be made or written.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"Output folder is not writable: expected a folder to write in, got {str(folder)!r}"
            f" ({error.strerror}). Choose another one."
        ) from None
    return folder


def write_whole(path: str | Path, write: Callable[[str], object]) -> None:
    """Write a file under a temporary name beside it, then rename it, so nobody sees half of it.

    Args:
        path: The file; its folder exists.
        write: Writes the file of the name that it is given.

    Raises:
        DataError: If it cannot be written, for example on a full disk; an older file stays unchanged.
    """
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # a name may reach the disk before its content: an empty file
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
    except (OSError, SafetensorError) as error:
        refuse_to_write(path, error)


def refuse_to_write(path: str | Path, error: Exception) -> NoReturn:
    """Raise for a file that cannot be written.

    Raises:
        DataError: Always, with the reason.
    """
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    raise DataError(
        f"Cannot write {str(path)!r}: expected room and permission, got: {reason}. Free some space, or"
        " choose another folder."
    ) from None


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    write_whole(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file whole; not-a-number is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: If it is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"Cannot read {str(path)!r}: expected a JSON file, got {type(error).__name__}."
            " Check the path, or write it again."
        ) from None


def _flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().clone().contiguous()
        return {_TENSOR: key}
    if isinstance(value, dict):
        return {"__dict__": [[key, _flatten(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"__tuple__": [_flatten(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_flatten(item, tensors) for item in value]
    return value


def _unflatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unflatten(item, tensors) for item in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if "__tuple__" in value:
            return tuple(_unflatten(item, tensors) for item in value["__tuple__"])
        return {key: _unflatten(item, tensors) for key, item in value["__dict__"]}
    return value


def save_tree(path: str | Path, tree: Any) -> None:
    """Write nested dicts, lists, tuples, numbers, strings and tensors to one safetensors file.

    Args:
        path: The file.
        tree: The content; its structure goes into the file's metadata as JSON.

    Raises:
        TypeError: If the tree holds anything else (JSON's message).
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_flatten(tree, tensors))
    write_whole(path, lambda temporary: save_file(tensors, temporary, {"structure": structure}))


def load_tree(path: str | Path) -> Any:
    """Read what :func:`save_tree` wrote.

    Raises:
        DataError: If the file is missing or not of that kind.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            structure = json.loads((file.metadata() or {})["structure"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise DataError(
            f"Cannot read {str(path)!r}: expected a file that agwm wrote, got"
            f" {type(error).__name__}. Check the path."
        ) from None
    return _unflatten(structure, tensors)
