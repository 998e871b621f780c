"""Files in, files out: every row with its columns, labels and probabilities, whole or not at all."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pandas as pd
import pytest

from agwm.command_line.main import main
from agwm.errors import DataError, ModelError
from agwm.prediction import load_predictor
from agwm.prediction.command import predict_files
from tests.prediction.saved_models import NAMES, save

TEXTS = ["the lamp works", "", 'a, "quoted"\nÜ 😀', "the lamp works " * 20]
FRAME = pd.DataFrame({"id": [4, 3, 2, 1], "text": TEXTS, "kind": ["bug", "praise", "007", "NA"]})
P = [f"p({name})" for name in NAMES]
READERS = {
    ".csv": lambda path: pd.read_csv(path, keep_default_na=False, dtype={"kind": str}),
    ".tsv": lambda path: pd.read_csv(path, sep="\t", keep_default_na=False, dtype={"kind": str}),
    ".json": lambda path: pd.read_json(path, dtype={"kind": str}),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype={"kind": str}),
    ".parquet": pd.read_parquet,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "new.csv"
    FRAME.to_csv(path, index=False)
    return path


def feed(monkeypatch, content: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))


@pytest.mark.parametrize("kind", READERS)
def test_every_row_has_its_columns_and_its_prediction(kind, model, file, tmp_path, capsys) -> None:
    out = tmp_path / "made" / f"out{kind}"
    predict_files(model, file, out=out, device="cpu")
    frame, found = READERS[kind](out), load_predictor(model).predict(TEXTS)
    assert list(frame.columns) == ["id", "text", "kind", "label", "probability", *P]
    assert frame["text"].tolist() == TEXTS and frame["kind"].tolist() == FRAME["kind"].tolist()
    assert frame["label"].tolist() == found.labels and frame["id"].astype(int).tolist() == [4, 3, 2, 1]
    np.testing.assert_allclose(frame[P], found.outputs, atol=1e-12)
    np.testing.assert_allclose(frame["probability"], found.outputs.max(axis=1), atol=1e-12)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.splitlines() == [
        "new.csv: 4 texts in column 'text'",
        "new.csv: 1 row of several lines; the longest, 2 lines, begins in line 4",
        "new.csv: 1 text is empty: example 2",
        "new.csv: 1 of 4 texts cut at 24 tokens",
        f"Wrote 4 rows to {out}.",
    ]


def test_without_a_file_to_write_the_table_goes_to_standard_output(model, file, capfdbinary) -> None:
    predict_files(model, file)
    frame = pd.read_csv(io.BytesIO(capfdbinary.readouterr().out), keep_default_na=False)
    assert frame["text"].tolist() == TEXTS and list(frame.columns[-3:]) == P


def test_lines_of_standard_input_have_the_name_of_the_column(model, monkeypatch, capsys, tmp_path) -> None:
    feed(monkeypatch, "the lamp\n\nÜ 😀\n")
    predict_files(model, None, out=tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [row["text"] for row in rows] == ["the lamp", "", "Ü 😀"] and set(rows[0]) >= {"label", *P}
    assert capsys.readouterr().err.startswith("standard input: 3 texts\nstandard input: 1 text is empty")


def test_pairs_scores_and_several_labels(monkeypatch, tmp_path) -> None:
    folder = save(tmp_path / "pairs", num_labels=1, text_columns=["one", "two"], metric="spearman")
    feed(monkeypatch, "the lamp\tthe tent\n")
    predict_files(folder, out=tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert list(frame.columns) == ["one", "two", "score"]
    assert frame["score"][0] == load_predictor(folder).predict([("the lamp", "the tent")]).outputs[0, 0]
    folder = save(tmp_path / "labels", problem_type="multi_label_classification")
    feed(monkeypatch, "the lamp\nworks\n")
    predict_files(folder, out=tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert list(frame.columns) == ["text", "labels", *P]
    for _, row in frame.iterrows():
        assert row["labels"] == ";".join(name for name in NAMES if row[f"p({name})"] > 0.5)


def test_classes_of_one_name_have_a_column_each(tmp_path) -> None:
    folder = save(tmp_path / "model", text_columns=None)
    content = json.loads((folder / "config.json").read_text()) | {
        "id2label": {"0": "x", "1": "x", "2": "y"}
    }
    (folder / "config.json").write_text(json.dumps(content))
    (tmp_path / "new.csv").write_text("text\nthe lamp\n")
    predict_files(folder, tmp_path / "new.csv", out=tmp_path / "out.csv")
    frame = pd.read_csv(tmp_path / "out.csv")
    assert list(frame.columns) == ["text", "label", "probability", "p(x)", "p(x) (2)", "p(y)"]


def test_names_of_the_input_stay_and_the_clash_is_told(model, tmp_path, capsys) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "the lamp", "label": "old", "predicted_label": "older", "p(bug)": [1]}')
    predict_files(model, path, out=tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert (row["label"], row["predicted_label"], row["p(bug)"]) == ("old", "older", [1])
    assert row["predicted_predicted_label"] in NAMES and row["predicted_p(bug)"] < 1
    shown = capsys.readouterr().err
    assert "column 'label' is in the input: the prediction is 'predicted_predicted_label'" in shown


def test_whole_numbers_beside_missing_ones_stay_whole(model, tmp_path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "a", "n": 12345678901}\n{"text": "b"}\n{"text": "c", "n": true}')
    predict_files(model, path, out=tmp_path / "out.csv")
    assert [line.split(",")[1] for line in (tmp_path / "out.csv").read_text().splitlines()] == [
        "n", "12345678901", "", "True",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("out.xlsx", "Unknown kind of file .* to write: expected a name ending in .csv, .tsv"),
        ("out.jsn", r"got '\.jsn'\. Did you mean '\.json'"),
        ("new.csv", "is the file that is read"),
        ("folder.csv", "is a folder"),
        ("new.csv/out.csv", "Output folder is not writable"),
    ],
)
def test_a_wrong_target_is_refused_before_the_model_is_loaded(out, message, file, tmp_path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=message):
        predict_files(tmp_path / "no model", file, out=tmp_path / out)


def test_nothing_half_written_is_left(model, file, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out.csv"
    out.write_text("older")

    def fail(frame, path, *rest, **options):
        with open(path, "w") as half:
            half.write("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(DataError, match="Cannot write .*No space left on device"):
        predict_files(model, file, out=out)
    assert out.read_text() == "older" and sorted(os.listdir(tmp_path)) == ["new.csv", "out.csv"]


def test_errors_of_model_and_columns_are_one_line(model, file, tmp_path) -> None:
    with pytest.raises(ModelError, match="No model in"):
        predict_files(tmp_path, file)
    with pytest.raises(DataError, match=r"lacks column 'txt': .* Did you mean 'text'\?"):
        predict_files(model, file, text="txt")
    with pytest.raises(DataError, match="The model was trained on single texts"):
        predict_files(model, file, text=["text", "kind"])


def test_what_cannot_begin_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text\na\n", encoding="utf-8")
    assert main(["predict", "nothing", "rows.csv", "--text", "text", "-o", "new/deep/out.csv"]) == 2
    assert "No model in 'nothing'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
