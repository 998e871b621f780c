"""Prediction: what a saved model answers for new texts."""

from __future__ import annotations

from agwm.prediction.predictor import Predictions, Predictor, load_predictor
from agwm.prediction.task_file import SavedTask, read_task_file, write_task_file

__all__ = ["Predictions", "Predictor", "SavedTask", "load_predictor", "read_task_file", "write_task_file"]
