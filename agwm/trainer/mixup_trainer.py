"""``transformers.Trainer`` whose training begins with a search of W and alpha."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from datasets import Dataset
from torch import nn
from transformers import Trainer

from agwm.cards import CARD_FILE
from agwm.errors import AgwmWarning
from agwm.hypergradient.settings import Hypergradient
from agwm.mixing.alpha import Attention
from agwm.mixing.injection import check_plain
from agwm.mixing.mixup import Mixup
from agwm.mixing.saving import write_tensors
from agwm.recipe.config import FinetuneConfig, MixingConfig, SearchConfig, cheap_hypergradient
from agwm.recipe.inner_loss import check_problem
from agwm.recipe.run_checkpoints import checkpoints_of_run, run_facts
from agwm.recipe.search_doubts import DOUBTFUL, search_doubts
from agwm.recipe.searches import Search, search_all
from agwm.recipe.snapshot import Snapshot
from agwm.recipe.splits import check_outer
from agwm.rng import RngState
from agwm.search.problems import AttentionProblem
from agwm.trainer.card import add_section, with_tags
from agwm.trainer.phases import with_phases, without_terminal
from agwm.trainer.problems import problems_with
from agwm.trainer.search_settings import (
    check_arguments,
    check_countable,
    logging_steps,
    saving_steps,
    search_of,
    split_sizes,
    value_of,
)
from agwm.trainer.search_state import (
    inject_saved,
    mixed_state,
    put_weights,
    read_state,
    stands_in_search,
    write_state,
)

__all__ = ["MixupTrainer"]

_SEARCH = "search"  # first part of the names of its numbers
_FOLDER = "_search"  # of its own checkpoints: Trainer sends no file to a hub whose path begins with "_"


class MixupTrainer(Trainer):
    r"""Hugging Face's ``Trainer`` with attention-guided weights mixup: ``train`` makes two phases.

    First the search: W and alpha are learned in turn on random splits of the training set, K times, and
    averaged. Then Trainer's own loop trains W on all of it with alpha fixed, by its optimizer, schedule,
    evaluation, callbacks and checkpoints. At its end the mixed weights are in the model, which is a plain
    one again. Both phases take the loss of :meth:`compute_loss`, and ``data_collator``.

    Numbers of the search go to the callbacks of ``report_to`` every ``logging_steps``, as ``search/...``:
    losses, rates, norms of direct and indirect term, mean and spread of alpha, also by weight. Their steps
    are those of the search. Whatever is saved holds the **mixed** weights: checkpoints are plain models,
    which ``from_pretrained`` loads, with W and alpha in a file beside them. ``save_model`` after the
    training writes the factors of alpha too.

    ``resume_from_checkpoint=True`` goes on in either phase, with the model as it was pretrained. In the
    search it goes on at its own checkpoints in ``output_dir/_search``, which are there if ``save_strategy``
    is not ``"no"``. Other arguments are those of ``Trainer``.

    Args:
        *args: Positional arguments of ``Trainer``.
        mixing: Which weights are mixed, and how; None: the linear maps of the backbone.
        search: Single settings of :class:`agwm.SearchConfig`, such as ``{"num_resplits": 2}``, or all.
            What is not given follows ``TrainingArguments``: rate, decay, batches of all processes, epochs,
            schedule, warm-up, clipping and precision.
        hypergradient: Its settings, or their names and values; None: those of :func:`agwm.finetune`.
        outer_dataset: Examples that alpha is learned on, in place of a part of ``train_dataset``.
        outer: ``AttentionProblem``, or a subclass of it with an outer ``loss`` of its own.
        **kwargs: Keyword arguments of ``Trainer``.

    Attributes:
        attention: The learned factors of alpha; None before the search.
        initial_attention: Their start, averaged likewise.

    Raises:
        ConfigError: If an argument means nothing to a search, or cannot be had.

    Reference:
        Somayajula et al., NAACL 2024: search and finetuning phases, K resplits averaged.
    """

    def __init__(
        self,
        *args: Any,
        mixing: MixingConfig | None = None,
        search: SearchConfig | Mapping[str, Any] | None = None,
        hypergradient: Hypergradient | Mapping[str, Any] | None = None,
        outer_dataset: Sequence[Any] | None = None,
        outer: type[AttentionProblem] = AttentionProblem,
        **kwargs: Any,
    ) -> None:
        check_problem("outer", outer, AttentionProblem)
        super().__init__(*args, **kwargs)
        check_arguments(self.args)
        self.mixing = MixingConfig() if mixing is None else mixing
        self.hypergradient = (
            cheap_hypergradient() if hypergradient is None else Hypergradient.of(hypergradient)
        )
        self.outer_dataset, self.outer, self._given_search = outer_dataset, outer, search
        self.attention: Attention | None = None
        self.initial_attention: Attention | None = None
        self._mixup: Mixup | None = None
        self._goes_on = False

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Search, then train; see ``Trainer.train``.

        Args:
            resume_from_checkpoint: Folder of a checkpoint, or True: go on at the last one in
                ``output_dir``, or at the last one of the search if there is none yet.
            *args: Further arguments of ``Trainer.train``.
            **kwargs: The same.

        Raises:
            ConfigError: If the settings are wrong, or a checkpoint is of another run.
            DataError: If a checkpoint was written by another Trainer, or is damaged.
            DivergenceError: If a loss, a gradient or a weight of the search is not finite.
        """
        self._goes_on = bool(resume_from_checkpoint)
        if resume_from_checkpoint is True and stands_in_search(self._output_dir, _FOLDER):
            resume_from_checkpoint = None
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        handler = self.callback_handler
        handler.callbacks = with_phases(handler.callbacks, self.first_phase, self.merge)
        try:
            outcome = super()._inner_training_loop(*args, **kwargs)
        finally:
            self.merge()
        with checkpoints_of_run(self._search_folder, dict, None, resume=False):
            pass  # it removes them: the run is done
        return outcome

    @property
    def _output_dir(self) -> Path:
        return Path(str(self.args.output_dir))

    @property
    def _search_folder(self) -> Path | None:
        return None if value_of(self.args.save_strategy) == "no" else self._output_dir / _FOLDER

    def first_phase(self) -> None:
        """Search, unless a checkpoint of the second phase was loaded; ``train`` does so.

        The mixup stays on the model, alpha fixed, and the random state as it was.

        Raises:
            ConfigError: If there is nothing to search on, or the settings do not fit.
        """
        if self._mixup is not None:
            return
        model: Any = self.model
        dataset, collate = self._rows(self.train_dataset, "train_dataset")
        outer = None if self.outer_dataset is None else self._rows(self.outer_dataset, "outer_dataset")[0]
        num_inner, num_outer = self._sizes()
        config = self._config(num_inner)
        check_plain(model)
        if outer is not None:
            check_outer(dataset, outer, config.search)
        for line in search_doubts(dataset, config, outer_dataset=outer):
            warnings.warn(f"{DOUBTFUL}: {line}", AgwmWarning, stacklevel=4)
        log_step = logging_steps(self.args, config.search, num_inner)
        inner_class, outer_class = problems_with(self.compute_loss, self.outer)
        facts = partial(run_facts, model, config, (dataset, outer), (inner_class, outer_class))
        given, state = Snapshot(model), RngState.capture(self.args.device)
        start = time.perf_counter()
        with checkpoints_of_run(
            self._search_folder, facts, saving_steps(self.args), self._goes_on, keep=True
        ) as checkpoints:
            search = Search(
                dataset=dataset,
                outer_dataset=outer,
                collate=collate,
                evaluate=None,
                mean_loss=None,
                config=config,
                progress=False if self.args.disable_tqdm else None,
                inner=inner_class,
                outer=outer_class,
                given=given,
                checkpoints=checkpoints,
                log=None if log_step is None else self._log_search,
                log_step=log_step or 1,
            )
            try:
                with given.guarding(model):
                    problem, self.initial_attention, _ = search_all(model, search, [])
            finally:
                state.restore()
        self._mixup, self.attention = problem.mixup, problem.mixup.attention
        self.attention.requires_grad_(False)
        sizes = {"inner_examples": num_inner, "outer_examples": num_outer}
        self._log_search(self.state.global_step, {"runtime": time.perf_counter() - start, **sizes})
        self.state.global_step = 0

    def _sizes(self) -> tuple[int, int]:
        num_outer = None if self.outer_dataset is None else len(self.outer_dataset)
        return split_sizes(len(cast(Any, self.train_dataset)), num_outer, self._given_search)

    def _config(self, num_inner: int) -> FinetuneConfig:
        return FinetuneConfig(
            mixing=self.mixing,
            hypergradient=self.hypergradient,
            search=search_of(self.args, num_inner, self._given_search),
            seed=self.args.seed,
        )

    def _rows(self, dataset: Any, name: str) -> tuple[Any, Any]:
        """Return examples without the columns that the model does not take, and what collates them.

        Raises:
            ConfigError: If there are none, or they cannot be split.
        """
        check_countable(dataset, name)
        if isinstance(dataset, Dataset):
            return self._remove_unused_columns(dataset, description=name), self.data_collator
        return dataset, self._get_collator_with_removed_columns(self.data_collator, description=name)

    def _log_search(self, step: int, numbers: Mapping[str, float]) -> None:
        self.state.global_step = step
        named = {f"{_SEARCH}/{name}": value for name, value in numbers.items()}
        by_weight = {name: named.pop(name) for name in list(named) if name.count("/") > 1}
        self.log(named)
        if by_weight:
            with without_terminal(self.callback_handler):  # too many numbers for it
                self.log(by_weight)

    def merge(self) -> None:
        """Write the mixed weights into the model, a plain one then. ``train`` does so at its end."""
        if self._mixup is not None:
            self._mixup.merge()
            self._mixup = None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model with the mixed weights; see ``Trainer.save_model``."""
        if self.args.should_save and self.attention is not None:  # first: what is there is sent to a hub
            folder = self._output_dir if output_dir is None else Path(output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            if self._mixup is None or not _internal_call or output_dir is None:  # no checkpoint
                write_tensors(folder / "alpha.safetensors", self.attention.state_dict())
            elif self.initial_attention is not None:
                write_state(folder, self._mixup, self.initial_attention, self.mixing)
        super().save_model(output_dir, _internal_call)

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Write Trainer's card with a section on the search; see ``Trainer.create_model_card``."""
        tags = tags if self.attention is None else with_tags(tags)
        super().create_model_card(language, license, tags, *args, **kwargs)
        if self.attention is not None and self.is_world_process_zero():
            add_section(self._output_dir / CARD_FILE, self._config(self._sizes()[0]), self.attention)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        mixup = self._mixup
        if mixup is None:
            super()._save(output_dir, state_dict)
            return
        was_told, mixup.has_noticed_saving = mixup.has_noticed_saving, True  # mixed weights are written
        try:
            super()._save(output_dir, mixed_state(mixup))
        finally:
            mixup.has_noticed_saving = was_told

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder, own = Path(resume_from_checkpoint), cast(nn.Module, self.model)
        check_plain(own)
        saved = read_state(folder)
        self._mixup, self.initial_attention = inject_saved(folder, saved, own, self.mixing)
        self.attention = self._mixup.attention
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        put_weights(saved, self._mixup)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self._mixup is not None:
            put_weights(read_state(Path(str(self.state.best_model_checkpoint))), self._mixup)
