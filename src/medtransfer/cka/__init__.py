"""Encoders compared level by level, by linear CKA."""
