"""Samples of bounded size that indicators are computed on, drawn from the batches of one pass."""
