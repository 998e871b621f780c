"""Tests. This file keeps another package of the name ``tests`` in an environment from hiding them."""
