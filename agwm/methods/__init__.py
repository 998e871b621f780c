"""The methods of finetuning, by the names that configs use."""

from __future__ import annotations

from dataclasses import dataclass, field

from agwm.methods.child_d import ChildD, ChildDSettings
from agwm.methods.child_f import ChildF, ChildFSettings
from agwm.methods.dps_dense import DpsDense, DpsDenseSettings
from agwm.methods.dps_mix import DpsMix, DpsMixSettings
from agwm.methods.lora import Lora, LoraSettings
from agwm.methods.method import PLACES, Job, Method, OneLevelMethod, Outcome, Settings
from agwm.methods.mixout import Mixout, MixoutSettings
from agwm.methods.one_level_mixing import JointAlpha, JointAlphaSettings, RandomAlpha, RandomAlphaSettings
from agwm.methods.prefix_tuning import PrefixTuning, PrefixTuningSettings
from agwm.methods.prior_decay import PriorDecay, PriorDecaySettings
from agwm.methods.probe import Probe, ProbeSettings
from agwm.methods.prompt_tuning import PromptTuning, PromptTuningSettings
from agwm.methods.r3f import R3F, R4F, R3FSettings
from agwm.methods.r_drop import RDrop, RDropSettings
from agwm.methods.re_init import ReInit, ReInitSettings
from agwm.methods.recadam import RecAdam, RecAdamSettings
from agwm.methods.setfit import SetFit
from agwm.methods.top_k import TopK, TopKSettings
from agwm.methods.two_level import Agwm, AsDrawn, Frozen
from agwm.methods.vanilla import Vanilla, VanillaLong, VanillaSteps
from agwm.methods.weight_average import WeightAverage, WeightAverageSettings
from agwm.methods.wise_ft import WiseFt, WiseFtSettings

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

# Tables list the methods in this order.
METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Vanilla,
        VanillaSteps,
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
        Probe,
        SetFit,
        WiseFt,
        WeightAverage,
        RandomAlpha,
        JointAlpha,
        Frozen,
        AsDrawn,
        Agwm,
    )
}


@dataclass(frozen=True)
class RivalsConfig:
    """The methods' own settings, each under the name of its method."""

    prior_decay: PriorDecaySettings = field(default_factory=PriorDecaySettings)
    recadam: RecAdamSettings = field(default_factory=RecAdamSettings)
    top_k: TopKSettings = field(default_factory=TopKSettings)
    mixout: MixoutSettings = field(default_factory=MixoutSettings)
    r3f: R3FSettings = field(default_factory=R3FSettings)
    r4f: R3FSettings = field(default_factory=R3FSettings)
    r_drop: RDropSettings = field(default_factory=RDropSettings)
    child_d: ChildDSettings = field(default_factory=ChildDSettings)
    child_f: ChildFSettings = field(default_factory=ChildFSettings)
    re_init: ReInitSettings = field(default_factory=ReInitSettings)
    dps_dense: DpsDenseSettings = field(default_factory=DpsDenseSettings)
    dps_mix: DpsMixSettings = field(default_factory=DpsMixSettings)
    prompt_tuning: PromptTuningSettings = field(default_factory=PromptTuningSettings)
    prefix_tuning: PrefixTuningSettings = field(default_factory=PrefixTuningSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    setfit: Settings = field(default_factory=Settings)
    wise_ft: WiseFtSettings = field(default_factory=WiseFtSettings)
    weight_average: WeightAverageSettings = field(default_factory=WeightAverageSettings)
    random_alpha: RandomAlphaSettings = field(default_factory=RandomAlphaSettings)
    joint_alpha: JointAlphaSettings = field(default_factory=JointAlphaSettings)


def make_method(name: str, rivals: RivalsConfig) -> Method:
    """Return the object of a method for one run, with its settings.

    Args:
        name: A key of ``METHODS``.
        rivals: The settings of all methods.
    """
    return METHODS[name](getattr(rivals, name, None))
