"""Settings of where examples come from: GLUE, or files of the user."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from agwm.checks import check_fields
from agwm.errors import ConfigError, shown
from agwm.experiments.names import PathText

__all__ = ["DataConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Source of the examples. With everything null they come from the hub or from the package.

    Attributes:
        data_dir: Folder of the official GLUE files (``CoLA/train.tsv`` and so on).
        train_file: Own training examples: CSV, TSV, JSON, JSON lines, Parquet or Excel.
        test_file: Own test examples, in the same columns.
        text_columns: One or two columns of texts in the own files.
        label_column: Column of labels in the own files.
        label_names: Class names in index order; null: found in the training file.
        regression: True: the labels are scores; null: the training file tells.
        metric: accuracy, balanced_accuracy, f1, macro_f1, micro_f1, matthews, spearman or pearson; null:
            accuracy, or spearman where the labels are scores.
        positive: The class that f1 is of; null: the second one.
        encoding: Encoding of the own files' text; null: UTF-8, or what a byte order mark says.
        separator: Character between the cells of own CSV files; null: told from the file.
        sheet: Sheet of own Excel files; null: the first.
    """

    data_dir: PathText | None = None
    train_file: PathText | None = None
    test_file: PathText | None = None
    text_columns: list[str] = field(default_factory=lambda: ["sentence1"])
    label_column: str = "label"
    label_names: list[str] | None = None
    regression: bool | None = None
    metric: str | None = None
    positive: str | None = None
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.train_file is None) != (self.test_file is None):
            given, other = ("train_file", "test_file") if self.train_file else ("test_file", "train_file")
            raise ConfigError(
                f"data.{other} is missing: expected both files, got data.{given} alone."
                f" Pass --{other.replace('_', '-')}."
            )
        if self.train_file is not None and self.data_dir is not None:
            raise ConfigError(
                "Two sources of data: expected data.data_dir or data.train_file, got both. Remove one."
            )
        changed = [
            entry.name
            for entry in dataclasses.fields(self)
            if entry.name not in ("data_dir", "train_file", "test_file") and not _is_default(self, entry)
        ]
        if self.train_file is None and changed:
            raise ConfigError(
                f"data.{changed[0]} is for own files: expected data.train_file beside it, got none."
                " Pass --train-file, or leave it out."
            )
        if len(self.text_columns) not in (1, 2) or len(set(self.text_columns)) < len(self.text_columns):
            raise ConfigError(
                "data.text_columns is wrong: expected one or two different columns, got"
                f" {shown(self.text_columns)}. Pass --text-columns sentence1,sentence2 for pairs."
            )


def _is_default(owner: object, entry: dataclasses.Field) -> bool:
    make = entry.default_factory
    return getattr(owner, entry.name) == (entry.default if make is dataclasses.MISSING else make())
