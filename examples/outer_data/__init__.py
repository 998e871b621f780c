"""Serve the examples with outer data of their own: methods, runs and the table."""
