"""The section on the search in the card that Trainer writes beside a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from agwm._version import __version__
from agwm.cards import TAGS
from agwm.files import write_text
from agwm.mixing.alpha import Attention
from agwm.recipe.config import FinetuneConfig
from agwm.search.measures import alpha_overall

__all__ = ["add_section", "with_tags"]

_TEXT = """
## Attention-guided weights mixup

`agwm.MixupTrainer` of agwm {version} made two phases: a search of the task weights `W` and of attention
parameters alpha, then the training above with alpha fixed. The weights of this model are the
mixed ones, of `W`, the pretrained weights and alpha: `from_pretrained` loads them without agwm. Over {num}
mixed weights alpha has mean {mean:.4f} and standard deviation {std:.4f}.

Settings of the search:

```yaml
{settings}```
"""


def with_tags(tags: str | Iterable[str] | None) -> list[str]:
    """Return tags of a card, with those of agwm after them."""
    given = [tags] if isinstance(tags, str) else list(tags or ())
    return list(dict.fromkeys([*given, *TAGS]))


def add_section(card: Path, config: FinetuneConfig, attention: Attention) -> None:
    """Write at the end of a card the settings of the search, and the alpha that it ended with.

    Args:
        card: The file.
        config: The settings; those of final finetuning are left out, as Trainer's own take their place.
        attention: The learned factors of alpha.
    """
    every = config.to_dict()
    settings = {name: every[name] for name in ("search", "mixing", "hypergradient", "seed")}
    alpha = alpha_overall(attention)
    section = _TEXT.format(
        version=__version__,
        num=len(attention),
        mean=alpha["alpha_mean"],
        std=alpha["alpha_std"],
        settings=yaml.safe_dump(settings, sort_keys=False),
    )
    write_text(card, card.read_text(encoding="utf-8") + section)
