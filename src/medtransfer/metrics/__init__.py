"""Metrics: pure functions, and the thin accumulators that stream batches into them."""
