"""A grid made for a hub runs with folders of this machine."""

from __future__ import annotations

import pytest
import yaml

from agwm.errors import ConfigError
from agwm.experiments.grid.cells import load_grid
from agwm.experiments.grid.local_models import local_models


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "grid.yaml"
    grid = {"tasks": ["rte"], "train_sizes": [300], "models": ["facebook/bart-large", "bert-large-cased"]}
    path.write_text(yaml.safe_dump({"grid": {**grid, "methods": {"vanilla": {}}}}))
    return load_grid(path).cells


def test_the_folder_is_loaded_and_records_keep_their_names(cells, tmp_path):
    folder = tmp_path / "bart-large"
    folder.mkdir()
    found = local_models(cells, [f"facebook/bart-large={folder}"])
    assert [cell.config.model for cell in found] == [str(folder), "bert-large-cased"]
    assert [cell.path for cell in found] == [cell.path for cell in cells]
    assert local_models(cells, None) == cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("facebook/bart-large", "expected name=folder"),
        ("facebook/bart-larg={folder}", "Did you mean 'facebook/bart-large'"),
        ("facebook/bart-large={folder}/no", "expected an existing folder called 'bart-large'"),
        ("facebook/bart-large={folder}", "expected an existing folder called 'bart-large'"),
    ],
)
def test_mistakes(cells, tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        local_models(cells, [text.format(folder=tmp_path)])
