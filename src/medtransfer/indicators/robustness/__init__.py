"""Robustness to colour jitter (Eq. 3)."""
