"""Preparation of raw datasets."""
