"""Many runs with one command: cells, who runs them, and settings chosen by dev score."""
