"""Settings of an experiment: methods, task, model, seeds and the rest, under their YAML names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from agwm.checks import Count, Interval, Seed, check_fields, check_value
from agwm.errors import ConfigError, border, close_names, one_line, shown
from agwm.experiments.names import Name, PathText
from agwm.experiments.yaml_files import (
    Form,
    build,
    checked,
    construct,
    lay_over,
    parse_assignment,
    read_yaml,
)
from agwm.hypergradient.settings import Hypergradient
from agwm.methods import METHODS, RivalsConfig
from agwm.recipe.config import FinetuneConfig, MixingConfig, SearchConfig, plain_dict
from agwm.training.config import TrainingConfig

__all__ = [
    "BY_FLAG",
    "FLAGS",
    "OFFICIAL_SEEDS",
    "DataConfig",
    "RunConfig",
    "checked_assignments",
    "load_config",
]

_OF_CELLS = ("methods", "task", "model", "train_size", "seeds", "output_dir")
_OF_DATA = ("data_dir", "train_file", "test_file", "text_columns", "label_column")
# Key of a config -> the flag that sets it.
FLAGS: dict[str, str] = {
    **{name: "--" + name.replace("_", "-") for name in _OF_CELLS},
    **{f"data.{name}": "--" + name.replace("_", "-") for name in _OF_DATA},
    "methods": "--method",
}
BY_FLAG = Form(names=FLAGS)
_LONGEST_CHAIN = 20  # of bases

OFFICIAL_SEEDS: tuple[int, ...] = (
    1017,
    4803,
    6757,
    9618,
    10290,
    11799,
    19189,
    28104,
    29576,
    31511,
)


@dataclass(frozen=True)
class DataConfig:
    """Source of the examples. With everything null they come from the hub or from the package.

    Attributes:
        data_dir: Folder of the official GLUE files (``CoLA/train.tsv`` and so on).
        train_file: Own training examples: CSV, TSV, JSON, JSON lines or Parquet.
        test_file: Own test examples, in the same columns.
        text_columns: One or two columns of texts in the own files.
        label_column: Column of labels in the own files.
        label_names: Class names in index order; null: found in the training file.
        regression: True: the labels are scores; null: the training file tells.
        metric: accuracy, f1, matthews, spearman or pearson; null: accuracy, or spearman where the
            labels are scores.
    """

    data_dir: PathText | None = None
    train_file: PathText | None = None
    test_file: PathText | None = None
    text_columns: list[str] = field(default_factory=lambda: ["sentence1"])
    label_column: str = "label"
    label_names: list[str] | None = None
    regression: bool | None = None
    metric: str | None = None

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
        own = ("text_columns", "label_column", "label_names", "regression", "metric")
        changed = [
            entry.name
            for entry in dataclasses.fields(self)
            if entry.name in own and not _is_default(self, entry)
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


@dataclass(frozen=True)
class RunConfig:
    """One experiment: every method on every seed.

    Attributes:
        methods: Names out of ``agwm.methods.METHODS``.
        task: A GLUE task, an embedded task, or a name for the own files.
        model: ``"minilm"`` (in the ``offline`` extra), a folder, or a name on the hub.
        trust_remote_code: Run code that comes with the model.
        train_size: Number of training examples drawn; the dev set is a sixth of it, from the rest. None:
            all examples, and no dev set.
        seeds: The first so many of ``OFFICIAL_SEEDS``, or a list of seeds.
        stratified: Draw the training examples with the label proportions of the whole.
        max_length: Tokens of an example, longer ones are cut.
        test_limit: Score on the first so many test examples only; null: on all.
        device: ``"auto"`` (CUDA where there is one), or a name that PyTorch knows: ``"cpu"``, ``"cuda:1"``.
        output_dir: Folder of results and pictures.
        save_model: Keep the finetuned models.
        data: Source of the examples.
        vanilla: The training of vanilla, and of every method on one level.
        rivals: Own settings of these methods, each under the method's name.
        mixing: Weights mixup, of agwm and frozen.
        hypergradient: Settings of the hypergradient, of agwm.
        search: First stage of agwm and frozen.
        final: Second stage of agwm and frozen.
    """

    methods: list[str] = field(default_factory=lambda: ["vanilla", "agwm"])
    task: Name = "acceptability"
    model: PathText = "minilm"
    trust_remote_code: bool = False
    train_size: Annotated[int, Interval(10)] | None = 300
    seeds: Annotated[int, Interval(1, len(OFFICIAL_SEEDS))] | list[Seed] = 3
    stratified: bool = False
    max_length: Annotated[int, Interval(8)] = 128
    test_limit: Count | None = None
    device: Name = "auto"
    output_dir: PathText = "output"
    save_model: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    vanilla: TrainingConfig = field(default_factory=TrainingConfig)
    rivals: RivalsConfig = field(default_factory=RivalsConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    hypergradient: Hypergradient = field(default_factory=Hypergradient)
    search: SearchConfig = field(default_factory=SearchConfig)
    final: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(
                    f"Unknown method {shown(method)}: expected one of {', '.join(METHODS)}."
                    f"{close_names(method, METHODS)}"
                )
        _check_distinct("methods", self.methods)
        if not isinstance(self.seeds, int):
            _check_distinct("seeds", self.seeds)

    @property
    def seed_list(self) -> list[int]:
        """The seeds themselves."""
        return list(OFFICIAL_SEEDS[: self.seeds]) if isinstance(self.seeds, int) else list(self.seeds)

    def finetune_config(self, seed: int) -> FinetuneConfig:
        """Return the settings of :func:`agwm.finetune` for the run of a seed."""
        return FinetuneConfig(self.mixing, self.hypergradient, self.search, self.final, seed)

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dicts, as a YAML file would hold them."""
        return plain_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str = "the config") -> RunConfig:
        """Build the config from nested mappings; a missing key takes its default.

        Raises:
            ConfigError: If a key is unknown, or a value of the wrong type or out of range.
        """
        return build(cls, values, source)


