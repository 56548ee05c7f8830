"""Ways of choosing a candidate."""
