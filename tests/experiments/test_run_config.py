"""YAML files, flags and --set become one strict config."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from agwm.errors import ConfigError, SelectionError
from agwm.experiments.config import OFFICIAL_SEEDS, RunConfig, load_config
from agwm.experiments.run import check_method
from agwm.experiments.yaml_files import lay_over
from agwm.hypergradient.settings import Hypergradient
from agwm.methods.two_level import Frozen
from agwm.recipe.config import FinetuneConfig
from agwm.testing.tiny_models import pretrained

CONFIGS = Path(__file__).resolve().parents[2] / "agwm" / "configs"


def test_default_yaml_is_complete_and_equal_to_the_dataclasses():
    values = yaml.safe_load((CONFIGS / "default.yaml").read_text(encoding="utf-8"))
    assert values == RunConfig().to_dict()
    assert load_config(CONFIGS / "default.yaml") == RunConfig()


def test_every_key_of_default_yaml_has_a_comment_in_its_section():
    section_is_explained = False
    for line in (CONFIGS / "default.yaml").read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#"):
            section_is_explained = True
        elif not line.strip():
            section_is_explained = False
        else:
            # the final stage refers to the vanilla section, key by key the same
            assert section_is_explained or line.endswith(":"), line


FILES = [path for path in sorted(CONFIGS.rglob("*.yaml")) if path.parent.name != "grids"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_loads(path):
    assert isinstance(load_config(path), RunConfig)


def test_other_configs_hold_only_what_differs():
    demo = yaml.safe_load((CONFIGS / "demo.yaml").read_text(encoding="utf-8"))
    assert "hypergradient" not in demo
    assert load_config(CONFIGS / "demo.yaml").hypergradient == RunConfig().hypergradient


def test_paper_config_is_the_official_recipe():
    config = load_config(CONFIGS / "paper" / "glue_lowres.yaml")
    assert (config.model, config.train_size, config.max_length) == ("bert-large-cased", 300, 128)
    assert config.seed_list == list(OFFICIAL_SEEDS) and len(OFFICIAL_SEEDS) == 10
    assert not config.stratified
    assert (config.mixing.formula, config.mixing.alpha, config.mixing.init_std) == (
        "factored",
        "rank1",
        0.005,
    )
    hyper = config.hypergradient
    assert (hyper.scheme, hyper.best_response, hyper.epsilon) == ("central", "identity", 0.01)
    search = config.search
    assert (search.num_resplits, search.epochs, search.batch_size) == (5, 3, 16)
    assert (search.learning_rate, search.weight_decay, search.clipping) == (2e-5, 0.01, 5.0)
    assert (search.schedule, search.warmup_ratio) == ("linear", 0.1)
    assert (search.attention_learning_rate, search.attention_weight_decay) == (2e-3, 0.0)
    assert (search.attention_schedule, search.unroll_steps) == ("cosine", 1)
    assert search.roll_back and not search.stratified and search.outer_fraction == 0.2
    for stage in (config.vanilla, config.final):
        assert (stage.epochs, stage.batch_size, stage.learning_rate) == (3, 16, 2e-5)
        assert (stage.weight_decay, stage.clipping, stage.schedule) == (0.01, 1.0, "linear")


def test_a_base_is_laid_under_its_file(tmp_path):
    (tmp_path / "a.yaml").write_text("search: {epochs: 7, clipping: 2}\ntask: rte\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\nsearch: {epochs: 1}\n")
    config = load_config(tmp_path / "b.yaml")
    assert (config.search.epochs, config.search.clipping, config.task) == (1, 2.0, "rte")


def test_a_base_of_itself_is_an_error(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(ConfigError, match="is its own base"):
        load_config(tmp_path / "a.yaml")


def test_file_then_flags_then_set(tmp_path):
    (tmp_path / "a.yaml").write_text("train_size: 20\ntask: rte\nsearch: {num_resplits: 2}\n")
    config = load_config(
        tmp_path / "a.yaml", {"train_size": 30}, ["train_size=40", "search.num_resplits=5"]
    )
    assert (config.train_size, config.task, config.search.num_resplits) == (40, "rte", 5)


def test_merge_changes_neither():
    base, delta = {"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}}
    before = copy.deepcopy((base, delta))
    assert lay_over(base, delta) == {"a": {"b": 1, "c": [3]}}
    assert (base, delta) == before


def test_to_dict_and_back():
    given = ["hypergradient={scheme: central, epsilon: 0.5}", "mixing.include=[a, b]", "seeds=[1, 2]"]
    config = load_config(assignments=given)
    assert RunConfig.from_dict(config.to_dict()) == config


def test_a_part_of_a_section_keeps_the_defaults_of_the_rest():
    """The recipe's default scheme is not that of a Hypergradient of one's own."""
    config = load_config(assignments=["hypergradient={best_response: sgd}"])
    assert (config.hypergradient.scheme, config.hypergradient.best_response) == ("explicit", "sgd")
    assert RunConfig.from_dict({"hypergradient": {"order": "first"}}).hypergradient.scheme == "explicit"
    assert FinetuneConfig().hypergradient == RunConfig().hypergradient == Hypergradient(scheme="explicit")


@pytest.mark.parametrize("text", ["2e-5", "0.00002", "2.0e-5", "'2e-5'"])
def test_numbers_that_yaml_reads_as_text_are_numbers(text):
    assert load_config(assignments=[f"search.learning_rate={text}"]).search.learning_rate == 2e-5


def test_an_integer_is_a_number():
    clipping = load_config(assignments=["search.clipping=3"]).search.clipping
    assert clipping == 3.0 and isinstance(clipping, float)


def test_seeds_are_a_number_or_a_list():
    assert load_config(assignments=["seeds=2"]).seed_list == [1017, 4803]
    assert load_config(assignments=["seeds=[5, 6, 7]"]).seed_list == [5, 6, 7]


def test_frozen_changes_alpha_alone():
    config = load_config(assignments=["mixing.formula=factored"])
    learned = config.finetune_config(3)
    frozen = Frozen().recipe(learned)
    assert frozen.mixing.alpha == "frozen" and learned.mixing.alpha == "rank1"
    assert (frozen.search, frozen.final, frozen.seed) == (learned.search, learned.final, 3)


def test_patterns_of_the_mixing_are_nothing_to_methods_that_do_not_mix():
    config = RunConfig.from_dict({"mixing": {"exclude": ["roberta.*"]}})
    for name in ("vanilla", "lora", "frozen"):
        check_method(config, name, pretrained("bert"))
    with pytest.raises(SelectionError, match="roberta"):
        check_method(config, "agwm", pretrained("bert"))


BAD = [
    (
        "search.num_resplit=5",
        "Config key 'search.num_resplit' in .*Did you mean 'search.num_resplits'",
    ),
    ("num_resplits=5", "Config key 'num_resplits' in .*Did you mean 'search.num_resplits'"),
    ("serach.epochs=5", "Config key 'serach' in .*Did you mean 'search'"),
    ("xyz=5", "Config key 'xyz' in .*unknown.*expected one of methods, task"),
    (
        "search.num_resplits=0",
        "'search.num_resplits' in --set .*: expected an integer >= 1, got 0",
    ),
    ("search.num_resplits=2.5", "'search.num_resplits'.*expected an integer >= 1, got 2.5"),
    ("search.num_resplits=true", "'search.num_resplits'.*expected an integer >= 1, got True"),
    ("search.num_resplits=null", "'search.num_resplits'.*expected an integer >= 1, got null"),
    ("search.roll_back=1", "'search.roll_back'.*expected true or false, got 1"),
    ("search.learning_rate=fast", "'search.learning_rate'.*expected a number >= 0, got 'fast'"),
    ("search.learning_rate=.nan", "'search.learning_rate'.*expected a number >= 0, got nan"),
    ("search.learning_rate=true", "'search.learning_rate'.*expected a number >= 0, got True"),
    ("search=5", "'search'.*expected a section, got 5"),
    ("task=[rte]", r"'task'.*expected a text of .*, got \['rte'\]"),
    ("mixing.include=query", "'mixing.include'.*expected a list, each a text or null, got 'query'"),
    (
        "seeds=[1, x]",
        r"expected an integer in \[1, 10\] or a list, each an integer in \[0, 4294967295\]",
    ),
    ("seeds=[1, 1]", "--seeds .config key 'seeds'. is wrong: expected one or more different values"),
    ("seeds=11", r"'seeds' in --set seeds=11 is out of range: expected an integer in \[1, 10\]"),
    ("seeds=[-1]", "'seeds' in .* is out of range"),
    (
        "train_size=9",
        "'train_size' in .* is out of range: expected an integer >= 10 or one of all, whole, got 9",
    ),
    ("methods=[agw]", "Unknown method 'agw'.*Did you mean 'agwm'"),
    ("methods=[]", "--method .config key 'methods'. is wrong"),
    (
        "final.schedule=exp",
        "'final.schedule' in .* is unknown: expected one of linear, cosine, constant",
    ),
    ("hypergradient.scheme=centrall", "Did you mean 'central'"),
    ("data.train_file=a.csv", "data.test_file is missing"),
    ("data.metric=f1", "data.metric is for own files: expected data.train_file"),
    (
        "data={text_columns: [a, b, c], train_file: a, test_file: b}",
        "one or two different columns",
    ),
    ("search.epochs", "expected key=value"),
    ("search.epochs=[", "Cannot read --set 'search.epochs=.': expected a value of YAML"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text for text, _ in BAD])
def test_a_mistake_is_one_clear_line(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config(assignments=[text])
    assert "\n" not in str(error.value)


FILES = [
    (
        "search: {epoch: 1}",
        "Config key 'search.epoch' in .*a.yaml is .*Did you mean 'search.epochs'",
    ),
    ("- 1\n- 2", "is no mapping: expected 'key: value' lines, got list"),
    ("a: [", "expected 'key: value' lines of YAML"),
    ("base: 3", "'base'.*is wrong: expected a text that can be a path .*, got 3. Write a file name"),
    ("base: nowhere.yaml", "Cannot read config .*nowhere.yaml"),
    ("search: null", "'search'.*expected a section, got null"),
    ("1: 2", "Config key '1' in .* is unknown"),
]


@pytest.mark.parametrize(("content", "message"), FILES, ids=[content for content, _ in FILES])
def test_a_mistake_in_a_file_names_the_file(content, message, tmp_path):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)


def test_each_layer_answers_for_its_own_mistakes(tmp_path):
    (tmp_path / "low.yaml").write_text("search: {epochs: 2, clipping: -1}\n")
    (tmp_path / "high.yaml").write_text("base: low.yaml\nsearch: {clipping: 1}\n")
    with pytest.raises(ConfigError, match=r"'search.clipping' in .*low\.yaml is out of range"):
        load_config(tmp_path / "high.yaml", {"search": {"clipping": 3.0}})
    (tmp_path / "low.yaml").write_text("search: {epochs: 2}\n")
    with pytest.raises(ConfigError, match=r"'search.clipping' in the command line is out of range"):
        load_config(tmp_path / "high.yaml", {"search": {"clipping": -2.0}})
    search = load_config(tmp_path / "high.yaml", assignments=["search.clipping=4"]).search
    assert (search.epochs, search.clipping) == (2, 4.0)


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "a.yaml") == RunConfig()


def test_yaml_cannot_run_code(tmp_path):
    (tmp_path / "a.yaml").write_text("task: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="expected 'key: value' lines of YAML"):
        load_config(tmp_path / "a.yaml")


REPEATED = [
    ("task: rte\nmodel: minilm\ntask: stsb\n", "Key 'task' stands twice in .*a.yaml.*line 1 .*line 3"),
    ("search:\n  epochs: 1\n  'epochs': 2\n", "Key 'epochs' stands twice in .*line 2 .*line 3"),
    ("search: {epochs: 1, epochs: 1}", "Key 'epochs' stands twice"),
]


@pytest.mark.parametrize(("content", "message"), REPEATED)
def test_a_key_that_stands_twice_is_an_error(content, message, tmp_path):
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(tmp_path / "a.yaml")
    assert "\n" not in str(error.value)


def test_a_key_that_stands_twice_in_an_assignment_is_an_error():
    with pytest.raises(ConfigError, match="Key 'epochs' stands twice in --set 'search="):
        load_config(assignments=["search={epochs: 1, epochs: 2}"])


def test_a_key_may_replace_one_that_is_merged_in(tmp_path):
    text = "vanilla: &stage {epochs: 1, batch_size: 8}\nfinal: {<<: *stage, epochs: 2}\n"
    (tmp_path / "a.yaml").write_text(text)
    config = load_config(tmp_path / "a.yaml")
    assert (config.vanilla.epochs, config.final.epochs, config.final.batch_size) == (1, 2, 8)
