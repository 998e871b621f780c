"""Settings of a comparison: what its flags lay over its file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import Any

from agwm.command_line.flags import read_list, read_lists, read_number, read_seeds, read_size
from agwm.configs.packaged import config_file
from agwm.experiments.config import RunConfig, load_config
from agwm.experiments.grid.cells import Cell, select_cells
from agwm.experiments.yaml_files import Form, checked
from agwm.nested import flat_settings

__all__ = ["assignments_of", "config_of", "delta_of", "methods_of", "notes_of", "part_of", "places_of"]

_STAGES = ("vanilla", "search", "final")
# Flag -> the setting that it sets in every stage, and its name in lines.
_OF_STAGES = {"lr": ("learning_rate", "learning rate"), "epochs": ("epochs", "number of epochs")}
_FORM = Form(
    names={
        **{f"{stage}.{key}": f"--{flag}" for flag, (key, _) in _OF_STAGES.items() for stage in _STAGES},
        "max_length": "--max-length",
        "device": "--device",
    }
)


def methods_of(arguments: argparse.Namespace) -> list[str] | None:
    """Return the names that ``--method`` gives, or None."""
    return read_lists(arguments.method) if arguments.method else None


def assignments_of(arguments: argparse.Namespace) -> list[str]:
    """Return ``--lr``, ``--epochs``, ``--max-length`` and ``--device`` as texts of ``--set``, then its own.

    As such they are laid over every cell of a grid, whatever its file says.

    Raises:
        ConfigError: If one of the four is wrong.
    """
    values: dict[str, Any] = {}
    for stage in _STAGES:
        if arguments.lr is not None:
            values.setdefault(stage, {})["learning_rate"] = read_number("--lr", arguments.lr, float)
        if arguments.epochs is not None:
            values.setdefault(stage, {})["epochs"] = read_number("--epochs", arguments.epochs)
    if arguments.max_length is not None:
        values["max_length"] = read_number("--max-length", arguments.max_length)
    if arguments.device is not None:
        values["device"] = arguments.device
    if arguments.no_resume:
        values["resume"] = False
    flat = flat_settings(checked(RunConfig, values, "the command line", form=_FORM))
    return [*(f"{key}={json.dumps(value)}" for key, value in flat.items()), *arguments.set]


def notes_of(arguments: argparse.Namespace, cells: Iterable[Cell]) -> list[str]:
    """Say what ``--lr`` and ``--epochs`` set, and which methods keep a value of their own."""
    lines = []
    cells = list(cells)
    for flag, (key, words) in _OF_STAGES.items():
        text = getattr(arguments, flag)
        if text is None:
            continue
        own = {}
        for cell in cells:
            value = getattr(getattr(cell.config.rivals, cell.method, None), key, None)
            if value is not None:
                own[cell.method] = f"{cell.method} keeps its own, {value:g}"
        kept = "".join(f"; {line}" for line in own.values())
        how = f" (--set rivals.{next(iter(own))}.{key}={text} changes it)" if own else ""
        lines.append(f"--{flag} {text} is the {words} of {', '.join(_STAGES)}{kept}{how}.")
    return lines


def delta_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags that name no cell lay over a file.

    Raises:
        ConfigError: If one of them is wrong.
    """
    data = {
        "data_dir": arguments.data_dir,
        "train_file": arguments.train_file,
        "test_file": arguments.test_file,
        "text_columns": None if arguments.text_columns is None else read_list(arguments.text_columns),
        "label_column": arguments.label_column,
        "encoding": arguments.encoding,
        "separator": arguments.separator,
    }
    delta: dict[str, Any] = {"data": {key: value for key, value in data.items() if value is not None}}
    if arguments.output_dir is not None:
        delta["output_dir"] = arguments.output_dir
    if arguments.train_file is not None:  # these do not choose cells then, they name the files
        if arguments.task is not None:
            delta["task"] = arguments.task
        if arguments.train_size is not None:
            delta["train_size"] = read_size(arguments.train_size)
    return delta


def config_of(arguments: argparse.Namespace) -> RunConfig:
    """Return the config: file, then flags, then ``--set``.

    Raises:
        ConfigError: If one of them is wrong.
    """
    size = arguments.train_size
    given = {
        "methods": methods_of(arguments),
        "task": arguments.task,
        "model": arguments.model,
        "train_size": None if size is None else read_size(size),
        "seeds": None if arguments.seeds is None else read_seeds(arguments.seeds),
    }
    delta = {key: value for key, value in given.items() if value is not None}
    path = None if arguments.config is None else config_file(arguments.config)
    return load_config(path, {**delta, **delta_of(arguments)}, assignments_of(arguments))


def places_of(arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return task and size by which cells are chosen; beside own files the flags name those instead."""
    return (None, None) if arguments.train_file is not None else (arguments.task, arguments.train_size)


def part_of(arguments: argparse.Namespace, cells: list[Cell], labels: list[str] | None) -> list[Cell]:
    """Return the cells of these labels, and of the tasks, sizes and models that the flags name.

    Raises:
        ConfigError: If there is none of a value.
    """
    task, size = places_of(arguments)
    return select_cells(
        cells,
        label=labels,
        task=None if task is None else read_list(task),
        model=None if arguments.model is None else [arguments.model],
        train_size=None if size is None else [read_size(size)],
    )
