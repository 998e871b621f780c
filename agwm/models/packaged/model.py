"""Describe a model that comes in packages, and find or make the folder to load it from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from agwm.errors import MissingExtraError, ModelError, border
from agwm.models.packaged.cache import kept_folder, whole_copy
from agwm.models.packaged.pieces import Piece, checked, installed_version, place_of

__all__ = ["PackagedModel"]


@dataclass(frozen=True)
class PackagedModel:
    """A pretrained model that packages of the index hold.

    Attributes:
        name: The model, as ``--model`` calls it.
        content: What it is, in a few words.
        licence: The licence of its weights.
        seen: Labelled data that its weights were trained on, and what that rules out.
        install: The command that installs it.
        note: What the user should know at every loading; empty: nothing.
        folder: Package, and the path in it, where a plain folder lies that is used as it is.
        pieces: Files of packages that a folder is made from, where there is no such folder.
        make: Writes the folder: takes the paths of the pieces and an empty folder.
        recipe: Number of the way of making. Raise it when ``make`` comes to write something else.
        needs: Modules that ``make`` imports beyond those of agwm.
    """

    name: str
    content: str
    licence: str
    seen: str
    install: str
    note: str = ""
    folder: tuple[str, str] | None = None
    pieces: tuple[Piece, ...] = ()
    make: Callable[[Sequence[Path], Path], None] | None = None
    recipe: int = 1
    needs: tuple[str, ...] = ()

    def locate(self) -> Path:
        """Return a folder to load the model from. The first call may make it, and takes some seconds then.

        Raises:
            MissingExtraError: If a package is not installed.
            ModelError: If a package is another release or damaged, or the cache cannot be written.
        """
        if self.folder is not None:
            self._check_installed([self.folder[0]])
            return place_of(*self.folder)
        digest = self._digest()
        if found := whole_copy(self.name, digest):
            return found
        self._check_installed(list(dict.fromkeys(piece.package for piece in self.pieces)))
        return kept_folder(self.name, digest, self._write)

    def _check_installed(self, packages: Sequence[str]) -> None:
        """Raise unless the packages are installed, and the modules that read them.

        Raises:
            MissingExtraError: If one is not.
        """
        missing = [package for package in packages if installed_version(package) is None]
        missing += [module for module in self.needs if find_spec(module) is None]
        if missing:
            names = " and ".join(missing[:2]) + (f" and {len(missing) - 2} more" if missing[2:] else "")
            raise MissingExtraError(
                f"Model {self.name!r} is not installed: expected {names}, got none. Run: {self.install}"
            )

    def _digest(self) -> str:
        content = [str(self.recipe), *(piece.sha256 for piece in self.pieces)]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()[:12]

    def _write(self, folder: Path) -> None:
        if self.make is not None:
            paths = [checked(piece) for piece in self.pieces]
            expected = "packages that the installed libraries can read"
            with border(
                self.name, expected, "Pass another --model.", problem="Cannot make", error=ModelError
            ):
                self.make(paths, folder)
