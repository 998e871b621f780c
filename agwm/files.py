"""Files: written whole, in safetensors and JSON only."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from agwm.errors import AgwmError, DataError, border, reason, shown
from agwm.temporary_files import sweep, temporary_file

__all__ = [
    "check_regular",
    "load_tree",
    "made_folders",
    "make_folder",
    "read_json",
    "read_text",
    "refuse_to_write",
    "save_tree",
    "tree_metadata",
    "write_json",
    "write_text",
    "write_whole",
]

_TENSOR = "__tensor__"
_STRUCTURE, _CHECKSUM = "structure", "sha256"  # keys in the metadata of a tree's file


def make_folder(directory: str | Path) -> Path:
    """Make a folder and its parents, and check that a file can be written in it.

    Files that killed writers left half written in it are removed.

    Raises:
        DataError: If it cannot be made or written.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        sweep(folder)
    except (OSError, ValueError) as error:
        raise DataError(
            f"Output folder is not writable: expected a folder to write in, got {shown(folder)}"
            f" ({reason(error)}). Choose another one."
        ) from None
    return folder


@contextmanager
def made_folders(*directories: str | Path) -> Iterator[None]:
    """Make folders; a body that raises leaves none of them that is new and empty.

    Raises:
        DataError: If one cannot be made or written.
    """
    new = [
        one
        for path in map(Path, directories)
        for one in (path, *path.parents)
        if not os.path.lexists(one)  # False where a parent is no folder: then nothing is made either
    ]
    try:
        for directory in directories:
            make_folder(directory)
        yield
    except BaseException:
        for one in sorted(set(new), key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):
                one.rmdir()
        raise


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
        with temporary_file(path) as temporary:
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # a name may reach the disk before its content: an empty file
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, path)
    except Exception as error:  # whatever a library raises where there is no room
        refuse_to_write(path, error)


def refuse_to_write(path: str | Path, error: Exception) -> NoReturn:
    """Raise for a file that cannot be written; an error of this package says so already.

    Raises:
        DataError: Always, with the reason.
    """
    if isinstance(error, AgwmError):
        raise error
    raise DataError(
        f"Cannot write {shown(Path(path))}: expected room and permission, got: {reason(error)}. Free some"
        " space, or choose another folder."
    ) from None


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    write_whole(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file whole; not-a-number is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_text(
    path: str | Path,
    expected: str = "a text file",
    remedy: str = "Check the path, or write it again.",
    *,
    problem: str = "Cannot read",
    error: type[AgwmError] = DataError,
) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    A folder, a pipe or a device is refused: reading one may never end.

    Args:
        path: The file.
        expected: Noun phrase of the content that is expected, for the message.
        remedy: A sentence that says what to do with other content.
        problem: Start of the message.
        error: The class of the error.

    Raises:
        AgwmError: If it is no file, cannot be read, or is not UTF-8; of the class ``error``.
    """
    path = Path(path)
    with border(path, expected, "Make it readable, or name another.", problem=problem, error=error):
        check_regular(path)
        content = path.read_bytes()
    with border(path, expected, remedy, problem=problem, error=error):
        return content.decode("utf-8-sig")


def check_regular(path: str | Path) -> None:
    """Raise an ``OSError`` unless a path is of a file: to open a pipe waits for somebody who writes.

    Raises:
        OSError: If it is missing, or a folder, a pipe or a device.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(0, "a folder, pipe or device")


def read_json(
    path: str | Path,
    expected: str = "a JSON file",
    remedy: str = "Check the path, or write it again.",
    *,
    error: type[AgwmError] = DataError,
) -> Any:
    """Read a JSON file, strictly: not-a-number, an infinite number and a key written twice are refused.

    The arguments are those of :func:`read_text`.

    Raises:
        AgwmError: If it is missing or not JSON; of the class ``error``.
    """
    text = read_text(path, expected, remedy, error=error)
    with border(Path(path), expected, remedy, error=error):
        return _parse_json(text)


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key that stands twice")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]}, which is no finite number")
    return number


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
    metadata = tree_metadata(structure, tensors)
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata))


def tree_metadata(structure: str, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Return the metadata of a tree's file: its structure as JSON, and a checksum of all that it holds."""
    return {_STRUCTURE: structure, _CHECKSUM: _checksum(structure, tensors)}


def load_tree(path: str | Path) -> Any:
    """Read what :func:`save_tree` wrote.

    Raises:
        DataError: If the file is missing, not of that kind, or holds other bits than were written.
    """
    remedy = "Start without it, or restore the file."
    with border(Path(path), "a file that this version of agwm wrote", remedy, error=DataError):
        check_regular(path)
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        structure = metadata.pop(_STRUCTURE, "")
        if metadata != {_CHECKSUM: _checksum(structure, tensors)}:
            got = "one that was damaged, or that another version wrote" if structure else "another file"
            raise DataError(
                f"Cannot read {shown(Path(path))}: expected a file that this version of agwm wrote, got"
                f" {got}. {remedy}"
            )
        return _unflatten(json.loads(structure), tensors)


def _checksum(structure: str, tensors: dict[str, Tensor]) -> str:
    """Return a digest of everything that a tree's file holds: a bit that a disk flips is noticed."""
    digest = hashlib.sha256(structure.encode())  # a tenth of the time of writing
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"\n{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
