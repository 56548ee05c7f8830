"""Fine-tuning of models on prepared targets from encoder checkpoints."""
