"""The embedded data: four small tasks whose sentences the package writes itself."""
