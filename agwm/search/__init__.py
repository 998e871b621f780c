"""The search of W and alpha: the two problems and the engine that wires them."""
