"""Hugging Face's ``Trainer`` with a search of W and alpha before its own training."""
