"""Configs, grids, tunings and ``--set``: random and hostile texts are accepted soundly or refused in a"
" line."""

from __future__ import annotations

import math
import random
import time
import unicodedata

import pytest
import yaml

from agwm.errors import ConfigError
from agwm.experiments.config import RunConfig, load_config
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.tuning import load_tuning
from agwm.experiments.yaml_files import parse_assignment, read_yaml
from agwm.nested import flat_settings

DEFAULTS = flat_settings(RunConfig().to_dict())
LONG = "x" * 100_000
# Scalars that YAML reads as something else than they look, or not at all.
ODD = [
    "~", "no", "-0.0", "1e309", ".inf", "-.NaN", "0x" + "f" * 6000, "9" * 6000, "1" + "0" * 40, "017",
    "1:30", "2024-02-30", "2024-01-01 25:00:00", "!!int x", "!!float y", "!!bool z", "!!timestamp q",
    "!!binary '*'", "!!set {a, b}", "!!omap [a: 1]", "!!python/name:os.system", "!local x", "*nothing",
    "&a [*a]", "&b {k: *b}", r'"\0"', r'"\x1b]0;t\x07"', r'"\u202e"', r'"\u2028"', "'a\tb'", "''", "' '",
    "é", "字" * 90, "x" * 300, "../../x", "~nobody/x", "a/" + "b" * 256, "[[[[1]]]]", "{a: {b: 1}}",
    "? [k]", "- -", "|\n x", "<<", "=", "cuda:99", "all", "[1, 1]", "[true]", "4294967296", "-1", "1.5",
    "agwm", "[agwm, agwm]", "5_0", "@", "%",
]  # fmt: skip


