"""Scoring of checkpoints on prepared targets by indicators."""
