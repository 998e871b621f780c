"""The page of the examples with outer data is what its records say, and its pictures show all of them."""

from __future__ import annotations

from docs import make_outer_data


def test_the_page_is_up_to_date():
    page = make_outer_data.PAGE.read_text(encoding="utf-8")
    assert page == make_outer_data.page(), "run: python -m docs.make_outer_data"


def made_runs(outer, methods, gain):
    settings = {"learning_rate": 1e-4, "attention_learning_rate": 0.1}
    return [
        {
            "method": method,
            "settings": settings,
            "seed": seed,
            "test": {"accuracy": 80 + seed + gain * place},
            "seconds": 3600.0,
            "outer": outer,
            "card": None,
        }
        for place, method in enumerate(methods)
        for seed in (1, 2, 3)
    ]


def test_tables_and_pictures_come_from_the_records(tmp_path):
    from agwm.files import write_json

    methods = ["plain", "union", "agwm_scalar", "agwm_rank1"]
    write_json(tmp_path / "continual.json", made_runs(120, methods, 1.0))
    write_json(tmp_path / "continual_30.json", made_runs(30, methods[1:], 0.5))
    text = make_outer_data.section(tmp_path)
    assert "### continual" in text and "noisy_labels" not in text
    assert "12 runs, 12.0 hours in all, on a CPU." in text
    assert "+2.0 [+2.0, +2.0]" in text  # agwm_scalar minus plain: all differences are equal
    by_number = make_outer_data.numbers("continual", tmp_path)
    assert list(by_number) == [30, 120] and list(by_number[120]) == methods[1:]  # what both have
    assert "| agwm_rank1 | 120            | 85.0  |" in text  # 82 on average, and three times the gain
    make_outer_data.draw_differences(make_outer_data.found(tmp_path), tmp_path / "differences.png")
    make_outer_data.draw_numbers(tmp_path, tmp_path / "numbers.png")
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("differences.png", "numbers.png"))
