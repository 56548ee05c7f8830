"""Rank candidate encoders on the images of a target, before any fine-tuning."""
