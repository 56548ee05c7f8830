"""Compare checkpoints with no pretraining by short fine-tunings."""
