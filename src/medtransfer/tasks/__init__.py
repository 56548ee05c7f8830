"""Kinds of targets: their models, losses and metrics."""
