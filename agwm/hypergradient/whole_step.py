"""Betty's step, made so that a run that was interrupted goes on as if it had not been.

A step draws a batch, makes a pass, sets gradients, steps the optimizer and lets the problems above step.
Whatever is raised on the way, the problem remembers how far it came, and the next ``step`` goes on there.
A pass is made again on the same batch from the same random states and buffers. What was half done and
cannot be undone (an optimizer's step, a hook that may have changed something) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agwm.errors import HypergradientError
from agwm.hypergradient.mended_problem import MendedProblem
from agwm.hypergradient.pass_state import PassState, Scope
from agwm.rng import RngState

__all__ = ["Moment", "WholeStep"]

Moment = tuple[Any, PassState]  # a batch, and the state before its forward pass


@dataclass
class Standing:
    """How far a problem came in its present step.

    Attributes:
        stage: What comes next: ``"start"``, ``"descent"``, ``"schedule"``, ``"above"`` or ``"retake"``.
        moment: The micro-batch that is being taken; None: none is.
        has_gradient: True if its gradients are set.
        has_stepped: True if the optimizer has stepped.
        torn: What was half done when something was raised; empty: nothing.
        numbers: The numbers to log.
        served: Problems above that have stepped.
        scope: Where the state of a pass is looked for; None: not known yet.
        taken: Batches that ``get_batch`` took of the loaders, with the loader's number, until it returns.
        cursor: How many of them it took, or took again; None: it is not running.
        left: State at the moment when something was raised; None: nothing was.
    """

    stage: str = "start"
    moment: Moment | None = None
    has_gradient: bool = False
    has_stepped: bool = False
    torn: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    served: list[Any] = field(default_factory=list)
    scope: Scope | None = None
    taken: list[tuple[int, Any]] = field(default_factory=list)
    cursor: int | None = None
    left: PassState | None = None


class WholeStep(MendedProblem):
    """Betty's ``ImplicitProblem`` with a step that can be interrupted."""

    def initialize(self) -> None:
        """Set up the problem, which stands at the start of a step."""
        self._standing = Standing()
        self._leaves: list[Any] = []
        super().initialize()

    def load_tree(self, tree: Mapping[str, Any]) -> None:
        """Take back the state of :meth:`to_tree`; an interrupted step is forgotten."""
        super().load_tree(tree)
        self._standing = Standing()
        self._inner_loop_start = True
        self.ready = [False] * len(self._children)

    def train(self) -> None:
        """Switch to training mode; the next pass looks for modules and generators anew."""
        super().train()
        self._standing.scope = None

    @property
    def is_unfinished(self) -> bool:
        """True if the last call of ``step`` was interrupted."""
        return self._standing.left is not None

    def step(self, global_step: int | None = None) -> None:
        """Take a step, or the rest of the one that was interrupted."""
        at = self._standing
        later = self._leaves[self._leaves.index(self) + 1 :] if self in self._leaves else []
        if at.left is None and any(leaf.is_unfinished for leaf in later):
            return  # this problem had stepped when a later one was interrupted
        if at.left is not None:
            at.left.restore()
            at.left = None
        self._global_step = global_step
        try:
            if at.stage != "retake":
                self.step_normal(global_step)
            num_unrolled = self._unroll_steps * self.gas
            if self._count % num_unrolled == 0 and self._count > self.warmup_steps:
                at.stage = "retake"
                self.step_after_roll_back()
                at.stage = "start"
        except BaseException:
            at.left = PassState.capture(self._scope)
            raise

    def step_normal(self, global_step: int | None = None) -> None:
        """Descend once, step the scheduler once an optimizer step, then let the problems above step."""
        at = self._standing
        if not self.check_ready():
            return
        self._check_whole()
        if at.stage == "start":
            if self._inner_loop_start:
                self._start_loop()
            if self._training:
                self._count += 1
            at.stage = "descent"
        if at.stage == "descent":
            at.numbers = self.one_step_descent() or {}
            at.stage = "schedule"
        if at.stage == "schedule":
            if self.scheduler is not None and not self._roll_back and self._count % self.gas == 0:
                with self._half_done("the scheduler's step"):
                    self.scheduler.step()
            at.stage = "above"
            if self.log_step > 0 and self._count % self.log_step == 0 and self.is_rank_zero():
                self.log(at.numbers, global_step)
        num_unrolled = self._unroll_steps * self.gas
        if self._training and self._count % num_unrolled == 0 and self._count > self.warmup_steps:
            for problem in self._parents:
                if problem not in at.served:
                    problem.ready[problem.children.index(self)] = True
                    problem.step_normal(global_step=global_step)
                    at.served.append(problem)
            self._inner_loop_start = True
        at.stage, at.served, at.numbers = "start", [], {}
        self.ready = [False] * len(self._children)

    def _start_loop(self) -> None:
        if self.is_implemented("on_inner_loop_start"):
            with self._half_done("on_inner_loop_start"):
                self.on_inner_loop_start()
        if self._roll_back:
            self.cache_states()
        self._inner_loop_start = False

    def one_step_descent(self, batch: Any = None) -> dict[str, Any]:
        """Take a micro-batch; where it completes an accumulation, step the optimizer.

        Gradients are set, not added, where an accumulation begins: what a warm-up or a look at a gradient
        left in ``.grad`` is dropped.

        Args:
            batch: The micro-batch; None: the next of the loader.

        Returns:
            The numbers to log.
        """
        at = self._standing
        if self._training and (self._count - 1) % self.gas == 0 and not at.has_gradient:
            self.zero_grad()
        if at.moment is None:
            if batch is None:
                batch = self.cur_batch = self._take_batch()
            at.moment = (batch, PassState.capture(self._scope))
        elif not at.has_gradient:
            at.moment[1].restore()
        if not at.has_gradient:
            loss, at.numbers = self.get_loss(at.moment[0])
            self.backward(
                loss=loss,
                params=self.trainable_parameters(),
                paths=self._paths,
                create_graph=not self._first_order,
                retain_graph=self._retain_graph,
                allow_unused=self._allow_unused,
            )
            at.has_gradient = True
            if self.is_implemented("grad_callback"):
                with self._half_done("grad_callback"):
                    self.grad_callback()
        numbers = at.numbers
        if self._count % self.gas == 0:
            self._finish_step()
        at.moment, at.has_gradient, at.has_stepped = None, False, False
        return numbers

    def _finish_step(self) -> None:
        at = self._standing
        if not at.has_stepped:
            with self._half_done("optimizer_step"):
                self.optimizer_step()
                if self.is_implemented("param_callback"):
                    self.param_callback()
                self._after_step()
            at.has_stepped = True
        if self._strategy != "default" and self._count % (self.gas * 20) == 0:
            self.synchronize_params(self.trainable_parameters())
        self.zero_grad()

    def _after_step(self) -> None:
        """Do what follows each step of the optimizer, whatever hooks a user defines."""

    @property
    def _scope(self) -> Scope:
        at = self._standing
        if at.scope is None:
            at.scope = Scope.of(self)
        return at.scope

    def _check_whole(self) -> None:
        torn = self._standing.torn
        if torn:
            raise HypergradientError(
                f"Problem {self.name!r} cannot go on: expected an interruption in a loss or between steps,"
                f" got one in the middle of {torn}, which is half done. Resume from a checkpoint, or build"
                " anew."
            )

    @contextmanager
    def _half_done(self, name: str) -> Iterator[None]:
        """Note that the body was begun; what is raised in it leaves the note."""
        outside, self._standing.torn = self._standing.torn, name
        yield
        self._standing.torn = outside

    def _take_batch(self) -> Any:
        """Call ``get_batch``; if it raises, the next call sees the same random state and batches."""
        at, state = self._standing, RngState.capture(self._scope.device)
        at.cursor = 0
        try:
            batch = self.get_batch()
        except BaseException:
            state.restore()
            raise
        at.taken, at.cursor = [], None
        return batch

    def get_batch_single_loader(self, idx: int) -> Any:
        """Return the next batch of a loader; the same again if ``get_batch`` was interrupted after it."""
        at = self._standing
        if at.cursor is None:
            return super().get_batch_single_loader(idx)
        if at.cursor == len(at.taken):
            at.taken.append((idx, super().get_batch_single_loader(idx)))
        at.cursor += 1
        return at.taken[at.cursor - 1][1]
