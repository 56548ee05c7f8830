"""What all origins have that are trained on source images."""

from medtransfer.config.schema.values import EpochsByEncoder, ImagesByEncoder, NonNegative, Section


class TrainedOrigin(Section):
    """Training on the source images: warm-up and batch size, also by encoder name, and a seed."""

    warmup: EpochsByEncoder
    """epochs of warm-up; one number, or by encoder"""
    batch_size: ImagesByEncoder
    """images per optimiser step; one number, or by encoder"""
    seed: NonNegative | None
    """seed of this origin alone; null: pretrain.seed, or each of study.pretraining_seeds"""
