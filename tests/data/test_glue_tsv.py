"""The official GLUE layout: real files where there are some, and files with odd bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agwm.data import load_task
from agwm.data.glue import GLUE_LAYOUTS
from agwm.errors import DataError

GLUE_DIR = os.environ.get("AGWM_GLUE_DIR")
needs_glue = pytest.mark.skipif(not GLUE_DIR, reason="AGWM_GLUE_DIR is not set")


def write(root: Path, task: str, train: bytes, dev: bytes | None = None, name: str = "dev") -> Path:
    folder = root / GLUE_LAYOUTS[task].folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.tsv").write_bytes(train)
    (folder / f"{name}.tsv").write_bytes(train if dev is None else dev)
    return root


COUNTS = {
    "cola": (8551, 1043), "rte": (2490, 277), "mrpc": (3668, 408), "stsb": (5749, 1500),
    "sst2": (67349, 872), "qnli": (9999, 5463), "mnli": (8999, 1000), "qqp": (23496, 9372),
}  # fmt: skip


@needs_glue
@pytest.mark.parametrize("task", GLUE_LAYOUTS)
def test_real_files_lose_no_row(task: str) -> None:
    data = load_task(task, GLUE_DIR)
    assert (len(data.train), len(data.test)) == COUNTS[task]
    header = 0 if task == "cola" else 1
    for part, name in ((data.train, "train"), (data.test, "dev")):
        raw = (Path(str(GLUE_DIR)) / GLUE_LAYOUTS[task].folder / f"{name}.tsv").read_bytes()
        assert len(part) == raw.count(b"\n") - header
        assert part.column_names == [*data.task.text_columns, "label"]
        labels = part["label"][:]
        if not data.task.is_regression:
            assert set(labels) == set(range(data.task.num_labels))
        else:
            assert 0.0 <= min(labels) < max(labels) <= 5.0


def test_odd_characters_stay_inside_a_row(tmp_path: Path) -> None:
    odd = 'a "quote, it\u2028s\x85 one\x0c row\x1c é \ttext2 "\' \r x'
    body = f"index\tsentence1\tsentence2\tlabel\n0\t{odd}\tentailment\n1\ta\tb\tnot_entailment\n"
    data = load_task("rte", write(tmp_path, "rte", body.encode()))
    first, second = odd.split("\t")
    assert data.train[0] == {"sentence1": first, "sentence2": second, "label": 0}
    assert data.train[1] == {"sentence1": "a", "sentence2": "b", "label": 1}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n\r\n"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: bytes, mark: bytes, tail: bytes) -> None:
    rows = [b"Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", b"1\t5\t6\tone\ttwo", b"0\t7\t8\tx\ty"]
    data = load_task("mrpc", write(tmp_path, "mrpc", mark + end.join(rows) + tail))
    assert data.train["label"][:] == [1, 0]
    assert data.train["sentence2"][:] == ["two", "y"]


def test_cola_has_no_header(tmp_path: Path) -> None:
    body = b"\xef\xbb\xbfgj04\t1\t\tGood.\ngj04\t0\t*\tBad the.\n"
    data = load_task("cola", write(tmp_path, "cola", body))
    assert data.train[:] == {"sentence1": ["Good.", "Bad the."], "label": [1, 0]}


def test_columns_go_by_name_and_empty_texts_stay(tmp_path: Path) -> None:
    body = b"is_duplicate\tquestion2\tid\tquestion1\n1\tb\t9\ta\n0\t\t8\tc\n"
    data = load_task("qqp", write(tmp_path, "qqp", body))
    assert data.train[:] == {"sentence1": ["a", "c"], "sentence2": ["b", ""], "label": [1, 0]}
    assert data.sources == ("QQP/train.tsv", "QQP/dev.tsv")
    assert data.notes[0] == "QQP/train.tsv: 1 text of column 'sentence2' is empty: example 2"


def test_mnli_prefers_the_matched_file(tmp_path: Path) -> None:
    head = b"sentence1\tsentence2\tgold_label\n"
    train = head + b"a\tb\tentailment\na\tb\tneutral\na\tb\tcontradiction\n"
    write(tmp_path, "mnli", train, head + b"p\tq\tneutral\n")
    assert load_task("mnli", tmp_path).test["sentence1"][:] == ["p"]
    write(tmp_path, "mnli", train, head + b"r\ts\tcontradiction\n", "dev_matched")
    data = load_task("mnli", tmp_path)
    assert data.test["sentence1"][:] == ["r"]
    assert data.train["label"][:] == [0, 1, 2]


RTE = b"index\tsentence1\tsentence2\tlabel\n"


@pytest.mark.parametrize(
    ("task", "body", "message"),
    [
        ("rte", RTE + b"0\ta\tb\n", r"train.tsv row 2: expected 4, got 3"),
        ("rte", RTE + b"0\ta\tb\tc\tentailment\n", r"expected 4, got 5 \(a tab inside"),
        ("rte", RTE + b"0\ta\tb\tentailment\n\n0\ta\tb\tentailment\n", r"row 3: expected 4, got 1"),
        ("rte", RTE + b"0\ta\tb\tEntailment\n", r"row 2: expected one of .*, got 'Entailment'"),
        ("cola", b"x\t2\t\ta\n", r"row 1: expected one of '0', '1', got '2'"),
        ("cola", b"x\t1\ta\n", r"row 1: expected 4, got 3"),
        ("rte", b"index\tsentence\tsentence2\tlabel\n", r"lacks column 'sentence1'.*Did you mean"),
        ("sst2", b"sentence\tlabel\tlabel\n", r"repeats column 'label'"),
        ("rte", RTE, "has a header but no examples"),
        ("rte", b"", "is empty"),
        ("rte", RTE + b"0\ta\xff\tb\tentailment\n", "not UTF-8: expected it throughout, got at offset 35"),
        ("rte", RTE + b"0\ta\0\tb\tentailment\n", "train.tsv line 2 holds a NUL"),
        ("stsb", b"sentence1\tsentence2\tscore\na\tb\t1_0\n", "row 2 is not a number"),
        ("stsb", b"sentence1\tsentence2\tscore\na\tb\tnan\n", "row 2 is not finite.*got 'nan'"),
        ("stsb", b"sentence1\tsentence2\tscore\na\tb\t-inf\n", "row 2 is not finite"),
        ("stsb", b"sentence1\tsentence2\tscore\na\tb\thigh\n", "row 2 is not a number"),
    ],
)
def test_bad_files_name_file_and_row(tmp_path: Path, task: str, body: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_task(task, write(tmp_path, task, body))
    assert "\n" not in str(caught.value) and "train.tsv" in str(caught.value)


def test_missing_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder at .*nowhere"):
        load_task("rte", tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected a folder 'RTE', got no folders"):
        load_task("rte", tmp_path)
    (tmp_path / "CoLA").mkdir()
    with pytest.raises(DataError, match="expected a folder 'RTE', got CoLA"):
        load_task("rte", tmp_path)
    with pytest.raises(DataError, match=r"expected a file at .*CoLA.train.tsv"):
        load_task("cola", tmp_path)
    (tmp_path / "CoLA" / "train.tsv").write_bytes(b"x\t1\t\ta\n")
    with pytest.raises(DataError, match=r"expected a file at .*CoLA.dev.tsv"):
        load_task("cola", tmp_path)
