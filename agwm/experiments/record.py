"""The record of one run, as its JSON file holds it: settings, training and scores."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from agwm.checks import Count, Interval, NonNegative, Seed
from agwm.errors import DataError, one_line, shown
from agwm.experiments.names import Text
from agwm.experiments.yaml_files import Form, checked, construct
from agwm.files import read_json
from agwm.methods import METHODS

__all__ = [
    "Record", "RunInfo", "Scores", "TrainInfo", "failed_record", "fingerprint", "read_record", "record_of",
]  # fmt: skip

_REMEDY = "Remove it, and its run is made again."
_FORM = Form("{source} is no record: its {path}", _REMEDY, DataError, is_by_hand=False)
_NUMBERS_OF_ALPHA = ("mean", "min", "max")
# Readers look settings up in these sections; all others are only compared.
_SECTIONS = ("vanilla", "rivals", "mixing", "hypergradient", "search", "final", "data")


_Size = Annotated[int, Interval(0)]


@dataclass(frozen=True)
class RunInfo:
    """Method, task, model, settings and machine of a run.

    Attributes:
        method: One of ``METHODS``.
        label: The name that tables give the method with these settings.
        task: Name of the task.
        model: Name of the model.
        train_size: Number of training examples.
        seed: The run's seed.
        settings: The settings that decide the outcome, nested as in a config.
        data: Fingerprint of the examples.
        versions: Name of a library, or of a part of the machine -> its version.
        device: Name of the device.
        threads: Torch threads.
        told: What the user was told of data and weights before the run, line by line.
    """

    method: Text
    label: Text
    task: Text
    model: Text
    train_size: Count
    seed: Seed
    settings: Mapping[str, Any]
    data: Text
    versions: Mapping[str, str]
    device: Text
    threads: Count
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            known = one_line(", ".join(METHODS))
            raise DataError(f"expected run_info.method to be one of {known}, got {shown(self.method)}.")
        for name in _SECTIONS:
            if not isinstance(section := self.settings.get(name, {}), Mapping):
                raise DataError(f"expected run_info.settings.{name} to be a section, got {shown(section)}.")


@dataclass(frozen=True)
class TrainInfo:
    """Course and cost of the training.

    Attributes:
        failure: The reason why the run has no score, in one line; None: it has one.
        num_train: Number of training examples.
        num_dev: Number of dev examples; None: the run ended before it was known.
        num_test: Number of test examples; None: likewise.
        passes: Forward and backward passes of a batch.
        total_seconds: Time of the training.
        seconds: Stage of the training -> its time.
        alpha: Mixed weight -> mean, min, max of its alpha, and perhaps more; empty without mixing.
        history: Measurements on the way.
        model_failure: The reason why the model was not saved, in one line; None: there is none.
        model: Fingerprint of the saved model's weights; None: none was saved, or by an older release.
    """

    failure: Text | None
    num_train: Count
    num_dev: _Size | None
    num_test: _Size | None
    passes: NonNegative
    total_seconds: NonNegative
    seconds: Mapping[str, NonNegative]
    alpha: Mapping[str, Mapping[str, float]]
    history: list[Mapping[str, Any]]
    model_failure: Text | None = None
    model: Text | None = None

    def __post_init__(self) -> None:
        for weight, numbers in self.alpha.items():
            if missing := [name for name in _NUMBERS_OF_ALPHA if name not in numbers]:
                raise DataError(f"expected train_info.alpha.{weight}.{missing[0]}, got no such key.")


@dataclass(frozen=True)
class Scores:
    """Scores of the finetuned model, as fractions.

    Attributes:
        metric: Name of the metric.
        test: Score on the test set; None: the run failed, or was scored on its dev set alone.
        dev: Score on the dev set; None: the run failed, or has no dev set.
        constant: Score of the best constant answer; None: the run failed.
        is_degenerate: The model is no better than the best constant answer.
        positive: The class that f1 is of; None: of other metrics, and of records that did not say it.
    """

    metric: Text
    test: float | None
    dev: float | None
    constant: float | None
    is_degenerate: bool
    positive: Text | None = None

    @property
    def name(self) -> str:
        """The metric, with the class that it is of."""
        return self.metric if self.positive is None else f"{self.metric} of {self.positive}"


@dataclass(frozen=True)
class Record:
    """One run: it has a score, or the reason of its failure.

    Attributes:
        run_info: Method, data, settings and machine.
        train_info: Course and cost of the training.
        scores: Scores of the finetuned model.
    """

    run_info: RunInfo
    train_info: TrainInfo
    scores: Scores

    def __post_init__(self) -> None:
        has_score = self.scores.test is not None or self.scores.dev is not None
        if has_score == (self.failure is not None):
            got = "both" if has_score else "neither"
            raise DataError(f"expected a score, or the reason of a failure, got {got}.")

    @property
    def label(self) -> str:
        """The name that tables give the method with its settings."""
        return self.run_info.label

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.run_info.method

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.run_info.task

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.run_info.model

    @property
    def train_size(self) -> int:
        """Number of training examples."""
        return self.run_info.train_size

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.run_info.seed

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that decide the outcome."""
        return self.run_info.settings

    @property
    def score(self) -> float | None:
        """Score on the test set, as a fraction; None: there is none."""
        return self.scores.test

    @property
    def failure(self) -> str | None:
        """The reason why the run has no score; None: it has one."""
        return self.train_info.failure

    def to_dict(self) -> dict[str, Any]:
        """Return the record as its file holds it."""
        values = dataclasses.asdict(self)
        if self.scores.positive is None:
            del values["scores"]["positive"]
        if not self.run_info.told:
            del values["run_info"]["told"]
        for name in ("model_failure", "model"):
            if values["train_info"][name] is None:
                del values["train_info"][name]
        return values


def fingerprint(record: Record) -> str:
    """Return a digest of a record, without its times and the fate of its model."""
    values = record.to_dict()
    for name in ("total_seconds", "seconds", "model_failure", "model"):
        values["train_info"].pop(name, None)
    content = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def failed_record(info: RunInfo, metric: str, failure: str, seconds: float) -> Record:
    """Return the record of a run that ended without a result, for example because its process was killed.

    Args:
        info: Method, data, settings and machine.
        metric: Name of the task's metric.
        failure: The reason, in one line.
        seconds: Time that it ran.
    """
    return Record(
        info,
        TrainInfo(failure, info.train_size, None, None, 0, round(seconds, 3), {}, {}, []),
        Scores(metric, None, None, None, False),
    )


def read_record(path: str | Path) -> Record:
    """Read one record; a process reads it again only if the file has changed.

    Raises:
        DataError: If the file cannot be read, or is not a whole record; the message names it.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return _read.__wrapped__(str(path))  # which says why
    return _read(str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size)


@cache
def _read(path: str, *_: int) -> Record:
    return record_of(read_json(path, "a record", _REMEDY, error=DataError), path)


def record_of(content: object, source: str) -> Record:
    """Make a record from the content of its file.

    Args:
        content: Plain dicts, lists, texts and numbers.
        source: The file's name, for the message.

    Raises:
        DataError: If a key is missing or unknown, or a value is wrong.
    """
    values = checked(Record, content, shown(source), form=_FORM)
    try:
        return construct(Record, values)
    except DataError as error:
        raise DataError(f"{shown(source)} is no record: {error} {_REMEDY}") from None
