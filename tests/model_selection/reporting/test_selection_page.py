"""The page on a model selection: files, escaping, names that look like markup, missing matplotlib."""

from __future__ import annotations

import re

import pytest

from agwm.errors import DataError
from agwm.model_selection.reporting import svg
from agwm.model_selection.reporting.html_page import html_page, missing_pictures
from agwm.model_selection.reporting.markdown_page import markdown_page
from agwm.model_selection.reporting.page import sections_of, write_report
from tests.model_selection.reporting.kinds_of_records import MAKERS, ODD_NAMES, small
from tests.model_selection.reporting.page_reading import Page, pictures_of

HAS_PICTURES = pytest.mark.skipif(not svg.has_matplotlib(), reason="the extra 'plot' is not installed")


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_of_record_has_a_whole_page(name, sections):
    text = html_page("Title", sections(name))
    page = Page(text)
    assert page.problems == []
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"] for attrs in page.all("a") + page.all("use")]
    assert targets and all(target.startswith("#") and target[1:] in ids for target in targets)
    for attrs in page.all("svg"):
        assert attrs["role"] == "img" and all(one in ids for one in attrs["aria-labelledby"].split())
    headings = [tag for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1" and headings.count("h1") == 1 and set(headings) == {"h1", "h2"}
    assert page.text.count("Conclusion") == 1 and page.text.index("Conclusion") < page.text.index(
        "Candidates"
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_page_asks_for_nothing_else(name, sections):
    page = Page(html_page("Title", sections(name)))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "image", "foreignobject"}
    for tag, attrs in page.elements:
        assert not [key for key in attrs if key.startswith("on")], (tag, attrs)
        for key in ("src", "href", "xlink:href", "data"):
            assert str(attrs.get(key, "#")).startswith(("#", "data:,")), (tag, attrs)
        assert not re.search(r"url\((?!#)", attrs.get("style") or ""), attrs


def test_odd_names_are_texts(sections, tmp_path):
    record, texts = MAKERS["odd_names"]()
    html, markdown = (path.read_text(encoding="utf-8") for path in write_report(tmp_path, record, texts))
    page = Page(html)
    for name in (
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(2)>',
        "👩‍🚀 emoji 🎉",
        "{{ 7 * 7 }}",
    ):
        assert name in page.text
    assert "<script>" not in html and "<img" not in html and "49" not in page.text.split("Candidates")[0]
    assert "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c" in page.text
    assert "\x00" not in html
    assert "a" * 79 + "…" in page.text and "a" * 151 not in page.text
    # no raw tag and no cell more than the header has
    assert "\n<" not in markdown and not re.search(r"(?<!\\)<(script|img)", markdown)
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if line.startswith("|")]
    assert set(widths) <= set(range(3, 20)) and len(ODD_NAMES) == 10


@HAS_PICTURES
def test_pictures_hold_no_colour_of_their_own(sections):
    for name in ("small", "regression", "hundred_classes", "odd_names"):
        for picture in pictures_of(sections(name)):
            assert "#0" not in re.sub(r'"#[a-z]+-[^"]*"', "", picture.svg), picture.title
            colors = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", picture.svg))
            assert all(one == "none" or one.startswith(("var(--", "url(")) for one in colors), colors


@HAS_PICTURES
def test_names_are_letters_in_pictures(sections):
    for picture in pictures_of(sections("odd_names"), "candidates"):
        labels = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)
        assert "&lt;script&gt;alert(1)&lt;/scri…" in labels
        assert "$5_vs_$6 \\frac{a" in labels and "שלום עולם RTL" in labels


@HAS_PICTURES
def test_a_page_is_the_same_each_time(tmp_path):
    first, second = (html_page("Title", sections_of(*small())) for _ in range(2))
    assert first == second


def test_without_matplotlib_the_page_says_what_is_missing(monkeypatch, sections):
    monkeypatch.setattr(svg, "has_matplotlib", lambda: False)
    found = sections_of(*small())
    missing = missing_pictures(found)
    assert len(missing) == len(pictures_of(found)) == len(pictures_of(sections("small"))) > 5
    page = Page(html_page("Title", found))
    assert f"{len(missing)} pictures are missing" in page.text and "pip install 'agwm[plot]'" in page.text
    assert page.text.count("Picture missing") == len(missing) and not page.all("svg")
    assert all(title in page.text for title in missing)
    # nothing but the pictures is missing
    assert len(page.all("table")) == len(Page(html_page("Title", sections("small"))).all("table"))


def test_files(tmp_path):
    record, texts = small()
    files = write_report(tmp_path / "new", record, texts)
    assert [file.name for file in files] == ["report.html", "report.md"]
    markdown = files[1].read_text(encoding="utf-8")
    assert markdown.startswith(
        "# Model selection on train.csv\n\nWith pictures: [report.html](report.html)."
    )
    assert "## Conclusion\n\nTake probe: 0.89" in markdown and "| candidate | verdict |" in markdown
    with pytest.raises(DataError, match=r"expected 60 rows, got 59\. Give"):
        write_report(tmp_path, record, texts[1:])


def test_markdown_has_every_section_and_table(sections):
    found = sections("multi_label")
    markdown = markdown_page("Title", found, "report.html")
    assert [line[3:] for line in markdown.splitlines() if line.startswith("## ")] == [
        s.title for s in found
    ]
    assert "Every trial" in markdown and "&lt;" not in markdown and "\\<b>other" in markdown
