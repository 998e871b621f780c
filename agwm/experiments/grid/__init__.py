"""Many runs with one command: cells, the workers that run them, and settings chosen by dev score."""
