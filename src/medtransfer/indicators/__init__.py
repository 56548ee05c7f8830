"""Transferability indicators: estimates, before any fine-tuning, of how well an encoder suits a target."""
