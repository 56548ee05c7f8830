"""Replays of the published results of papers."""
