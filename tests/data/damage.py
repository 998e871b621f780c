"""Tables of every format, written from a seed and damaged, with the rows that they should give.

Only damage that leaves a trace is done: nobody can see that a letter was another one.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
import warnings
from dataclasses import dataclass, field

import openpyxl
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

WORDS = ["good", "bad", "lamp", "Käse", "日本", "naïve", "5", "it's", "end.", "—", "NA", "null"]
TEXTS = [
    'say "hi", ok',
    "a, b; c",
    "two\nlines",
    "two\n\nlines, and more",
    "007",
    "NA",
    "null",
    "1e5",
    '"quoted"',
]
LABELS = {
    "words": ["good", "bad", "so so"],
    "numbers": ["0", "1", "2"],
    "codes": ["01", "1", "1_0", "10"],
    "ids": ["12345678901234567890", "12345678901234567891"],
    "floats": ["0.0", "1.0"],
    "mixed": ["0", "1", "1.0"],
    "scores": ["0.5", "1.25", "3.0"],
    "dates": ["2024-01-02", "2024-1-2"],
}
TYPED = {"numbers": int, "floats": float, "scores": float, "ids": int}


@dataclass
class Sample:
    """A file and its truth: texts and labels as they were before the damage."""

    name: str
    content: bytes
    texts: list[str]
    labels: list[str]
    kind: str
    damage: str = "none"
    options: dict = field(default_factory=dict)

    def expected(self, label: str) -> str | float:
        if self.kind == "scores":
            return float(label)
        return str(int(float(label))) if self.kind in ("floats", "mixed") else label


def make(seed: int) -> Sample:
    """Return a table of some format, three in four of them damaged."""
    draw = random.Random(seed)
    kind = draw.choice(list(LABELS))
    count = draw.choice([4, 8, 20])
    labels = [LABELS[kind][i % len(LABELS[kind])] for i in range(count)]
    draw.shuffle(labels)
    texts = [
        draw.choice(TEXTS) if draw.random() < 0.3 else f"{' '.join(draw.choices(WORDS, k=5))} {i}"
        for i in range(count)
    ]
    writer = draw.choice([delimited, delimited, delimited, tabs, json_text, binary])
    return writer(draw, texts, labels, kind)


def sample(
    name: str, content: bytes, texts: list, labels: list, kind: str, damage: str, **options
) -> Sample:
    return Sample(name, content, texts, labels, kind, damage, options)


# ---- tables of text


def encoded(texts: list, labels: list, mark: str, quoting: int, index: bool) -> list[list[str]]:
    """Return the cells of header and rows as Python's csv module writes them."""

    def one(cell: str) -> str:
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=mark, quoting=quoting).writerow([cell, "x"])
        return out.getvalue().removesuffix('"x"\r\n' if quoting else "x\r\n").removesuffix(mark)

    rows = [["text", "label"], *map(list, zip(texts, labels, strict=True))]
    table = [[one(cell) for cell in row] for row in rows]
    if index:
        table = [[str(n - 1) if n else "", *row] for n, row in enumerate(table)]
    return table


def quote_at(draw: random.Random, table: list, drop: bool) -> None:
    """Take away or add one quote at an end of a cell."""
    row = draw.randrange(1, len(table))
    column = draw.randrange(len(table[row]))
    cell = table[row][column]
    if drop and len(cell) > 1 and cell[0] == '"':
        table[row][column] = cell[1:] if draw.random() < 0.5 else cell[:-1]
    else:
        table[row][column] = f'"{cell}' if draw.random() < 0.5 else f'{cell}"'


