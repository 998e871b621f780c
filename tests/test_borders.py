"""Borders from files and texts to values: one line for whatever is wrong, never longer than the limit."""

from __future__ import annotations

import json
import os

import pytest
import torch
from torch.utils.data import DataLoader

from agwm.batches import BatchSource
from agwm.checks import Count, check_choice, check_value
from agwm.errors import (
    AgwmError,
    ConfigError,
    DataError,
    border,
    close_names,
    one_line,
    reason,
    shown,
)
from agwm.files import load_tree, make_folder, read_json, read_text, save_tree, write_json
from agwm.model_loss import model_loss
from tests.tiny_models import tiny_bert

LONG = "x" * 100_000


def message_of(call, *arguments, error=AgwmError):
    """The message of a refusal, which is one printable line of bounded length."""
    with pytest.raises(error) as caught:
        call(*arguments)
    text = str(caught.value)
    assert len(text) < 700 and text.isprintable(), text[:1000]
    return text


@pytest.mark.parametrize(
    "value",
    [LONG, [LONG], {LONG: 1}, 10**5000, LONG.encode(), torch.zeros(3, 99)],
    ids=lambda v: type(v).__name__,
)
def test_long_values_are_cut(value):
    text = shown(value)
    assert len(text) <= 200 and text.isprintable()


def test_a_value_that_cannot_be_written_is_named_by_its_type():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "<list>" and shown(10**5000) == "<int>"


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "\x9b1A", "a\u2028b", "\udcff", "\0"])
def test_control_characters_are_escaped(text):
    for written in (shown(text), shown([text]), one_line(f"before {text} after"), shown({text: text})):
        assert written.isprintable()
    assert "\\x1b[31m" in shown("\x1b[31m")


def test_of_a_long_path_both_ends_are_shown(tmp_path):
    path = tmp_path / ("d" * 200) / ("e" * 200) / "name.yaml"
    assert shown(path).startswith(f"'{tmp_path}"[:40]) and shown(path).endswith("name.yaml'")
    assert len(shown(path)) <= 200


def test_a_long_name_has_no_close_names():
    assert (
        close_names(LONG, ["x" * 99]) == "" and close_names("ab", [LONG, "abc"]) == " Did you mean 'abc'?"
    )


class Panic(BaseException):
    """Stands where errors of libraries in Rust stand."""


Panic.__module__ = "pyo3_runtime"


@pytest.mark.parametrize(
    ("error", "got"),
    [
        (ValueError("bad\n\n  thing\x07 "), "ValueError: bad thing\\x07"),
        (KeyError("k"), "KeyError: 'k'"),
        (RecursionError("maximum"), "values nested too deeply"),
        (MemoryError(), "more than the memory holds"),
        (PermissionError(13, "Permission denied", "x"), "Permission denied"),
        (Panic("index out of bounds"), "Panic: index out of bounds"),
        (RuntimeError(LONG), "RuntimeError: xxx"),
        (Exception(), "Exception"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_any_exception_becomes_one_line(error, got):
    def fail():
        with border("a.yaml", "lines", "Mend it.", error=ConfigError):
            raise error

    assert f"Cannot read 'a.yaml': expected lines, got {got}" in message_of(fail, error=ConfigError)
    assert reason(error).startswith(got)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), DataError("own")])
def test_stops_and_own_errors_pass(error):
    with pytest.raises(type(error)) as caught, border("a", "lines", error=ConfigError):
        raise error
    assert caught.value is error


def odd_path(kind, folder):
    """A path that is no text file."""
    path = folder / "odd"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        return "/dev/zero"
    elif kind == "closed":
        path.write_text("{}")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root reads everything")
    elif kind == "bytes":
        path.write_bytes(bytes(range(256)))
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "long":
        return folder / ("n" * 300)
    elif kind == "longer":
        return folder / LONG
    elif kind == "null":
        return f"{folder}/a\0b"
    return path


KINDS = ("folder", "pipe", "device", "closed", "bytes", "loop", "long", "longer", "null", "missing")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [read_text, read_json, load_tree])
def test_odd_paths_are_one_line(kind, read, tmp_path):
    assert message_of(read, odd_path(kind, tmp_path), error=DataError).startswith("Cannot read")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "ValueError"),
        (b'{"a": 1, "a": 2}', "a key that stands twice"),
        (b"[NaN]", "NaN, which is no finite number"),
        (b"[-Infinity]", "-Infinity, which"),
        (b"[1e999]", "1e999, which"),
        (b'{"a": "\xff"}', "UnicodeDecodeError"),
        (b"", "JSONDecodeError"),
        (b"{} {}", "JSONDecodeError"),
    ],
)
def test_json_is_read_strictly(content, got, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    assert got in message_of(read_json, tmp_path / "a.json", error=DataError)


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "é"}).encode())
    assert read_json(tmp_path / "a.json") == {"a": "é"}


