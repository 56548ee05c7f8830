"""Datasets of prepared targets and pretraining images: augmentation, mixing, batches."""
