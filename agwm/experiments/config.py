"""Settings of an experiment: methods, task, model, seeds and the rest, under their YAML names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from agwm.checks import Count, Interval, Seed, check_fields, check_value
from agwm.configs.packaged import base_file
from agwm.data.sampling import SMALLEST_SAMPLE
from agwm.data.tasks import TASKS
from agwm.errors import ConfigError, border, close_names, one_line, shown
from agwm.experiments.data_config import DataConfig
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
from agwm.recipe.config import (
    FinetuneConfig,
    MixingConfig,
    SearchConfig,
    cheap_hypergradient,
    plain_dict,
)
from agwm.training.config import TrainingConfig

__all__ = [
    "BY_FLAG",
    "FLAGS",
    "OFFICIAL_SEEDS",
    "OWN_TASK",
    "DataConfig",
    "RunConfig",
    "checked_assignments",
    "load_config",
    "name_own_files",
]

OWN_TASK = "own"  # the name of own files that the user does not name
_OF_CELLS = ("methods", "task", "model", "train_size", "seeds", "output_dir")
_OF_DATA = (
    "data_dir",
    "train_file",
    "test_file",
    "text_columns",
    "label_column",
    "encoding",
    "separator",
)
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
class RunConfig:
    """One experiment: every method on every seed.

    Attributes:
        methods: Names out of ``agwm.methods.METHODS``.
        task: A GLUE task, an embedded task, or a name for the own files, which is neither.
        model: ``"minilm"`` or another of ``docs/models.md``, a folder, or a name on the hub.
        trust_remote_code: Run code that comes with the model.
        train_size: Number of training examples drawn; the dev set is a sixth of it, from the rest. "all":
            all examples but the dev set, which is a seventh of them. "whole": all examples, and no dev set.
        seeds: The first so many of ``OFFICIAL_SEEDS``, or a list of seeds.
        stratified: Draw the training examples with the label proportions of the whole.
        start_head: Start a new head at the constant answer of least loss on the training examples, and a
            regression's in the spread of the scores (:func:`agwm.models.head_start.start_head`), for every
            method. If not, its bias starts at 0, as transformers has it.
        group_by_length: Put training examples of like length into a batch
            (:class:`agwm.training.lengths.GroupedByLength`): less padding.
        max_length: Tokens of an example, longer ones are cut.
        test_limit: Score on the first so many test examples only; null: on all.
        device: ``"auto"`` (CUDA where there is one), or a name that PyTorch knows: ``"cpu"``, ``"cuda:1"``.
        output_dir: Folder of results and pictures.
        save_model: Keep the finetuned models.
        checkpoint_step: Steps between checkpoints of a run; null: as many as keep writing short.
        resume: Take up runs that were stopped at their checkpoints.
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
    train_size: Annotated[int, Interval(SMALLEST_SAMPLE)] | Literal["all", "whole"] = 300
    seeds: Annotated[int, Interval(1, len(OFFICIAL_SEEDS))] | list[Seed] = 3
    stratified: bool = False
    start_head: bool = False
    group_by_length: bool = False
    max_length: Annotated[int, Interval(8)] = 128
    test_limit: Count | None = None
    device: Name = "auto"
    output_dir: PathText = "output"
    save_model: bool = False
    checkpoint_step: Annotated[int, Interval(1)] | None = None
    resume: bool = True
    data: DataConfig = field(default_factory=DataConfig)
    vanilla: TrainingConfig = field(default_factory=TrainingConfig)
    rivals: RivalsConfig = field(default_factory=RivalsConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    hypergradient: Hypergradient = field(default_factory=cheap_hypergradient)
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
        if self.data.train_file is not None and self.task in TASKS:
            raise ConfigError(
                f"Task {self.task!r} is no name for own files: expected another one, got that of a GLUE or"
                " embedded task beside --train-file. Pass --task with a name of your own."
            )

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
        return build(cls, name_own_files(values), source)


def name_own_files(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with the defaults of own files, if there are any: a name, and all examples."""
    data = values.get("data")
    is_own = isinstance(data, Mapping) and data.get("train_file") is not None
    return {"task": OWN_TASK, "train_size": "all", **values} if is_own else dict(values)


def load_config(
    path: str | Path | None = None,
    delta: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> RunConfig:
    """Read a YAML file over the defaults, then command-line values, then ``key=value`` texts.

    A file may name another one that it is laid over: ``base: glue_lowres.yaml``, a path relative to
    the file itself, or the name of a config of the package: ``base: minilm``.

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
    values = lay_over(values, checked_assignments(assignments))
    return construct(RunConfig, name_own_files(values))


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
    return [*_read_with_bases(base_file(base, path.parent), (*seen, place)), (source, values)]


def _check_distinct(name: str, values: list[Any]) -> None:
    if not values or len(set(values)) < len(values):
        raise ConfigError(
            f"{FLAGS[name]} (config key {name!r}) is wrong: expected one or more different values, got"
            f" {shown(values)}. Correct it."
        )
