"""What the recipes share: schedules, losses, resumable state, checkpoints, robustness of an encoder."""
