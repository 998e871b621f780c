"""The package's own configs have names, which a file of the user's goes before."""

from __future__ import annotations

import os

import pytest

from agwm.configs.packaged import FOLDER, config_file, config_names
from agwm.errors import ConfigError


def test_every_config_has_a_name():
    names = config_names()
    assert {"default.yaml", "demo.yaml", "grids/tuning.yaml", "paper/glue_lowres.yaml"} <= set(names)
    assert all(config_file(name) == path and path.is_file() for name, path in names.items())


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "configs/demo.yaml", "agwm/configs/demo.yaml"])
def test_a_name_in_several_spellings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # a folder is no config
    assert config_file(name) == FOLDER / "demo.yaml"


def test_a_file_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text("seeds: 1\n")
    assert os.path.samefile(config_file("demo.yaml"), tmp_path / "demo.yaml")


@pytest.mark.parametrize(
    "name", ["", "nowhere.yaml", "../configs/demo.yaml", "a\0b", "x" * 100_000, "grids"]
)
def test_neither_is_one_line(name):
    with pytest.raises(ConfigError, match="expected a file, or one of the package's, got neither") as error:
        config_file(name)
    assert len(str(error.value)) < 700 and "grids/minilm.yaml" in str(error.value)


def test_a_slip_is_seen():
    with pytest.raises(ConfigError, match="Did you mean 'grids/minilm.yaml'"):
        config_file("grids/minlm.yaml")
