"""Finetune a pretrained model on a few hundred examples, by agwm and by vanilla finetuning, and compare.

The same as `agwm compare`:

python examples/glue_lowres.py                                              # the defaults: no network
python examples/glue_lowres.py --config demo
python examples/glue_lowres.py --task stsb --data-dir glue --method vanilla --method agwm --seeds 3
python examples/glue_lowres.py --grid grids/minilm --data-dir glue --jobs 2      # many at once
python examples/glue_lowres.py --tune --data-dir glue                            # settings by dev score
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agwm.command_line.compare_flags import add_flags, run
from agwm.command_line.flags import Parser
from agwm.command_line.guard import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; None: those of the process.

    Returns:
        The exit code of :func:`agwm.command_line.guard.guarded`.
    """
    parser = Parser(description=__doc__)
    add_flags(parser)
    return run_command(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
