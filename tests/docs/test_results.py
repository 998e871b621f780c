"""What the README, the page of results and the reports tell of results is what their records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import make_results
from tests.experiments.reporting.synthetic import make_records, write_records

ROOT = Path(__file__).resolve().parents[2]
HAS_RECORDS = bool(make_results.folders())
UPDATE = "run: python -m docs.make_results"


@pytest.mark.skipif(not HAS_RECORDS, reason="no records in docs/results")
def test_readme_and_page_are_up_to_date():
    assert (ROOT / "README.md").read_text(encoding="utf-8") == make_results.readme(), UPDATE
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == make_results.page(), UPDATE


@pytest.mark.skipif(not HAS_RECORDS, reason="no records in docs/results")
def test_reports_are_up_to_date():
    for path, text in make_results.reports().items():
        assert path.exists(), f"{path} is missing; {UPDATE}"
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(ROOT)}; {UPDATE}"


def test_the_section_is_made_from_records_alone(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    folder = write_records(tmp_path / "docs" / "results" / "tiny", make_records())
    rte = [record for record in make_records() if record.task == "rte"]
    write_records(tmp_path / "docs" / "results" / "one", rte)
    (folder / "README.md").write_text("A made-up comparison:\n")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- results:begin -->\n77.7\n<!-- results:end -->\n")
    page = tmp_path / "docs" / "results.md"
    page.write_text("before\n<!-- results:begin -->\nold 99.99\n<!-- results:end -->\nafter\n")
    make_results.main(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results:begin -->\n") and text.endswith(
        "<!-- results:end -->\nafter\n"
    )
    assert "99.99" not in text
    assert "**tiny** ([report](results/tiny/report.md)): A made-up comparison:" in text
    assert "60.00 ± 8.16 (1 degenerate)" in text  # several tasks: methods by tasks
    assert "| passes |" in text  # one task: with its cost
    assert (folder / "report.md").exists() and (folder / "scores--tiny--n300.png").exists()
    assert make_results.page(tmp_path) == text  # made anew between its marks
    assert "77.7" not in readme.read_text() and "No experiment has been made." in readme.read_text()
