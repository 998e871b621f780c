"""Hostile inputs of every kind that the commands read, drawn by hypothesis from valid ones."""
