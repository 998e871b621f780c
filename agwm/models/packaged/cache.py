"""Keep a folder that was made from packages: in Hugging Face's cache, whole, and made once.

It lies under ``$HF_HOME/assets/agwm``, where libraries keep what they made themselves, and so follows
``HF_HOME``, ``HF_ASSETS_CACHE`` and ``XDG_CACHE_HOME``. Where it is deleted, the next use makes it again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from huggingface_hub import constants

from agwm.errors import DataError, ModelError, reason, shown
from agwm.files import read_json, write_json
from agwm.folders import whole_folder

__all__ = ["kept_folder", "whole_copy"]

_LIST = "agwm_files.json"  # in the folder: name -> size of every other file in it


def whole_copy(name: str, digest: str) -> Path | None:
    """Return the kept folder of a model if it is there with all of its files; otherwise None.

    Args:
        name: The model, and the last part of the folder's name.
        digest: What the folder is made from.
    """
    folder = _place(name, digest)
    try:
        sizes = read_json(folder / _LIST)
        is_whole = all((folder / file).stat().st_size == size for file, size in sizes.items())
    except (DataError, OSError, AttributeError, TypeError):
        return None
    return folder if is_whole else None


def kept_folder(name: str, digest: str, make: Callable[[Path], None]) -> Path:
    """Return the kept folder of a model, and make it if it is missing or not whole.

    Of several processes one makes it; the others wait for it.

    Args:
        name: The model, and the last part of the folder's name.
        digest: What the folder is made from: another content has another place.
        make: Writes the files into an empty folder.

    Raises:
        ModelError: If the cache cannot be written, or ``make`` raises it.
    """
    target = _place(name, digest)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if found := whole_copy(name, digest):
                return found
            with whole_folder(target) as fresh:
                make(fresh)
                files = (path for path in sorted(fresh.rglob("*")) if path.is_file())
                write_json(
                    fresh / _LIST, {str(path.relative_to(fresh)): path.stat().st_size for path in files}
                )
    except (OSError, DataError) as error:
        raise ModelError(
            f"Cannot keep model {name!r}: expected room and permission to write it to {shown(target)}, got:"
            f" {reason(error)}. Set HF_HOME to a folder with room."
        ) from None
    return target


def _place(name: str, digest: str) -> Path:
    return Path(constants.HF_ASSETS_CACHE) / "agwm" / digest / name
