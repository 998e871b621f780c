"""Load GLUE from the official TSV files or from the Hugging Face hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import datasets
from huggingface_hub import HfApi, constants

from agwm.data._labels import class_index, finite_number
from agwm.data.file_bytes import file_place
from agwm.data.tables import column_index
from agwm.data.tasks import Task
from agwm.data.tsv import read_tsv
from agwm.errors import DataError, border, one_line

__all__ = ["GLUE_LAYOUTS", "GlueLayout", "glue_files", "load_glue_hub", "load_glue_tsv"]

HUB_REPOSITORY = "nyu-mll/glue"
_PATIENCE = 10.0  # seconds to wait for the hub


@dataclass(frozen=True)
class GlueLayout:
    """Files and columns in which a GLUE task keeps its texts and labels.

    Attributes:
        folder: Folder of the official download.
        columns: Header names of the text columns, or their positions if files have no header.
        label: Header name or position of the label.
        labels: Spellings of the labels in the index order of the hub; empty for regression.
        width: Number of columns of a file without header; 0 if files have a header.
        hub_columns: Text columns on the hub.
        test_files: Possible names of the validation file. The first that exists is read.
        hub_test: Name of the validation split on the hub.
    """

    folder: str
    columns: tuple[str, ...] | tuple[int, ...]
    label: str | int
    labels: tuple[str, ...]
    hub_columns: tuple[str, ...]
    width: int = 0
    test_files: tuple[str, ...] = ("dev.tsv",)
    hub_test: str = "validation"


_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_SENTENCES = ("sentence1", "sentence2")

GLUE_LAYOUTS: dict[str, GlueLayout] = {
    "cola": GlueLayout("CoLA", (3,), 1, _BINARY, ("sentence",), width=4),
    "mrpc": GlueLayout("MRPC", ("#1 String", "#2 String"), "Quality", _BINARY, _SENTENCES),
    "stsb": GlueLayout("STS-B", _SENTENCES, "score", (), _SENTENCES),
    "rte": GlueLayout("RTE", _SENTENCES, "label", _ENTAILMENT, _SENTENCES),
    "sst2": GlueLayout("SST-2", ("sentence",), "label", _BINARY, ("sentence",)),
    "qnli": GlueLayout("QNLI", ("question", "sentence"), "label", _ENTAILMENT, ("question", "sentence")),
    "qqp": GlueLayout(
        "QQP", ("question1", "question2"), "is_duplicate", _BINARY, ("question1", "question2")
    ),
    "mnli": GlueLayout(
        "MNLI",
        _SENTENCES,
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        ("premise", "hypothesis"),
        test_files=("dev_matched.tsv", "dev.tsv"),
        hub_test="validation_matched",
    ),
}


def _read_split(path: Path, task: Task, layout: GlueLayout) -> datasets.Dataset:
    rows, place = read_tsv(path), file_place(path)
    if layout.width:
        width = layout.width
        places = [*layout.columns, layout.label]
    else:
        header = rows.pop(0)[1]
        width, at_header = len(header), f"The header of {place} (row 1)"
        places = [column_index(header, str(name), at_header) for name in (*layout.columns, layout.label)]
        if not rows:
            raise DataError(f"{place} has a header but no examples: expected one per row. Check the file.")
    data: dict[str, list] = {name: [] for name in (*task.text_columns, "label")}
    for number, cells in rows:
        where = f"{place} row {number}"
        if len(cells) != width:
            more = "a tab inside a text?" if len(cells) > width else "a cut or broken line?"
            raise DataError(
                f"Wrong number of columns in {where}: expected {width}, got {len(cells)} ({more})."
            )
        for name, at in zip(task.text_columns, places, strict=False):
            data[name].append(cells[at])
        cell = cells[places[-1]].strip()
        if task.is_regression:
            data["label"].append(finite_number(cell, where))
        else:
            data["label"].append(class_index(cell, layout.labels, where))
    return datasets.Dataset.from_dict(data)


def glue_files(task: Task, data_dir: str | Path) -> tuple[Path, Path]:
    """Return ``<data_dir>/<TASK>/{train,dev}.tsv`` of the official GLUE download.

    Args:
        task: One of the eight GLUE tasks.
        data_dir: Folder that holds ``CoLA``, ``MRPC``, ``RTE`` and so on.

    Raises:
        DataError: If a folder is missing.
    """
    layout, root = GLUE_LAYOUTS[task.name], Path(data_dir)
    if not os.path.isdir(root):  # pathlib raises where a name is too long
        raise DataError(f"Data folder missing: expected a folder at {file_place(root)}. Check --data-dir.")
    folder = root / layout.folder
    if not folder.is_dir():
        with border(root, "folders of tasks", "Check --data-dir."):
            found = sorted(path.name for path in root.iterdir() if path.is_dir())[:12]
        raise DataError(
            f"No data of task {task.name!r} in {file_place(root)}: expected a folder {layout.folder!r}, got"
            f" {one_line(', '.join(found)) or 'no folders'}. Point --data-dir at the GLUE download."
        )
    tests = [folder / name for name in layout.test_files]
    return folder / "train.tsv", next((path for path in tests if path.is_file()), tests[0])


def load_glue_tsv(task: Task, data_dir: str | Path) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Read the two files of a GLUE task.

    Args:
        task: One of the eight GLUE tasks.
        data_dir: Folder that holds ``CoLA``, ``MRPC``, ``RTE`` and so on.

    Returns:
        Train and validation rows with ``task.text_columns`` and ``label``.

    Raises:
        DataError: If a folder, file, column or row is missing or wrong. The message names file and
            row.
    """
    train, test = (_read_split(path, task, GLUE_LAYOUTS[task.name]) for path in glue_files(task, data_dir))
    return train, test


def load_glue_hub(task: Task) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Load a GLUE task from the Hugging Face hub, or from its cache if HF_HUB_OFFLINE=1.

    Args:
        task: One of the eight GLUE tasks.

    Returns:
        Train and validation rows with ``task.text_columns`` and ``label``.

    Raises:
        DataError: If the hub cannot be reached or does not answer as expected. The message
            names the alternatives that need no network.
    """
    layout = GLUE_LAYOUTS[task.name]
    try:
        if not constants.HF_HUB_OFFLINE:
            # One short question first: the client itself retries for half a minute.
            HfApi().dataset_info(HUB_REPOSITORY, timeout=_PATIENCE)
        parts = [
            datasets.load_dataset(
                HUB_REPOSITORY,
                task.name,
                split=split,
                download_config=datasets.DownloadConfig(max_retries=1, disable_tqdm=True),
            )
            for split in ("train", layout.hub_test)
        ]
    except Exception as error:  # the hub client raises many unrelated classes
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(
            f"Cannot load {HUB_REPOSITORY} ({task.name}) from the Hugging Face hub: expected it there, "
            f"got {reason}. Pass --data-dir with the official GLUE files ({layout.folder}/train.tsv) and a"
            " path to a local model, use an embedded task such as 'acceptability', or set "
            "HF_HUB_OFFLINE=1 if the data is in the cache of this machine."
        ) from None
    keep = [*layout.hub_columns, "label"]
    names = dict(zip(layout.hub_columns, task.text_columns, strict=True))
    renamed = [
        part.select_columns(keep).rename_columns({a: b for a, b in names.items() if a != b})
        for part in parts
    ]
    return renamed[0], renamed[1]
