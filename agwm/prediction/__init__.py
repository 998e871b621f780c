"""Prediction: what a saved model answers for new texts."""
