"""Objectives of a pretraining: one file each; an entry of ORIGINS names it with the schema of its params."""
