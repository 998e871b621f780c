"""The only module that imports Betty: feature check, registration, and every workaround.

``MendedProblem`` comes before Betty's ``ImplicitProblem`` among the bases and mends what betty-ml 0.2.1
does to the user's optimizer, scheduler, batches, frozen parameters and precision. ``register`` makes a
hypergradient known to Betty under a ``Config.type`` and gives its search step to the problems of any
Betty program that asks for that type.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agwm.batches import BatchSource, to_device
from agwm.errors import AgwmWarning, ConfigError
from agwm.hypergradient.settings import HYPERGRADIENT_TYPE, Hypergradient

_REMEDY = "pip install --ignore-requires-python 'betty-ml==0.2.1'"

try:
    import betty.hypergradient as betty_hypergradient
    from betty.configs import Config, EngineConfig
    from betty.engine import Engine
    from betty.logging.logger_base import get_logger
    from betty.problems import ImplicitProblem
except ImportError as error:
    raise ImportError(f"agwm needs Betty 0.2.1, got: {error}. Run: {_REMEDY}") from None


def missing_features() -> list[str]:
    """List what agwm needs and the installed Betty lacks; the version string is not to be trusted."""
    needs = {
        "Config.precision": "precision" in getattr(Config, "__dataclass_fields__", {}),
        "EngineConfig.strategy": "strategy" in getattr(EngineConfig, "__dataclass_fields__", {}),
        "hypergradient.jvp_fn_mapping": hasattr(betty_hypergradient, "jvp_fn_mapping"),
        "ImplicitProblem.training_step_exec": hasattr(ImplicitProblem, "training_step_exec"),
        "ImplicitProblem.meta_trainable_parameters": hasattr(ImplicitProblem, "meta_trainable_parameters"),
    }
    return [name for name, is_there in needs.items() if not is_there]


if missing_features():
    raise ImportError(
        f"agwm needs Betty 0.2.1, got one without {missing_features()[0]} (on Python 3.11 and newer pip"
        f" picks 0.1.1). Run: {_REMEDY}"
    )


@dataclass
class HypergradientConfig(Config):
    """Betty's ``Config`` with the settings of our hypergradient; give it to the inner problem.

    Attributes:
        hypergradient: Settings, or a mapping of their names; None: the defaults.
    """

    type: str = HYPERGRADIENT_TYPE
    hypergradient: Hypergradient | Mapping[str, Any] | None = None


# A mixin comes before a class of Betty's among the bases and derives from none. Any: the checker finds
# Betty's attributes in it.
_Mixin: Any = object


class MendedProblem(_Mixin):
    """Mixin: repairs of Betty's ``ImplicitProblem``."""

    scheduler: Any

    def patch_optimizer(self) -> None:
        """Keep the user's optimizer, param groups and all (Betty rebuilds it from its defaults).

        Raises:
            ConfigError: If the problem has no optimizer.
        """
        if self._strategy in ("zero", "fsdp", "accelerate"):
            super().patch_optimizer()
        elif self.optimizer is None:
            raise ConfigError(
                f"Problem {self.name!r} has no optimizer: expected one, got None."
                " Pass optimizer= or define configure_optimizer."
            )

    def patch_scheduler(self) -> None:
        """Keep the user's scheduler (Betty rebuilds it from its attributes).

        Raises:
            ConfigError: If the scheduler waits for a metric.
        """
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ConfigError(
                f"Scheduler of problem {self.name!r} waits for a metric: expected one that steps by itself,"
                " got ReduceLROnPlateau. Leave it out and step it in validate."
            )
        if self._strategy in ("zero", "fsdp", "accelerate"):
            super().patch_scheduler()

    def trainable_parameters(self) -> list[torch.nn.Parameter]:
        """Return the parameters that take gradient (Betty takes all, and a frozen one raises)."""
        return [p for p in super().trainable_parameters() if p.requires_grad]

    def patch_data_loader(self, loader: Any) -> BatchSource:
        """Wrap the loader so that its place can be kept."""
        return BatchSource(super().patch_data_loader(loader))

    def get_batch_single_loader(self, idx: int) -> Any:
        """Return the next batch; mappings as dicts, and the loader's own batch untouched."""
        batch = next(self.train_data_iterator[idx], None)
        if batch is None:
            if idx == 0:
                self.epoch_callback_exec()
            self.epoch_counter[idx] += 1
            self.train_data_iterator[idx] = iter(self.train_data_loader[idx])
            batch = next(self.train_data_iterator[idx])
        return to_device(batch, self.device)

    def training_step_exec(self, batch: Any) -> Any:
        """Run ``training_step`` under autocast of the device the model is on (Betty: CUDA's only)."""
        # A step may be taken again on the same batch: taking a key out must not last.
        batch = dict(batch) if isinstance(batch, dict) else batch
        if self.precision == "fp32" or self._strategy == "accelerate":
            return self.training_step(batch)
        with torch.autocast(torch.device(self.device).type, dtype=self.dtype):
            return self.training_step(batch)

    def get_loss(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss, scaled, and the numbers to log, without waiting for the device.

        Raises:
            ConfigError: If the loss is not a tensor of one number.
        """
        outcome = self.training_step_exec(batch)
        named = dict(outcome) if isinstance(outcome, dict) else {"loss": outcome}
        loss = named.pop("loss", None)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ConfigError(
                f"Loss of problem {self.name!r} is unusable: expected a tensor of one number, got"
                f" {type(loss).__name__} {tuple(getattr(loss, 'shape', ()))}. Return it from loss()."
            )
        self.last_loss = loss.detach()
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        return scaled / self.gas, {"loss": self.last_loss, **named}

    def step_normal(self, global_step: int | None = None) -> None:
        """Step the scheduler once an optimizer step (Betty: once a micro-batch)."""
        scheduler = self.scheduler
        if (self._count + 1) % self.gas:
            self.scheduler = None
        try:
            super().step_normal(global_step)
        finally:
            self.scheduler = scheduler

    def to_tree(self) -> dict[str, Any]:
        """Return all state of the problem (Betty leaves out steps, data order and epochs)."""
        return {
            **self.state_dict(),
            "count": self._count,
            "epochs": self.epoch_counter,
            "sources": [source.to_tree() for source in self.train_data_loader],
        }

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`; the loaders go on where they were."""
        self.load_state_dict(dict(tree))
        self._count = tree["count"]
        self.epoch_counter = list(tree["epochs"])
        self.train_data_iterator = [
            source.resume(place)
            for source, place in zip(self.train_data_loader, tree["sources"], strict=True)
        ]


HOOKS: tuple[str, ...] = (
    "configure_train_data_loader",
    "configure_module",
    "configure_optimizer",
    "configure_scheduler",
    "param_groups",
    "get_batch",
    "on_inner_loop_start",
    "grad_callback",
    "param_callback",
    "custom_optimizer_step",
    "epoch_callback",
    "training_step",
)


def warn_of_misspelt_hooks(own: type, base: type) -> None:
    """Warn of methods of a problem that are close to a hook's name: Betty finds hooks by name only.

    Args:
        own: The problem's class.
        base: The class of ours that it was made from; what that has is no misspelling.
    """
    for name in dir(own):
        if name.startswith("_") or name in HOOKS or hasattr(base, name) or not callable(getattr(own, name)):
            continue
        close = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.85)
        if close:
            warnings.warn(
                f"{own.__name__}.{name} is never called: expected the name of a hook of Betty's, got one"
                f" close to {close[0]!r}. Rename it.",
                AgwmWarning,
                stacklevel=4,
            )


