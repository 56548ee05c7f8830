"""Metrics: pure functions, and thin accumulators for batches."""
