"""One-level training: the loop, its settings, and the places where a method can act."""
