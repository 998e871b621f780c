"""Run the benchmark from the command line and print its page."""

from __future__ import annotations

import sys

from agwm.errors import AgwmError
from benchmarks.bench import main
from benchmarks.page import render

if __name__ == "__main__":
    try:
        print(render(main()))
    except AgwmError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
