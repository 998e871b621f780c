"""Result of a model selection: what was chosen, why, and the model."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from agwm.errors import ModelError
from agwm.folders import whole_folder
from agwm.model_selection.record import FitRecord
from agwm.model_selection.reporting.page import write_report
from agwm.model_selection.store import FOLDER
from agwm.prediction.predictor import Predictions, Predictor, load_predictor

__all__ = ["RECORD_FILE", "FitResult"]

RECORD_FILE = "fit.json"
_COLUMNS = ("verdict", "score", "low", "high", "difference", "p_value", "seconds", "settings")


@dataclass(frozen=True)
class FitResult:
    """Outcome of :func:`agwm.fit`.

    Attributes:
        record: Everything that was tried, measured and chosen.
        texts: Texts of the training rows, for the report.
        folder: Folder of the model, with ``report.html``; a temporary one if none was named.
        device: Device on which :meth:`predict` works.
        trust_remote_code: Run code that comes with the model.
    """

    record: FitRecord
    texts: Sequence[tuple[str, ...]] = field(repr=False)
    folder: Path
    device: str = "auto"
    trust_remote_code: bool = False

    @property
    def best(self) -> str:
        """Name of the chosen candidate; ``"constant"`` if nothing has learned."""
        return self.record.chosen

    @property
    def conclusion(self) -> str:
        """The sentence that says which candidate to take, and how the others stand beside it."""
        return self.record.conclusion

    @property
    def table(self) -> pd.DataFrame:
        """One row a candidate, the best first."""
        rows = [dataclasses.asdict(row) for row in self.record.table]
        return pd.DataFrame(rows).set_index("name")[list(_COLUMNS)]

    @cached_property
    def predictor(self) -> Predictor:
        """The model, loaded from its folder.

        Raises:
            ModelError: If nothing has learned, so that there is no model.
        """
        self._check()
        return load_predictor(self.folder, self.device, self.trust_remote_code)

    def predict(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], batch_size: int = 64
    ) -> Predictions:
        """Answer for new texts.

        Args:
            texts: Texts, or pairs of texts if the model was trained on pairs.
            batch_size: Texts a pass.

        Raises:
            ModelError: If nothing has learned, so that there is no model.
            DataError: If the texts are no texts, or no pairs where pairs are wanted.
        """
        return self.predictor.predict(texts, batch_size)

    def save_pretrained(self, directory: str | Path) -> None:
        """Save the model in a folder, which is swapped whole, for ``pipeline()`` and ``agwm predict``.

        Raises:
            ModelError: If nothing has learned, so that there is no model.
            DataError: If the folder cannot be written.
        """
        self._check()
        with whole_folder(directory) as folder:
            for path in self.folder.iterdir():
                if path.is_file():
                    shutil.copyfile(path, folder / path.name)
                elif path.name != FOLDER:
                    shutil.copytree(path, folder / path.name)

    def report(self, directory: str | Path) -> list[Path]:
        """Write ``report.html`` and ``report.md`` into a folder, and return their paths.

        Raises:
            DataError: If they cannot be written.
        """
        return write_report(Path(directory), self.record, list(self.texts))

    def _check(self) -> None:
        """Raise if there is no model.

        Raises:
            ModelError: If so.
        """
        if not (self.folder / "config.json").is_file():
            raise ModelError(
                "There is no model: expected a candidate that learned, got none better than a constant"
                " answer. Look at the report, and give more rows."
            )
