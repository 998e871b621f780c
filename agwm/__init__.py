"""agwm: attention-guided weights mixup for finetuning pretrained models on few examples.

Public names are imported when they are first used: the command line starts without PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from agwm._version import __version__
from agwm.betty_programs import register_with_betty
from agwm.betty_release import check_release
from agwm.errors import AgwmError, AgwmWarning
from agwm.late_names import late_names

if TYPE_CHECKING:
    from agwm.fitting.fit import fit
    from agwm.fitting.result import FitResult
    from agwm.hypergradient._betty import HypergradientConfig
    from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient
    from agwm.mixing.alpha import Alpha
    from agwm.mixing.functions import mix_weights
    from agwm.mixing.injection import inject, mixup_of
    from agwm.mixing.loading import load
    from agwm.mixing.mixup import Mixup
    from agwm.prediction.predictor import Predictor, load_predictor
    from agwm.recipe.config import AlphaConfig, FinetuneConfig, MixingConfig, SearchConfig
    from agwm.recipe.finetune import finetune
    from agwm.recipe.learned_alpha import learn_alpha
    from agwm.recipe.result import FinetuneResult
    from agwm.search.engine import MixupEngine
    from agwm.search.problems import AttentionProblem, TaskWeightProblem
    from agwm.search.wiring import build_engine
    from agwm.trainer.mixup_trainer import MixupTrainer
    from agwm.training.config import TrainingConfig

__all__ = [
    "HYPERGRADIENT_TYPE",
    "AgwmError",
    "AgwmWarning",
    "Alpha",
    "AlphaConfig",
    "AttentionProblem",
    "FinetuneConfig",
    "FinetuneResult",
    "FitResult",
    "Hypergradient",
    "HypergradientConfig",
    "MixingConfig",
    "Mixup",
    "MixupEngine",
    "MixupTrainer",
    "Predictor",
    "SearchConfig",
    "TaskWeightProblem",
    "TrainingConfig",
    "__version__",
    "build_engine",
    "finetune",
    "fit",
    "inject",
    "learn_alpha",
    "load",
    "load_predictor",
    "mix_weights",
    "mixup_of",
]

# Module -> the public names in it; the imports above tell the same to tools that read the source.
_LATE: dict[str, tuple[str, ...]] = {
    "agwm.fitting.fit": ("fit",),
    "agwm.fitting.result": ("FitResult",),
    "agwm.hypergradient._betty": ("HypergradientConfig",),
    "agwm.hypergradient.settings": ("HYPERGRADIENT_TYPE", "Hypergradient"),
    "agwm.mixing.alpha": ("Alpha",),
    "agwm.mixing.functions": ("mix_weights",),
    "agwm.mixing.injection": ("inject", "mixup_of"),
    "agwm.mixing.loading": ("load",),
    "agwm.mixing.mixup": ("Mixup",),
    "agwm.prediction.predictor": ("Predictor", "load_predictor"),
    "agwm.recipe.config": ("AlphaConfig", "FinetuneConfig", "MixingConfig", "SearchConfig"),
    "agwm.recipe.finetune": ("finetune",),
    "agwm.recipe.learned_alpha": ("learn_alpha",),
    "agwm.recipe.result": ("FinetuneResult",),
    "agwm.search.engine": ("MixupEngine",),
    "agwm.search.problems": ("AttentionProblem", "TaskWeightProblem"),
    "agwm.search.wiring": ("build_engine",),
    "agwm.trainer.mixup_trainer": ("MixupTrainer",),
    "agwm.training.config": ("TrainingConfig",),
}


def _register_type(place: str) -> None:
    if place.startswith("agwm.hypergradient."):  # who asks for the type wants it registered
        importlib.import_module("agwm.hypergradient.search_step")


__getattr__, __dir__ = late_names(globals(), _LATE, before=_register_type)

check_release()
register_with_betty()
