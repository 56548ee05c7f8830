"""Indicators of how well an encoder will transfer."""