_adopters: dict[str, type] = {}
_adopted: dict[tuple[type, type], type] = {}


def register(kind: str, hypergradient: Callable[..., Any], step: type) -> None:
    """Make a hypergradient known to Betty.

    Args:
        kind: The ``Config.type`` that asks for it.
        hypergradient: ``f(vector, curr, prev, sync)``, as Betty calls it.
        step: Mixed into the problems of every engine in which a problem asks for it.
    """
    betty_hypergradient.jvp_fn_mapping[kind] = hypergradient
    _adopters[kind] = step


def _adopt(problem: Any, step: type) -> None:
    own = type(problem)
    if not isinstance(problem, step):
        if (own, step) not in _adopted:
            body = {"__module__": own.__module__, "__qualname__": own.__qualname__}
            _adopted[own, step] = type(own.__name__, (step, own), body)
        problem.__class__ = _adopted[own, step]


_stock_initialize = Engine.initialize


def _initialize(engine: Engine) -> None:
    for kind in {problem.config.type for problem in engine.problems} & set(_adopters):
        for problem in engine.problems:
            _adopt(problem, _adopters[kind])
    _stock_initialize(engine)


Engine.initialize = _initialize


@contextmanager
def quiet_betty() -> Iterator[None]:
    """Silence Betty's announcements, which go to standard output, for the body."""
    logger = get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)
