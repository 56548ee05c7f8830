"""Stored pairs and outcomes to the setting of robustness that chooses best."""
