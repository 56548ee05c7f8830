"""Indicators of how well an encoder's checkpoint will transfer to a target."""
