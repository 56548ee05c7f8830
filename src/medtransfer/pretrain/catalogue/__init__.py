"""Catalogue of published initialisations: what they are, where they are published, and how their files are read."""
