"""Run the benchmark from the command line and print its page."""

from __future__ import annotations

import sys

from agwm.command_line.guard import guarded
from benchmarks.bench import main
from benchmarks.page import render

if __name__ == "__main__":
    sys.exit(guarded(lambda: print(render(main()))))
