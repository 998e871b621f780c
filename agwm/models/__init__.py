"""Pretrained models: load them, name their files, and find their parts in every family."""
