"""The methods of finetuning that can be compared, by the names that configs give them."""

from __future__ import annotations

from dataclasses import field, make_dataclass

from agwm.methods.child_d import ChildD
from agwm.methods.child_f import ChildF
from agwm.methods.dps_dense import DpsDense
from agwm.methods.dps_mix import DpsMix
from agwm.methods.lora import Lora
from agwm.methods.method import PLACES, Job, Method, OneLevelMethod, Outcome, Settings
from agwm.methods.mixout import Mixout
from agwm.methods.one_level_mixing import JointAlpha, RandomAlpha
from agwm.methods.prefix_tuning import PrefixTuning
from agwm.methods.prior_decay import PriorDecay
from agwm.methods.prompt_tuning import PromptTuning
from agwm.methods.r3f import R3F, R4F
from agwm.methods.r_drop import RDrop
from agwm.methods.re_init import ReInit
from agwm.methods.recadam import RecAdam
from agwm.methods.top_k import TopK
from agwm.methods.two_level import Agwm, Frozen
from agwm.methods.vanilla import Vanilla, VanillaLong

__all__ = [
    "METHODS",
    "PLACES",
    "Job",
    "Method",
    "OneLevelMethod",
    "Outcome",
    "RivalsConfig",
    "Settings",
    "make_method",
]

# In the order of tables.
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Vanilla,
        VanillaLong,
        PriorDecay,
        RecAdam,
        TopK,
        Mixout,
        R3F,
        R4F,
        RDrop,
        ChildD,
        ChildF,
        ReInit,
        DpsDense,
        DpsMix,
        PromptTuning,
        PrefixTuning,
        Lora,
        RandomAlpha,
        JointAlpha,
        Frozen,
        Agwm,
    )
}

RivalsConfig = make_dataclass(
    "RivalsConfig",
    [
        (name, method.settings_class, field(default_factory=method.settings_class))
        for name, method in METHODS.items()
        if method.settings_class is not None
    ],
    frozen=True,
)
RivalsConfig.__module__ = __name__
RivalsConfig.__doc__ = """Settings of the methods that have some of their own, each under its name."""


def make_method(name: str, rivals: RivalsConfig) -> Method:
    """Make a method for one run, with its settings.

    Args:
        name: A key of ``METHODS``.
        rivals: The settings of all of them.
    """
    return METHODS[name](getattr(rivals, name, None))
