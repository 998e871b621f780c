"""agwm: attention-guided weights mixup for finetuning pretrained models on few examples."""

from agwm._betty import HypergradientConfig
from agwm._version import __version__
from agwm.attention import Alpha
from agwm.engine import MixupEngine, build_engine
from agwm.errors import AgwmError, AgwmWarning
from agwm.finetune_config import FinetuneConfig, MixingConfig, SearchConfig, TrainingConfig
from agwm.finetune_result import FinetuneResult
from agwm.hypergradient import HYPERGRADIENT_TYPE, Hypergradient
from agwm.mixing import mix_weights
from agwm.mixup import Mixup, inject, mixup_of
from agwm.problems import AttentionProblem, TaskWeightProblem
from agwm.recipe import finetune
from agwm.saving import load

__all__ = [
    "HYPERGRADIENT_TYPE",
    "AgwmError",
    "AgwmWarning",
    "Alpha",
    "AttentionProblem",
    "FinetuneConfig",
    "FinetuneResult",
    "Hypergradient",
    "HypergradientConfig",
    "MixingConfig",
    "Mixup",
    "MixupEngine",
    "SearchConfig",
    "TaskWeightProblem",
    "TrainingConfig",
    "__version__",
    "build_engine",
    "finetune",
    "inject",
    "load",
    "mix_weights",
    "mixup_of",
]
