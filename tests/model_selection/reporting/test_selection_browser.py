"""The page in a real browser: every picture, phone and desktop, light and dark, no error, no request."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from agwm.model_selection.reporting.html_page import html_page
from agwm.model_selection.reporting.svg import has_matplotlib
from tests.model_selection.reporting.kinds_of_records import MAKERS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS, SCHEMES = (360, 1280), ("light", "dark")
# A page around the report, which looks into it: the report itself allows no script.
PROBE = """<!DOCTYPE html><meta charset="utf-8"><title>probe</title>
FRAMES
<pre id="found"></pre>
<script>
const box = one => one.getBoundingClientRect();
const look = frame => {
  const page = frame.contentDocument, view = frame.contentWindow;
  const closed = page.documentElement.scrollWidth;
  page.querySelectorAll("details").forEach(one => { one.open = true; });
  const style = one => view.getComputedStyle(one);
  const pictures = [...page.querySelectorAll("figure.picture")].map(figure => {
    const svg = figure.querySelector("svg");
    if (!svg) return {title: figure.innerText, width: 0};
    const area = box(svg), texts = [...svg.querySelectorAll("text")];
    return {
      title: figure.innerText, width: area.width, height: area.height,
      outside: texts.filter(one => box(one).left < area.left - 2 || box(one).right > area.right + 2)
        .map(one => one.textContent),
      letters: Math.min(...texts.map(one => box(one).height)),
      colors: [...new Set(texts.map(one => style(one).fill))],
      overlaps: texts.filter((one, i) => texts.slice(i + 1).some(other => {
        const a = box(one), b = box(other);
        return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
          && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
      })).map(one => one.textContent),
    };
  });
  const wide = [...page.querySelectorAll(".scroll")].filter(one => box(one).right > view.innerWidth + 1);
  const colors = [...page.querySelectorAll("p, td, th, a, figcaption, summary, li, h1, h2")].map(one => {
    let behind = one;
    while (behind && style(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    return style(one).color + "/" + style(behind || page.documentElement).backgroundColor;
  });
  return {
    name: frame.name, closed, opened: page.documentElement.scrollWidth, inner: view.innerWidth, pictures,
    wide: wide.length,
    page: style(page.documentElement).backgroundColor, colors: [...new Set(colors)],
    requests: view.performance.getEntriesByType("resource").map(one => one.name),
    headings: [...page.querySelectorAll("h2")].map(one => one.innerText),
  };
};
onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(look);
  document.getElementById("found").textContent = JSON.stringify(found);
};
</script>"""
FRAME = (
    '<iframe name="{0} {1}" src="report.html" style="border: 0; color-scheme: {1}" width="{0}"></iframe>'
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(not has_matplotlib(), reason="the extra 'plot' is not installed"),
]


def look(folder):
    """Return what the browser found at each width in each scheme, and its errors."""
    probe = folder / "probe.html"
    frames = "\n".join(FRAME.format(width, scheme) for width in WIDTHS for scheme in SCHEMES)
    probe.write_text(PROBE.replace("FRAMES", frames), encoding="utf-8")
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom",
        "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000",
    ]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *options, probe.as_uri()], capture_output=True, text=True, timeout=180, check=True
    )
    found = html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1])
    return json.loads(found), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def contrast(pair):
    """Return the ratio of two colours by the Web Content Accessibility Guidelines 2."""

    def luminance(color):
        parts = [float(part) / 255 for part in re.findall(r"[\d.]+", color)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, pair))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", MAKERS)
def test_the_page_in_a_browser(name, sections, tmp_path):
    text = html_page("Title", sections(name))
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    looks, errors = look(tmp_path)
    assert errors == []
    assert [one["name"] for one in looks] == [f"{w} {scheme}" for w in WIDTHS for scheme in SCHEMES]
    for found in looks:
        width, scheme = found["name"].split()
        assert found["requests"] == [] and found["inner"] == int(width)
        # tables scroll in boxes of their own
        assert max(found["closed"], found["opened"]) <= int(width) and found["wide"] == 0
        assert found["headings"] == [section.title for section in sections(name)]
        assert len(found["pictures"]) == text.count('<figure class="picture"')
        for picture in found["pictures"]:
            assert picture["width"] > 200 and picture["height"] > 50, picture["title"]
            assert picture["outside"] == [] and picture["overlaps"] == [], picture["title"]
            assert picture["letters"] > 8
            assert all(contrast((color, found["page"])) >= 4.5 for color in picture["colors"])
        assert (contrast((found["page"], "rgb(0, 0, 0)")) < 3) == (scheme == "dark")
        # shaded cells have colours of another notation; their shade is weak
        low = [pair for pair in found["colors"] if "color(" not in pair and contrast(pair.split("/")) < 4.5]
        assert low == []


def test_the_browser_sees_what_is_wrong(sections, tmp_path):
    """A script, a picture from elsewhere, a wide line and an empty picture are found."""
    text = html_page("Title", sections("small"))
    wrong = '<script>1</script><img src="none.png"><p style="width: 2000px; max-width: none">wide</p>'
    empty = '<figure class="picture"></figure>'
    (tmp_path / "report.html").write_text(
        text.replace("</main>", f"{wrong}{empty}</main>"), encoding="utf-8"
    )
    looks, errors = look(tmp_path)
    assert len(errors) >= 2 and all("Content Security Policy" in line for line in errors)
    assert all(found["closed"] > 1280 and found["pictures"][-1]["width"] == 0 for found in looks)