@pytest.mark.parametrize("kind", ["long", "longer", "null"])
def test_folders_and_files_that_cannot_be_made(kind, tmp_path):
    assert "not writable" in message_of(make_folder, odd_path(kind, tmp_path), error=DataError)
    assert "Cannot write" in message_of(write_json, odd_path(kind, tmp_path), {}, error=DataError)


def test_text_that_is_no_unicode_cannot_be_written_and_leaves_nothing(tmp_path):
    assert "Cannot write" in message_of(write_json, tmp_path / "a.json", {"a": "\udcff"}, error=DataError)
    assert list(tmp_path.iterdir()) == []


def test_checks_cut_what_they_quote():
    for kind, value in ((Count, LONG), (Count, 10**5000), (Count, [LONG] * 9), (float, 10**5000)):
        message_of(check_value, "name", kind, value, error=ConfigError)
    message_of(check_choice, "column", LONG, [f"column {n}\n" for n in range(999)], error=ConfigError)


def test_a_number_beyond_the_largest_says_so():
    assert "an integer >= 1 and <= 1e+09, got 1000000001" in message_of(check_value, "n", Count, 10**9 + 1)
    check_value("n", Count, 10**9)


# Of kinds that checkpoints hold, an empty tensor and a scalar among them.
TREE = {
    "step": 3,
    "nested": [(1, 2.5), {"half": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)}],
    "flags": torch.tensor([True, False]),
    "scalar": torch.tensor(7.0),
    "empty": torch.zeros(0, 4),
}


@pytest.fixture
def tree_file(tmp_path):
    path = tmp_path / "tree.safetensors"
    save_tree(path, TREE)
    return path


def test_a_tree_is_read_as_it_was_written(tree_file):
    again = load_tree(tree_file)
    assert again["step"] == 3 and again["nested"][0] == (1, 2.5) and again["empty"].shape == (0, 4)
    assert torch.equal(again["nested"][1]["half"], TREE["nested"][1]["half"])


def test_every_flipped_bit_of_a_tree_is_refused(tree_file):
    """No bit decides a value unseen: of all bytes of the file one bit each, and all bits of the data."""
    good = tree_file.read_bytes()
    start = 8 + int.from_bytes(good[:8], "little")
    places = [(n, n % 8) for n in range(len(good))]
    places += [(n, bit) for n in range(start, len(good)) for bit in range(8)]
    padding = good[8:start].rstrip(b" ")
    for place, bit in places:
        changed = bytearray(good)
        changed[place] ^= 1 << bit
        tree_file.write_bytes(changed)
        if 8 + len(padding) <= place < start and changed[place] in b" \t\n\r":
            continue  # white space after the header holds nothing
        message_of(load_tree, tree_file, error=DataError)


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:9], lambda b: b""])
def test_a_tree_of_another_length_is_refused(change, tree_file):
    tree_file.write_bytes(change(tree_file.read_bytes()))
    message_of(load_tree, tree_file, error=DataError)


def test_other_values_in_the_structure_are_refused(tree_file):
    good = tree_file.read_bytes()
    changed = good.replace(rb"[\"step\", 3]", rb"[\"step\", 4]")
    assert changed != good
    tree_file.write_bytes(changed)
    assert "damaged, or that another version wrote" in message_of(load_tree, tree_file)


def test_rows_that_cannot_be_read_name_the_batch():
    """Errors of files and places; a data set's own errors stay what they are."""

    class Rows(list):
        def __init__(self, error):
            super().__init__({"x": n} for n in range(6))
            self.error = error

        def __getitem__(self, index):
            if index == 3:
                raise self.error
            return super().__getitem__(index)

    for error in (OSError(5, "disk gone"), IndexError("list index out of range"), KeyError("x")):
        source = BatchSource(DataLoader(Rows(error), 2))
        text = message_of(lambda source=source: list(source), error=DataError)
        assert text.startswith("Cannot read batch 2 of epoch 1: expected rows of the data set, got ")
    with pytest.raises(ZeroDivisionError):
        list(BatchSource(DataLoader(Rows(ZeroDivisionError()), 2)))


@pytest.mark.parametrize(("name", "value"), [("labels", [9, 0]), ("input_ids", [[10**6] * 3] * 2)])
def test_a_batch_beyond_the_tables_of_a_model(name, value):
    batch = {"input_ids": torch.ones(2, 3, dtype=torch.long), "labels": torch.tensor([0, 1])}
    assert model_loss(tiny_bert(), batch).isfinite()
    text = message_of(model_loss, tiny_bert(), {**batch, name: torch.tensor(value)}, error=DataError)
    assert text.startswith("Batch does not fit the model: expected token ids in its vocabulary")
