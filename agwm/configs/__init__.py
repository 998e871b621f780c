"""Configs that come with the package: YAML files, and the names that the command line takes for them."""
