"""The rules that every method of finetuning keeps, each as a check on tiny models."""

from __future__ import annotations

import dataclasses
import importlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import AutoModelForSequenceClassification

from agwm.errors import AgwmError, ConfigError, MethodError
from agwm.methods import PLACES, Method, Outcome
from agwm.methods.virtual_tokens import count_from_first_token
from agwm.recipe.config import FinetuneConfig
from agwm.testing.jobs import job_of, side_of, unmoved_head
from agwm.testing.resuming import check_resuming
from agwm.testing.tiny_models import FAMILIES, batch, pretrained

__all__ = [
    "check_class",
    "check_learning",
    "check_method",
    "check_repetition",
    "check_saving",
    "refusal",
]

Make = Callable[[], Method]


def check_method(
    method: type[Method],
    settings: Any = None,
    families: Sequence[str] = tuple(FAMILIES),
    epochs: int = 6,
) -> dict[str, str | None]:
    """Raise unless a method keeps every rule, on tiny models with random weights.

    A method states its attributes truly, refuses a model before any training or learns on it, trains every
    part of the head, counts its passes beforehand, repeats by seed, saves a model that loads again, and
    goes on where it was stopped.

    Args:
        method: A subclass of :class:`agwm.methods.Method`; it need not be in ``METHODS``.
        settings: Its settings, such that a tiny model learns quickly; None: the defaults.
        families: Keys of ``agwm.testing.FAMILIES``.
        epochs: Passes over 24 examples; the learning rate is 5e-3 where the settings have none.

    Returns:
        Family -> the reason for which the method refuses it, or None where it works.

    Raises:
        MethodError: If the method breaks a rule; the message names the rule and the family.

    Example:
        >>> from agwm.methods.vanilla import Vanilla
        >>> check_method(Vanilla, families=["bert"])
        {'bert': None}
    """
    check_class(method)

    def make() -> Method:
        return method(settings)

    reasons = {family: refusal(make, family) for family in families}
    working = [family for family, reason in reasons.items() if reason is None]
    if not working:
        _refuse(method.name, ", ".join(families), "a family that it works on", "refusals only")
    for family in working:
        for num_labels in (2, 1):
            if refusal(make, family, num_labels) is None:
                check_learning(make, family, num_labels, epochs)
        check_repetition(make, family)
        check_saving(make, family)
        check_resuming(make, family)
    return reasons


def check_class(method: type[Method]) -> None:
    """Raise unless the class attributes of a method are right, and its settings are checked.

    Raises:
        MethodError: If not.
    """
    name = getattr(method, "name", None)
    if not (isinstance(name, str) and name.isidentifier()):
        _refuse(method.__name__, "its class", "a name that is an identifier", repr(name))
    if unknown := set(method.acts_on) - set(PLACES):
        _refuse(name, "acts_on", f"names out of {', '.join(PLACES)}", ", ".join(sorted(unknown)))
    sections = {"vanilla", *(entry.name for entry in dataclasses.fields(FinetuneConfig))} - {"seed"}
    if unknown := set(method.sections) - sections:
        _refuse(name, "sections", f"names out of {', '.join(sorted(sections))}", str(sorted(unknown)))
    if stray := {key for key in method().unused() if key.partition(".")[0] not in method.sections}:
        _refuse(name, "unused()", "settings of its sections", ", ".join(sorted(stray)))
    settings: Any = method.settings_class
    for entry in dataclasses.fields(settings) if settings else ():
        try:
            settings(**{entry.name: object()})
        except ConfigError:
            continue
        _refuse(name, f"setting {entry.name}", "ConfigError for a value of no known type", "none")


def refusal(make: Make, family: str, num_labels: int = 2) -> str | None:
    """Return why a method refuses a family before any training, or None.

    Raises:
        MethodError: If ``check`` changes the model, or a refusal does not say what was expected.
    """
    loaded, method = pretrained(family, num_labels), make()
    before = {key: tensor.clone() for key, tensor in loaded.model.state_dict().items()}
    needs = [parameter.requires_grad for parameter in loaded.model.parameters()]
    reason = None
    try:
        method.check(loaded, FinetuneConfig())
    except AgwmError as error:
        reason = str(error)
        if " expected " not in f" {reason}" or not reason.endswith("."):
            _refuse(method.name, family, "a refusal of the form 'expected X, got Y. Do Z.'", reason)
    after = loaded.model.state_dict()
    is_same = after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in after)
    if not is_same or needs != [parameter.requires_grad for parameter in loaded.model.parameters()]:
        _refuse(method.name, family, "check() to leave the model as it was", "another state")
    return reason