def load_config(
    path: str | Path | None = None,
    delta: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> RunConfig:
    """Read a YAML file over the defaults, then command-line values, then ``key=value`` texts.

    A file may name another one that it is laid over: ``base: glue_lowres.yaml``, a path relative to
    the file itself.

    Args:
        path: YAML file; None: the defaults alone.
        delta: Nested mapping laid over the file.
        assignments: Texts such as ``"search.num_resplits=5"``, laid over that.

    Returns:
        The config.

    Raises:
        ConfigError: If a file cannot be read, a key is unknown, or a value is wrong.
    """
    values: dict[str, Any] = {}
    # each layer by itself: a mistake is reported as its own
    for source, layer in [] if path is None else _read_with_bases(Path(path), ()):
        values = lay_over(values, checked(RunConfig, layer, source))
    values = lay_over(values, checked(RunConfig, delta or {}, "the command line", form=BY_FLAG))
    return construct(RunConfig, lay_over(values, checked_assignments(assignments)))


def checked_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Return the settings of ``--set`` as nested mappings, each checked under its own text.

    Raises:
        ConfigError: If a text cannot be read, a key is unknown, or a value is wrong.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        source = f"--set {one_line(text, 120)}"
        values = lay_over(values, checked(RunConfig, parse_assignment(text), source))
    return values


def _read_with_bases(path: Path, seen: tuple[Path, ...]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return name and values of the bases of a file, lowest first, and of the file itself.

    Raises:
        ConfigError: If a file is its own base, or names a base that is no text.
    """
    with border(path, "a YAML file", error=ConfigError):
        place = path.resolve()
    if place in seen or len(seen) > _LONGEST_CHAIN:
        raise ConfigError(
            f"Config {shown(path)} is its own base: expected a chain of at most {_LONGEST_CHAIN} bases."
            " Correct the key 'base'."
        )
    values, source = read_yaml(path), one_line(str(path), 200)
    base = values.pop("base", None)
    if base is None:
        return [(source, values)]
    check_value(f"Config key 'base' in {source}", PathText, base, "Write a file name.")
    return [*_read_with_bases(path.parent / base, (*seen, place)), (source, values)]


def _is_default(owner: object, entry: dataclasses.Field) -> bool:
    make = entry.default_factory
    return getattr(owner, entry.name) == (entry.default if make is dataclasses.MISSING else make())


def _check_distinct(name: str, values: list[Any]) -> None:
    if not values or len(set(values)) < len(values):
        raise ConfigError(
            f"{FLAGS[name]} (config key {name!r}) is wrong: expected one or more different values, got"
            f" {shown(values)}. Correct it."
        )
