"""Raw datasets to prepared targets."""
