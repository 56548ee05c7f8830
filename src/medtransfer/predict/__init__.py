"""Masks for new images from fine-tuned models."""
