"""Read models of a grid from folders of this machine, under the names that they have on the hub."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from agwm.checks import check_choice
from agwm.errors import ConfigError, shown
from agwm.experiments.grid.cells import Cell
from agwm.models.files import folder_name

__all__ = ["local_models"]


def local_models(cells: Sequence[Cell], given: Iterable[str] | None) -> list[Cell]:
    """Return the cells with folders in place of the names of models.

    Args:
        cells: Cells of a grid.
        given: Texts ``name=folder``; None: none.

    Raises:
        ConfigError: If a text is not of that form, a name is of no cell, or there is no such folder. The
            folder's own name stands in records and tables, and must be the last part of the model's name.
    """
    folders: dict[str, str] = {}
    known = list(dict.fromkeys(cell.config.model for cell in cells))
    for text in given or ():
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise ConfigError(
                f"Cannot read --local-model: expected name=folder, got {shown(text)}. Correct it."
            )
        check_choice("Model of --local-model", name, known, "Name a model of the grid.")
        if folder_name(folder) != Path(name).name:
            raise ConfigError(
                f"Wrong folder in --local-model for {shown(name)}: expected an existing folder called"
                f" {shown(Path(name).name)}, as records and tables call the model, got {shown(folder)}."
                " Correct it, or rename the folder."
            )
        folders[name] = os.path.expanduser(folder)
    # one object for the seeds that share their settings
    configs = {id(cell.config): cell.config for cell in cells if cell.config.model in folders}
    moved = {key: replace(config, model=folders[config.model]) for key, config in configs.items()}
    return [replace(cell, config=moved.get(id(cell.config), cell.config)) for cell in cells]
