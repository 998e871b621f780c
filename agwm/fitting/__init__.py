"""Fitting: from rows to a model in use, by a command or from Python."""