class Generator:
    """Texts of files, a bit wrong each, from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self, depth=0):
        kind = self.random.random()
        if kind < 0.7 or depth > 2:
            return self.random.choice(ODD).replace("\n", "\n" + "  " * (depth + 2))
        parts = [self.value(depth + 1) for _ in range(self.random.randint(0, 3))]
        if kind < 0.85:
            return f"[{', '.join(parts)}]"
        return (
            "{" + ", ".join(f"{self.random.choice(['epochs', 'k', '1'])}: {part}" for part in parts) + "}"
        )

    def settings(self):
        lines = {}
        for key in self.random.sample([*DEFAULTS, "search", "rivals.lora", "base", "zz", "1"], 3):
            value = (
                self.value() if self.random.random() < 0.6 else yaml.safe_dump(DEFAULTS.get(key), width=999)
            )
            lines[key] = value.removesuffix("\n...\n").strip("\n")
        return lines

    def config(self):
        body = ""
        for key, value in self.settings().items():
            *sections, last = key.split(".")
            body += "".join(f"{'  ' * n}{name}:\n" for n, name in enumerate(sections))
            body += f"{'  ' * len(sections)}{last}: {value}\n"
        return body

    def grid(self, kind):
        good = {
            "tasks": "[cola]", "train_sizes": "[300]", "models": "[minilm]", "seeds": "[101]",
            "methods": "{vanilla: {}}" if kind == "grid" else "{vanilla: [{vanilla: {epochs: 1}}]}",
        }  # fmt: skip
        good[self.random.choice(list(good))] = self.value()
        more = self.random.choice(["settings", "seconds_per_pass", "base", "zz"])
        return f"{more}: {self.value()}\n{kind}:\n" + "".join(f"  {k}: {v}\n" for k, v in good.items())

    def damaged(self, text):
        """Change some bytes, or leave some out."""
        data = bytearray(text.encode(self.random.choice(["utf-8", "utf-8", "utf-16", "utf-8-sig"])))
        for _ in range(self.random.choice([0, 0, 0, 1, 3, 9])):
            if data:
                data[self.random.randrange(len(data))] = self.random.randrange(256)
        if self.random.random() < 0.1:
            del data[self.random.randrange(len(data) + 1) :]
        return bytes(data)


def is_sound(config):
    """True if every setting can be used and written."""
    for key, value in flat_settings(config.to_dict()).items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int | float) and not (math.isfinite(one) and abs(one) <= 2**32):
                return False
            if isinstance(one, str) and key in ("task", "model", "output_dir", "device"):
                if not 0 < len(one) < 4096 or any(unicodedata.category(c) in ("Cc", "Cs") for c in one):
                    return False
    return config.task.strip() == config.task and len(config.task) <= 100


def outcome(read):
    """The configs that a reader returns; None if it refuses, in one line of bounded length."""
    start = time.monotonic()
    try:
        return read()
    except ConfigError as error:
        assert len(str(error)) < 700 and str(error).isprintable(), str(error)[:2000]
        return None
    finally:
        assert time.monotonic() - start < 10


def run(seed, number, path):
    """Read so many texts; return how many were accepted."""
    made, accepted = Generator(seed), 0
    readers = {
        "config": lambda: [load_config(path)],
        "grid": lambda: [cell.config for cell in load_grid(path).cells],
        "tune": lambda: [cell.config for cell in load_tuning(path).cells],
    }
    for place in range(number):
        kind = ("config", "config", "grid", "tune", "set")[place % 5]
        if kind == "set":
            texts = [f"{key}={value}" for key, value in made.settings().items() if key != "base"][:1]
            configs = outcome(lambda texts=texts: [load_config(assignments=texts)])
        else:
            path.write_bytes(made.damaged(made.config() if kind == "config" else made.grid(kind)))
            configs = outcome(readers[kind])
        if configs is not None:
            accepted += 1
            assert all(map(is_sound, configs)), path.read_bytes()
    return accepted


def test_random_texts(tmp_path):
    assert 10 < run(1, 400, tmp_path / "random.yaml") < 300


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_more_random_texts(seed, tmp_path):
    run(seed, 4000, tmp_path / "random.yaml")


def bomb(levels, width):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(12, 9), "too large: expected at most 50000 values"),
        (bomb(900, 1), "too large: expected at most 20 levels"),
        ("a: " + "[" * 3000 + "]" * 3000, "too large: expected at most 20 levels"),
        ("{a: " * 3000, "too large: expected at most 20 levels"),
        ("- " * 3000 + "a", "too large: expected at most 20 levels"),
        ("a: &a [*a]", "in line 1 of .* holds itself"),
        ("a: &a\n  b: {c: *a}", "in line 2 of .* holds itself"),
        ("task: " + LONG, "'task' in .*got 'xxx"),
        (f"? {LONG}\n: 1", "'xxx.*is unknown"),
        (f"? {LONG}\n: 1\n? {LONG}\n: 2", "Key 'xxx.* stands twice"),
        ("# " + LONG * 11, "at most 1000000 characters"),
        ("search: {epochs: 010}", "got '010'"),
        ("train_size: 5:00", "got '5:00'"),
        ("methods: [2024-01-01]", "Unknown method '2024-01-01'"),
        ("base: " + "x" * 300, "File name too long|can be a path"),
        ("task: 1\x00", "unacceptable character"),
        ("base: a.yaml", "its own base"),
    ],
    ids=lambda value: value[:12],
)
def test_hostile_files(text, message, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert len(str(error.value)) < 700 and str(error.value).isprintable()


def test_anchors_of_a_sound_size_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("x: &x {epochs: 2}\ny: [*x, *x]\nz: {<<: *x, k: 1}\n")
    assert read_yaml(tmp_path / "a.yaml")["z"] == {"epochs": 2, "k": 1}


@pytest.mark.parametrize(
    "text", [LONG, f"{LONG}=1", f"task={LONG}", f"search.{LONG}=1", "a." * 3000 + "b=1"]
)
def test_long_assignments(text):
    with pytest.raises(ConfigError) as error:
        load_config(assignments=[text])
    assert len(str(error.value)) < 700 and str(error.value).isprintable()


def test_dates_and_clocks_stay_texts():
    assert parse_assignment("a=[2024-01-01, 1:30, 1:30.5, 007]") == {
        "a": ["2024-01-01", "1:30", "1:30.5", "007"]
    }
    assert parse_assignment("a=[0, 10, 0.5, 1_000, 0x10]") == {"a": [0, 10, 0.5, 1000, 16]}


@pytest.mark.parametrize("data", ["[train_file]", "null", "x", "7", "{train_file: [a]}"])
@pytest.mark.parametrize(("load", "key"), [(load_grid, "grid"), (load_tuning, "tune")])
def test_settings_of_all_cells_are_checked_before_they_are_looked_into(data, load, key, tmp_path):
    (tmp_path / "g.yaml").write_text(
        f"settings: {{data: {data}}}\n{key}: [{{methods: {{vanilla: [{{}}]}}}}]\n"
    )
    with pytest.raises(ConfigError, match="Config key 'data.*' in 'settings' of .*: expected a"):
        load(tmp_path / "g.yaml")


def test_a_grid_of_too_many_cells(tmp_path):
    axis = [f"t{n}" for n in range(100)]
    grid = {"tasks": axis, "train_sizes": list(range(10, 110)), "models": axis, "methods": {"vanilla": {}}}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump({"grid": grid}))
    with pytest.raises(ConfigError, match="Too many cells in .*at most 50000, got 1000000"):
        load_grid(tmp_path / "g.yaml")


@pytest.mark.parametrize(
    ("delta", "flag"),
    [
        ({"task": "a\x1b[2J"}, "--task is wrong"),
        ({"task": "t" * 101}, "--task is wrong"),
        ({"model": "m" * 300}, "--model is wrong"),
        ({"output_dir": ""}, "--output-dir is wrong"),
        ({"methods": []}, "--method "),
        ({"train_size": 10**12}, "--train-size is out of range: .* <= 1e"),
        ({"data": {"train_file": "a\0b"}}, "--train-file is wrong"),
    ],
)
def test_values_of_flags_are_named_by_the_flag(delta, flag):
    with pytest.raises(ConfigError, match=flag):
        load_config(None, delta)


def test_a_base_is_a_file_beside_the_config_or_one_of_the_package(tmp_path):
    (tmp_path / "own.yaml").write_text("base: minilm\nmethods: [vanilla]\n")
    config = load_config(tmp_path / "own.yaml")
    assert (config.model, config.vanilla.epochs, config.methods) == ("minilm", 6, ["vanilla"])
    (tmp_path / "minilm.yaml").write_text("vanilla: {epochs: 2}\n")
    (tmp_path / "own.yaml").write_text("base: minilm.yaml\n")  # the own file goes before
    assert load_config(tmp_path / "own.yaml").vanilla.epochs == 2
    (tmp_path / "grid.yaml").write_text(
        "base: paper/glue_lowres\ngrid:\n- {tasks: [rte], train_sizes: [300], models: [a], seeds: 1,"
        " methods: {vanilla: {}}}\n"
    )
    (cell,) = load_grid(tmp_path / "grid.yaml").cells
    assert cell.config.search.num_resplits == 5
    (tmp_path / "own.yaml").write_text("base: missing\n")
    with pytest.raises(ConfigError, match="missing"):
        load_config(tmp_path / "own.yaml")
