"""Numbers that say, before any fine-tuning, how well an encoder suits a target."""
