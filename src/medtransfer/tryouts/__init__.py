"""Fine-tunings that are judged on validation patients, for `race` and `guard`."""
