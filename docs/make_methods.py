"""Write ``methods/index.md``: where each method acts, what it costs, and which models it works on.

Run from the root of the repository: ``python -m docs.make_methods``. Every cell of the matrix is a tiny
model of the family that is finetuned here, or refused.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agwm.files import write_text
from agwm.markdown import table
from agwm.methods import METHODS
from agwm.testing.methods import check_learning
from agwm.testing.tiny_models import FAMILIES
from tests.methods.cells import EPOCHS, refusal_of, small_method

PAGE = Path(__file__).parent / "methods" / "index.md"

HEAD = """# Methods

All of them are run by `--method NAME` of [the example](../../examples/README.md), from the same
pretrained weights, on the same examples, with the same data order for a seed. Settings stand in
`agwm/configs/default.yaml`, under `rivals` for those that have some of their own. This page is written by
`python -m docs.make_methods`.

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
    methods = [
        (
            f"[`{name}`]({method.card or name}.md)",
            ", ".join(method.acts_on) or "-",
            str(method.passes_per_step),
        )
        for name, method in METHODS.items()
    ]
    cells = {name: [cell(name, family) for family in FAMILIES] for name in METHODS}
    reasons = [
        refusal_of(name, family)
        for name, own in cells.items()
        for family, text in zip(FAMILIES, own, strict=True)
        if text != "yes"
    ]
    return "".join(
        (
            HEAD,
            table(("method", "acts on", "passes a step"), methods, is_padded=False),
            MATRIX,
            table(("", *FAMILIES), [(f"`{name}`", *own) for name, own in cells.items()], is_padded=False),
            "\n",
            *(f"- {reason}\n" for reason in dict.fromkeys(reasons)),
        )
    )


if __name__ == "__main__":
    write_text(PAGE, page())
