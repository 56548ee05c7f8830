"""Choose among checkpoints by fine-tuning them under a budget."""
