"""Recipes that make encoder checkpoints."""
