"""Stored pairs and Dice to the setting of robustness that chooses best."""
