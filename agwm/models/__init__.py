"""Pretrained models: loading them, naming their files, and finding their parts in every family."""
