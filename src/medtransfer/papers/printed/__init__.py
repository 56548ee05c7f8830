"""Replay of papers of which only printed tables exist: their claims, tested from printed means and spreads."""
