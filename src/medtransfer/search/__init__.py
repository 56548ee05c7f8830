"""Search for the setting of robustness, and the indicator, that choose best on stored results."""
