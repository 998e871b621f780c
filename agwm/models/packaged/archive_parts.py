"""Join the parts of a zip archive, and unpack it into a model's folder."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from agwm.errors import ModelError

__all__ = ["unpack_parts"]

_CHUNK = 1 << 20  # bytes
_LEFT_OUT = "desktop.ini"  # a leftover of the system on which the archive was made


def unpack_parts(parts: Sequence[Path], folder: Path) -> None:
    """Unpack an archive that was cut into parts. The files of its one folder come into ``folder``.

    The whole archive needs room beside ``folder`` for the moment.

    Args:
        parts: The parts in their order.
        folder: An empty folder.

    Raises:
        ModelError: If a file of the archive would come to lie outside of the folder.
    """
    with tempfile.TemporaryFile(dir=folder.parent) as joined:  # has no name: nothing stays of a killed run
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined, _CHUNK)
        with zipfile.ZipFile(joined) as archive:
            for entry in archive.infolist():
                inner = PurePosixPath(entry.filename).parts[1:]
                if entry.is_dir() or not inner or inner[-1] == _LEFT_OUT:
                    continue
                if ".." in inner:
                    raise ModelError(
                        "Archive is unsafe: expected files inside of its folder, got"
                        f" {entry.filename[:200]!r}. Do not use this package."
                    )
                target = folder.joinpath(*inner)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
