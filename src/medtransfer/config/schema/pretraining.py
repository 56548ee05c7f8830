"""Pretraining."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medtransfer.config.schema.origins import EncoderSpec, Origin
from medtransfer.config.schema.values import (
    MOST_PROCESSES,
    AtLeastZero,
    BelowOne,
    Defined,
    Name,
    NonNegative,
    OpenShare,
    Out,
    Pixels,
    Place,
    Positive,
    Rate,
    Section,
)


class Pretrain(Section):
    """Encoder checkpoints: where their weights come from, and how they are trained."""

    out: Out
    """folder of all checkpoints"""
    source: Name
    """name of the source dataset, for the records"""
    source_root: Place
    """an ImageFolder: train/<class>/*.jpg, val/<class>/*.jpg; its shards; or a prepared target"""
    start: Annotated[Place | None, Field(alias="from")]
    """checkpoint that origins of the kind `continued` start from: an origin, or a file or folder of checkpoints"""
    weights: Out
    """folder of weights files, which DVC watches"""
    encoder: Name
    """which of `encoders` to pretrain"""
    encoders: dict[Defined, EncoderSpec]
    origin: Name
    """which of `origins` its weights come from"""
    origins: dict[Defined, Origin]
    lr: Rate
    """learning rate at `lr_batch` images per step; scaled linearly to the origin's batch_size"""
    lr_batch: Positive
    """images per step that `lr` is meant for"""
    micro_batch: Positive
    """images per device and forward pass; the rest is accumulated"""
    betas: tuple[BelowOne, BelowOne]
    """AdamW's betas; the first is the momentum of LARS"""
    weight_decay: AtLeastZero
    """weight decay of the optimiser"""
    decay_norms: bool
    """whether biases and norms decay, too"""
    clip_grad: Rate | None
    """largest norm of the gradient in a step; null: not clipped"""
    ema_decay: OpenShare | None
    """decay per step of a moving average of the weights, which is measured and saved; null: no average"""
    label_smoothing: BelowOne
    """label smoothing of the cross-entropy"""
    size: Pixels
    """side of the source images, in pixels"""
    resampling: Literal["pillow", "torch"]
    """what resizes the source pictures; torch: faster, in crops of whole pixels, docs/explanation/performance.md"""
    epochs: Positive
    """epochs of a training to the end"""
    checkpoints: list[Positive]
    """epochs to save; epoch 0, the random initialisation, is always saved"""
    seed: NonNegative
    """seed of initialisation, order and augmentation, for origins without their own"""
    stop_on: Name | None
    """a prepared target: stop early by an indicator's values for it; null: never"""
    stop_by: Name
    """the indicator that stop_on watches"""
    stop_rule: Name
    """when to stop and which checkpoint to keep, docs/how-to/stop-early.md; first-drop: the paper's online rule"""
    workers: Annotated[NonNegative, Field(le=MOST_PROCESSES)]
    """processes that read images; 0: the main process"""
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    """device to train on; auto: a GPU where there is one"""
    devices: Positive
    """GPUs or CPU processes to train on together, on each machine"""
    num_nodes: Positive
    """machines; of several, torchrun or srun starts the command on each, docs/how-to/scale.md"""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    """precision of the arithmetic; 16-mixed: on a GPU only; bf16-mixed: also on a CPU"""
    tf32: bool
    """whether a GPU may round float32 products to TF32, which is faster"""
    reproducible: bool
    """whether the same seed gives the same bits on a GPU, too, at the cost of speed"""
    compile: bool
    """torch.compile, on a GPU only: pays on long trainings"""

    @property
    def processes(self) -> int:
        """Number of processes of a training, one per device of all machines."""
        return self.devices * self.num_nodes

    @model_validator(mode="after")
    def _check_checkpoints(self) -> "Pretrain":
        if late := [epoch for epoch in self.checkpoints if epoch > self.epochs]:
            raise ValueError(f"checkpoints {late} come after the last of {self.epochs} epochs; lower them, too (--checkpoints)")
        return self