def check_learning(make: Make, family: str, num_labels: int = 2, epochs: int = 6) -> Outcome:
    """Raise unless a run learns, trains every part of the head and takes the passes it foretold.

    Raises:
        MethodError: If not.
    """
    method, loaded = make(), pretrained(family, num_labels)
    inputs = batch(num_labels=num_labels, side=side_of(family))
    with torch.no_grad():
        before = float(loaded.model(**inputs).loss)
    job = job_of(loaded, num_labels=num_labels, epochs=epochs, side=side_of(family))
    outcome = method.run(job)
    with torch.no_grad():
        after = outcome.model(**inputs)
    if outcome.model.training:
        _refuse(method.name, family, "a model in evaluation mode", "one in training mode")
    if not bool(torch.isfinite(after.logits).all()):
        _refuse(method.name, family, "finite outputs", "NaN or infinity")
    if not float(after.loss) < before:
        _refuse(method.name, family, f"a loss below {before:.4g}", f"{float(after.loss):.4g}")
    if not method.replaces_head and (left := unmoved_head(outcome.model, family, num_labels)):
        _refuse(method.name, family, "a head that trains", f"untrained {', '.join(sorted(left))}")
    foretold = make().passes(job.training, job.recipe, len(job.examples), num_labels == 1)
    if outcome.passes != foretold or outcome.passes <= 0:
        _refuse(method.name, family, f"{foretold} passes, as passes() says", str(outcome.passes))
    if not outcome.seconds:
        _refuse(method.name, family, "the time of each stage", "none")
    return outcome


def check_repetition(make: Make, family: str) -> None:
    """Raise unless one seed gives one model, bit for bit, and another seed another, if seeds matter to it.

    Raises:
        MethodError: If not.
    """
    states = [make().run(job_of(pretrained(family), seed)).model.state_dict() for seed in (3, 3, 4)]
    same = [all(torch.equal(states[0][key], other[key]) for key in states[0]) for other in states[1:]]
    if not same[0]:
        _refuse(make().name, family, "one model from one seed", "another model")
    if same[1] == make().is_seeded:
        kind = "the same" if same[1] else "another"
        _refuse(
            make().name,
            family,
            f"is_seeded to say it: {same[1] is False}",
            f"{kind} model from another seed",
        )


def check_saving(make: Make, family: str) -> None:
    """Raise unless what a run saves loads again, and gives the same outputs.

    Raises:
        MethodError: If not.
    """
    with tempfile.TemporaryDirectory() as name:
        loaded = pretrained(family, tmp_path=Path(name) / "tokenizer")
        loaded.tokenizer.padding_side = side_of(family)
        outcome = make().run(job_of(loaded, side=side_of(family)))
        outcome.save(Path(name) / "saved")
        again = _load(Path(name) / "saved", family)
    inputs = batch(side=side_of(family))
    with torch.no_grad():
        found, expected = again(**inputs).logits, outcome.model(**inputs).logits
    if not torch.allclose(found, expected, rtol=1e-5, atol=1e-6):
        far = float((found - expected).abs().max())
        _refuse(make().name, family, "the same outputs from the saved model", f"{far:.2g} apart")


def _load(folder: Path, family: str) -> torch.nn.Module:
    if not (folder / "adapter_config.json").exists():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()
    model = importlib.import_module("peft").PeftModel.from_pretrained(pretrained(family).model, folder)
    if family == "llama":  # as the cards of prompt tuning and prefix-tuning tell users to do
        model.get_base_model().register_forward_pre_hook(count_from_first_token, with_kwargs=True)
    return model.eval()


def _refuse(name: str, where: str, expected: str, got: str) -> NoReturn:
    raise MethodError(
        f"Method {name!r} breaks a rule on {where}: expected {expected}, got {got}."
        " Read agwm.methods.Method, and correct the method."
    ) from None
