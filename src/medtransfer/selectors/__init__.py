"""Selection of a candidate: rules over one score, and selectors with their names and marks."""
