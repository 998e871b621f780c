"""Name a model for records and fingerprint its files. Moving its folder changes neither."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

__all__ = ["folder_name", "model_files", "model_name"]

# Endings of the files of a checkpoint and its tokenizer.
_SUFFIXES = (".json", ".safetensors", ".bin", ".model", ".txt")
_CHUNK = 1 << 20  # bytes


def model_name(model: str) -> str:
    """Return the name of a folder, or the last part of a name on the hub."""
    return folder_name(model) or Path(model).name


def folder_name(model: str) -> str | None:
    """Return the name of the model's folder, without its path; None if the model is in no folder."""
    # functions of os take any text: pathlib raises where a name is too long or a home is unknown
    path = os.path.expanduser(model)
    return os.path.basename(os.path.realpath(path)) if os.path.isdir(path) else None


def model_files(model: str) -> str | None:
    """Return a fingerprint of the names and bytes of a model's files; None if it is in no folder.

    Args:
        model: A folder, a packaged model (``"minilm"``) or a name on the hub. The last two give None,
            because versions identify their files.
    """
    folder = Path(os.path.expanduser(model))
    if not os.path.isdir(folder):
        return None
    paths = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    stats = [(path, path.stat()) for path in paths]
    return _fingerprint(tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats))


@lru_cache(maxsize=64)
def _fingerprint(files: tuple[tuple[str, int, int], ...]) -> str:
    """Return the digest of files. The cache reads them again only after a size or time changes."""
    digest = hashlib.blake2b(digest_size=8)
    for name, size, _ in files:
        digest.update(f"{Path(name).name}\n{size}\n".encode())
        with Path(name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
