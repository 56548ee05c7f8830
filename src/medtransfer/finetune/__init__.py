"""Recipes that use encoder checkpoints."""
