"""Write ``methods/index.md``: where each method acts, what it costs, and which models it works on.

Run from the root of the repository: ``python -m docs.make_methods``. Every cell of the matrix is a tiny
model of the family that is finetuned here, or refused.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agwm.files import write_text
from agwm.methods import METHODS
from agwm.testing.families import FAMILIES
from agwm.testing.methods import check_learning
from tests.methods.cells import EPOCHS, refusal_of, small_method

PAGE = Path(__file__).parent / "methods" / "index.md"

HEAD = """# Methods

All of them are run by `--method NAME` of [the example](../../examples/README.md), from the same
pretrained weights, on the same examples, with the same data order for a seed. Settings stand in
`configs/default.yaml`, under `rivals` for those that have some of their own. This page is written by
`python -m docs.make_methods`.

| method | acts on | passes a step |
|---|---|---|
"""

MATRIX = """
## Which models

Tiny models with random weights, finetuned by the script that wrote this page: `yes` says that a run went
through and that every part of the head trained. Refused cells say why before any training. XLNet and
Llama are padded on the left, as by their tokenizers; `prompt_tuning` of Llama refuses padding on the right.

"""


def cell(name: str, family: str) -> str:
    """Finetune a tiny model and return what the matrix says."""
    if refusal_of(name, family) is not None:
        return "refused"
    check_learning(partial(small_method, name), family, epochs=EPOCHS)
    return "yes"


def page() -> str:
    """Return the page."""
    lines = []
    for name, method in METHODS.items():
        link, acts_on = f"[`{name}`]({method.card or name}.md)", ", ".join(method.acts_on) or "-"
        lines.append(f"| {link} | {acts_on} | {method.passes_per_step} |")
    table = ["| | " + " | ".join(FAMILIES) + " |", "|---" * (len(FAMILIES) + 1) + "|"]
    reasons = []
    for name in METHODS:
        cells = [cell(name, family) for family in FAMILIES]
        table.append(f"| `{name}` | " + " | ".join(cells) + " |")
        reasons += [
            refusal_of(name, family) for family, text in zip(FAMILIES, cells, strict=True) if text != "yes"
        ]
    found = "".join(f"- {reason}\n" for reason in dict.fromkeys(reasons))
    return HEAD + "\n".join(lines) + "\n" + MATRIX + "\n".join(table) + "\n\n" + found


if __name__ == "__main__":
    write_text(PAGE, page())