def damage_table(draw: random.Random, table: list, mark: str, what: str) -> str:
    """Damage a table of encoded cells; return its text with lines marked by newlines."""
    row = draw.randrange(1, len(table))
    table = [list(line) for line in table]
    if what in ("drop quote", "add quote"):
        quote_at(draw, table, what == "drop quote")
    elif what == "backslash":
        table = [[re.sub('(?<=.)""(?=.)', r'\\"', cell) for cell in line] for line in table]
    elif what == "extra cell":
        table[row].insert(draw.randrange(len(table[row]) + 1), draw.choice(["", "x"]))
    elif what == "short row":
        table[row].pop(draw.randrange(len(table[row])))
    elif what == "trailing mark":
        table = [table[0], *([*line, ""] for line in table[1:])]
    elif what == "no label":
        table[row][-1] = draw.choice(["", " ", "\t " if mark == "," else " "])
    elif what == "blank before quote":
        table[row] = [f" {cell}" if cell[:1] == '"' else cell for cell in table[row]]
    elif what == "two quotes":
        last = draw.randrange(row, len(table))
        table[row][-2] = f'"{table[row][-2]}'
        table[last][-2] += '"'
    if draw.random() < 0.4:
        table = [line[::-1] for line in table]
    lines = [mark.join(line) for line in table]
    if what == "joined rows" and row + 1 < len(lines):
        lines[row] += lines.pop(row + 1)
    elif what == "cut row":
        bare = max(table[row], key=len)
        cut = draw.randrange(1, len(bare)) if len(bare) > 1 and '"' not in bare else 0
        lines[row] = lines[row].replace(bare, f"{bare[:cut]}\n{bare[cut:]}", 1)
    elif what == "blank lines":
        lines.insert(row, draw.choice(["", "  ", mark * (len(table[0]) - 1)]))
        lines = [*([""] * draw.randrange(3)), *lines, ""]
    elif what == "no rows":
        lines = lines[:1]
    elif what == "two headers":
        lines.insert(0, "My survey")
    return "\n".join(lines)


TABLE_DAMAGE = [
    "drop quote", "add quote", "backslash", "extra cell", "short row", "trailing mark", "no label",
    "blank before quote", "joined rows", "cut row", "blank lines", "no rows", "two headers", "two quotes",
]  # fmt: skip
BYTE_DAMAGE = ["NUL", "bad byte", "other mark", "double mark", "half gzip", "wrong ending"]


def damage_bytes(draw: random.Random, name: str, body: bytes, what: str) -> tuple[str, bytes]:
    place = draw.randrange(len(body))
    if what == "NUL":
        return name, body[:place] + b"\0" + body[place:]
    if what == "bad byte":
        return name, body[:place] + draw.choice([b"\xff", b"\xc3\x28", b"\x93"]) + body[place:]
    if what == "other mark":
        return name, draw.choice([b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0"]) + body
    if what == "double mark":
        return name, b"\xef\xbb\xbf" * draw.choice([1, 2]) + body
    if what == "half gzip":
        packed = gzip.compress(body)
        return f"{name}.gz", packed[: draw.randrange(1, len(packed))]
    return "wrong." + draw.choice(["parquet", "xlsx", "json", "csv.gz", "csv.zip", "txt"]), body


def finish(
    draw: random.Random, name: str, text: str, end: str, is_clean: bool
) -> tuple[str, bytes, str, dict]:
    """Encode a text, pack it, or damage its bytes."""
    text, options = text.replace("\n", end), {}
    encoding = draw.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "gb18030"])
    body = text.encode(encoding)
    if encoding == "gb18030":
        options = draw.choice([{"encoding": "gb18030"}, {"encoding": "gb18030"}, {}])
    if is_clean and draw.random() < 0.3:
        what = draw.choice(BYTE_DAMAGE)
        if what == "bad byte":  # in UTF-16 it would be another letter
            body, options = text.encode(), {}
        return *damage_bytes(draw, name, body, what), what, options
    if encoding == "gb18030" and not options and not text.isascii():
        return name, body, "no encoding", options
    if draw.random() < 0.1:
        return f"{name}.gz", gzip.compress(body), "none", options
    return name, body, "none", options


def delimited(draw: random.Random, texts: list, labels: list, kind: str) -> Sample:
    mark = draw.choice([",", ",", ",", ";", "\t", "|"])
    quoting = draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    end = draw.choice(["\n", "\n", "\r\n", "\r"])
    table = encoded(texts, labels, mark, quoting, draw.random() < 0.3)
    what = draw.choice(TABLE_DAMAGE) if draw.random() < 0.6 else "none"
    text = damage_table(draw, table, mark, what) + draw.choice(["", "\n", "\n\n"])
    name, body, also, options = finish(draw, "train.csv", text, end, what == "none")
    told = [one.replace("\n", end) for one in texts]
    return sample(name, body, told, labels, kind, also if what == "none" else what, **options)


