"""Experiments: runs, their records, tables and pictures. No other folder of the package imports it."""
