"""agwm: attention-guided weights mixup for finetuning pretrained models on few examples."""

from agwm._version import __version__
from agwm.errors import AgwmError, AgwmWarning
from agwm.hypergradient._betty import HypergradientConfig
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient
from agwm.mixing.alpha import Alpha
from agwm.mixing.functions import mix_weights
from agwm.mixing.injection import inject, mixup_of
from agwm.mixing.loading import load
from agwm.mixing.mixup import Mixup
from agwm.recipe.config import FinetuneConfig, MixingConfig, SearchConfig
from agwm.recipe.finetune import finetune
from agwm.recipe.result import FinetuneResult
from agwm.search.engine import MixupEngine
from agwm.search.problems import AttentionProblem, TaskWeightProblem
from agwm.search.wiring import build_engine
from agwm.training.config import TrainingConfig

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
