"""Training code shared by pretraining and fine-tuning: device, schedules, finite losses, resumable state, checkpoints."""
