"""One-level training: the loop, its settings, and the hooks by which a method changes it."""
