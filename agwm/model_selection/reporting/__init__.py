"""Reporting: the page on a model selection."""
