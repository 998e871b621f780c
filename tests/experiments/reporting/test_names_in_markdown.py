"""Names with markup are shown as they are: Markdown renders to the same structure as with plain names."""

from __future__ import annotations

import pytest

from agwm.experiments.refusals import Refusal
from agwm.experiments.reporting.page import report_files
from agwm.experiments.reporting.rows import markdown_table, summarize
from agwm.markdown import code, escape, flat, table
from tests.experiments.records import make_record
from tests.experiments.reporting.synthetic import make_records

NAMES = [
    "x|y", "a\\|b", "end\\", "_a_", "__b__", "a_b", "_", "*c*", "**d**", "`e`", "``f`", "~~g~~", "$h$",
    "<script>alert(1)</script>", "<!-- results:end -->", "<b>i</b>", "[l](javascript:1)", "[l][l]",
    "[l]: x", "![i](http://e/x.png)", "&amp;", "&#60;", "a\n# head", "a\r\n\n| b |", "---", "# k",
    "> q", "1. n", "- m", "a  b", "\x1b[31m", "é日本", "<0.001", "a < b & c",
]  # fmt: skip


@pytest.fixture(scope="module")
def markdown():
    """A renderer of the Markdown that GitHub has: tables and strike-through with the rest."""
    markdown_it = pytest.importorskip("markdown_it")
    return markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])


def flattened(found):
    """Tokens with those inside of them."""
    for token in found:
        yield token
        yield from flattened(token.children or ())


def tokens(markdown, text):
    """All tokens of a text."""
    return flattened(markdown.parse(text))


def shape(markdown, text):
    """Kinds of the tokens, without runs of plain text, which escapes may cut."""
    kinds = [token.type for token in tokens(markdown, text) if token.type != "text_special"]
    return [kind for place, kind in enumerate(kinds) if kind != "text" or kinds[place - 1] != "text"]


def written(markdown, text):
    """The text that a reader sees."""
    return "".join(
        t.content for t in tokens(markdown, text) if t.type in ("text", "text_special", "code_inline")
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_literally(name, markdown):
    for text in (
        f"a {escape(name)} b",
        f"## a {escape(name)} b",
        f"a {code(name)} b",
        f"![a {code(name)} b](c)",
    ):
        assert f"a {flat(name)} b" in written(markdown, text), text
        assert shape(markdown, text) == shape(
            markdown, text.replace(escape(name), "n").replace(code(name), "`n`")
        )
    for cell, plain in ((escape(name), "n"), (code(name), "`n`")):
        rows, others = (table(["name", "n"], [[one, "1"], ["b", "2"]]) for one in (cell, plain))
        assert written(markdown, rows) == f"namen{flat(name)}1b2"
        assert shape(markdown, rows) == shape(markdown, others)


def page(label, task, model, reason):
    """A report in which every kind of name stands."""
    records = make_records(
        {
            "vanilla": {task: (0.5, 0.6, 0.7), "rte": (0.5, 0.6, 0.7)},
            label: {task: (0.6, None, 0.8), "rte": (0.7,)},
        }
    )
    for record in records:
        info = record.run_info
        object.__setattr__(info, "model", model)
        object.__setattr__(info, "versions", {reason: reason})
        if record.failure is not None:
            object.__setattr__(record.train_info, "failure", reason)
    refused = [Refusal(f"{label}2", "vanilla", task, model, 300, reason, "0")]
    return report_files(records, "command", refused), records


def test_reports_keep_their_structure(markdown, monkeypatch):
    monkeypatch.setitem(make_record.__globals__["METRICS"], "task", "accuracy")
    plain, records = page("agwm_k", "task", "model", "reason")
    rows = shape(markdown, markdown_table(summarize(records)))
    for name in NAMES:
        monkeypatch.setitem(make_record.__globals__["METRICS"], f"t{name}", "accuracy")
        odd, records = page(f"agwm_k{name}", f"t{name}", f"m{name}", f"r{name}")
        for file in ("report.md", "tables.md"):
            assert shape(markdown, odd[file]) == shape(markdown, plain[file]), name
            seen = written(markdown, odd[file])
            assert all(flat(start + name) in seen for start in ("agwm_k", "t", "m")), name
        assert flat(f"r{name}") in written(markdown, odd["report.md"])
        assert shape(markdown, markdown_table(summarize(records))) == rows
        assert "\n\n" not in odd["tables.tex"] and odd["tables.tex"].isascii() == flat(name).isascii()
