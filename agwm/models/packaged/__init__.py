"""Pretrained models in packages of the index: found without running them, checked, and made plain once."""
