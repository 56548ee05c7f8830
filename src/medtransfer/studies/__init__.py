"""Whole studies from files: what there are, what one takes before it runs, running one, and its results beside printed ones."""
