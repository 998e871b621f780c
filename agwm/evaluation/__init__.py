"""Evaluation: predictions of a model, intervals of its scores, and tests between methods."""
