"""Datasets over prepared targets and source folders, their augmentation, mixing and order."""
