"""Ways of choosing a candidate: rules over one score, and selectors with their words and marks."""
