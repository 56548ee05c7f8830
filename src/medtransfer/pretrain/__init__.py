"""Pretraining of encoders, and import of their weights, as checkpoints."""
