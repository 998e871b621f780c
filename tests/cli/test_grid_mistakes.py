"""What is wrong with a grid's cells: found before the first run, or where another process made it so."""

from __future__ import annotations

import pytest

from agwm.errors import ConfigError
from agwm.grid import run
from agwm.grid.cells import load_grid
from agwm.grid.tickets import make_tickets


def test_a_record_that_another_process_makes_with_other_settings_is_no_result(grid_file, monkeypatch):
    """The other one starts when this one has checked that there is no record."""
    path = grid_file(methods={"vanilla": {}}, seeds=2)
    cells = load_grid(path).cells
    (others, _), real = make_tickets(load_grid(path, assignments=["vanilla.epochs=2"]).cells), run.run_loops

    def after_the_other(tickets, *rest):
        real(others[:1], 0, "threading", 1)
        return real(tickets, *rest)

    monkeypatch.setattr(run, "run_loops", after_the_other)
    with pytest.raises(ConfigError, match=r"expected vanilla.epochs = 1, got 2"):
        run.run_grid(cells, jobs=0, progress=False)
