"""Layers, a loss and an optimizer that no table of backproof has."""
