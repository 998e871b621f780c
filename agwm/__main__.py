"""``python -m agwm``, the same as ``agwm``."""

from __future__ import annotations

import sys

from agwm.command_line.main import main

if __name__ == "__main__":
    sys.exit(main())
