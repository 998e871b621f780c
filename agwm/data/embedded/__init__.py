"""The embedded data: four small tasks. The package writes their sentences itself."""
