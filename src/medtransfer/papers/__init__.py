"""Papers whose published results are replayed."""