def tabs(draw: random.Random, texts: list, labels: list, kind: str) -> Sample:
    if draw.random() < 0.5:
        texts = [one.replace("\n", " ") for one in texts]
        table = [["text", "label"], *map(list, zip(texts, labels, strict=True))]
        damages = [
            "extra cell",
            "short row",
            "trailing mark",
            "no label",
            "joined rows",
            "blank lines",
            "none",
        ]
    else:
        quoting = draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
        table = encoded(texts, labels, "\t", quoting, False)
        damages = ["extra cell", "short row", "none", "none"]
    what = draw.choice(damages)
    text = damage_table(draw, table, "\t", what)
    name, body, also, options = finish(draw, "train.tsv", text, "\n", what == "none")
    return sample(name, body, texts, labels, kind, also if what == "none" else what, **options)


# ---- JSON


def json_text(draw: random.Random, texts: list, labels: list, kind: str) -> Sample:
    typed = TYPED.get(kind, str) if draw.random() < 0.5 else str
    rows = [
        {"id": n, "text": t, "label": typed(y)} for n, (t, y) in enumerate(zip(texts, labels, strict=True))
    ]
    shape = draw.choice(["lines", "array", "data", "columns", "records", "split", "index", "table", "list"])
    what = draw.choice(["none", "none", "structure", "row", "bytes"])
    damaged = draw.randrange(len(rows))
    if what == "row":
        odd = draw.choice(["key", "label", "text"])
        if odd == "key":
            del rows[damaged][draw.choice(["text", "label"])]
        elif odd == "label":
            rows[damaged]["label"] = draw.choice([["a"], {"a": 1}, None, [], float("nan")])
        else:
            rows[damaged]["text"] = draw.choice([1, None, ["a"], {"a": "b"}, "half \ud83d of it"])
    if shape == "lines":
        text = "\n".join(map(json.dumps, rows))
    elif shape == "array" or what == "row":
        text = json.dumps(
            rows, ensure_ascii=draw.random() < 0.5 or what == "row", indent=draw.choice([None, 2])
        )
    elif shape == "data":
        text = json.dumps({"version": "1", "data": rows})
    elif shape == "list":
        text = json.dumps({key: [row[key] for row in rows] for key in rows[0]})
    else:
        # pandas holds large numbers as they are only in columns of objects
        text = pd.DataFrame(rows, dtype=object).to_json(orient=shape, double_precision=15)
    if what == "structure":
        place = draw.choice([at for at, c in enumerate(text) if c in '{}[]"'])
        text = text[:place] + draw.choice(["", text[place] * 2, draw.choice('{}[],:"')]) + text[place + 1 :]
    body = text.encode(draw.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    if what == "bytes":
        body = (
            body[: draw.randrange(1, len(body))] if draw.random() < 0.7 else body[:9] + b"\xff" + body[9:]
        )
    name = draw.choice(["train.json", "train.jsonl"])
    return sample(name, body, texts, labels, kind, f"json {what}" if what != "none" else "none")


# ---- Parquet and Excel


def binary(draw: random.Random, texts: list, labels: list, kind: str) -> Sample:
    typed = TYPED.get(kind, str) if kind != "ids" and draw.random() < 0.5 else str
    cells, out = [typed(y) for y in labels], io.BytesIO()
    what = draw.choice(["none", "cut", "flipped", "empty label", "empty text"])
    texts_out, damaged = list(texts), draw.randrange(len(texts))
    if what == "empty label":
        cells[damaged] = None
    if what == "empty text":
        texts_out[damaged] = None
    if draw.random() < 0.6:
        name = "train.parquet"
        column = pa.array(cells)
        if typed is str and draw.random() < 0.3:
            column = column.dictionary_encode()
        table = pa.table({"text": texts_out, "label": column})
        parquet.write_table(table, out, write_page_checksum=True)
    else:
        name = "train.xlsx"
        book = openpyxl.Workbook()
        book.active.append(["id", "text", "label"])
        for number, row in enumerate(zip(texts_out, cells, strict=True)):
            book.active.append([number, *row])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book.save(out)
    body = out.getvalue()
    if what == "cut":
        body = body[: draw.randrange(1, len(body))]
    elif what == "flipped":
        end = (
            len(body) - 8 - int.from_bytes(body[-8:-4], "little") if name.endswith("parquet") else len(body)
        )
        place = draw.randrange(4, end)
        body = body[:place] + bytes([body[place] ^ draw.randrange(1, 256)]) + body[place + 1 :]
    return sample(name, body, texts, labels, kind, f"binary {what}" if what != "none" else "none")
