"""Fine-tuning, one cell or a whole study."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from medtransfer.config.schema.values import (
    MOST_PROCESSES,
    AtLeastZero,
    BelowOne,
    Folds,
    Name,
    NonNegative,
    OpenShare,
    Out,
    Place,
    Positive,
    Rate,
    Real,
    Section,
    Size,
)


def _finite(value: Any) -> Any:
    """Refuse infinity, NaN and values that JSON lacks, such as dates, since recipes are hashed as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must hold plain values and finite numbers ({error})") from None
    return value


Arguments = Annotated[dict[str, Any], AfterValidator(_finite)]
Transform = Annotated[dict[Name, Arguments], Field(min_length=1, max_length=1)]
DURATION = r"^([0-9]+-)?[0-9]+(:[0-9]{1,2}){0,2}$"  # of Slurm: minutes, minutes:seconds, hours:minutes:seconds, days-hours
Transforms = list[Transform]  # one albumentations transform each, name -> arguments; data/transforms.py checks them


class Finetune(Section):
    """Fine-tuning of a model on a prepared target from a checkpoint."""

    out: Out
    """folder of all trained models"""
    target: Name
    """prepared target to train on"""
    encoder: Name
    """encoder whose checkpoint to start from"""
    origin: Name
    """origin of this checkpoint"""
    epoch: NonNegative
    """epoch of this checkpoint; 0: random initialisation"""
    mode: Name
    """mode of transfer: the parts of the model that are trained"""
    decoder: Name | None
    """decoder of the model; null: the encoder's own"""
    seed: NonNegative
    """seed of the decoder's initialisation, order and augmentation"""
    size: Size
    """training images, drawn after the split: a number, or a share such as 0.05 or 5%; null: all"""
    fold: Positive | None
    """fold whose groups (patients) are the validation samples, from 1 to `folds`; null: each in turn"""
    folds: Folds | None
    """folds that the training groups are divided into, those of the validation split among them; null: none"""
    sampling: Literal["balanced", "stratified", "random"]
    """how `size` images are drawn; balanced: as many of each class, some repeated if need be | stratified: in their proportions"""
    subset_seed: NonNegative | None
    """seed of the draw; null: that of the cell"""
    train_epochs: Positive
    """passes over the training samples"""
    epoch_steps: Positive | None
    """optimiser steps per epoch at most; null: every training sample once"""
    batch_size: Positive
    """images per optimiser step"""
    optimiser: Literal["sgd", "adam", "adamw"]
    """optimiser; sgd: with momentum | adam | adamw: Adam with decoupled weight decay"""
    loss: Name | None
    """training loss, such as dice, dice-ce (Dice + cross-entropy), ce (cross-entropy), focal or tversky; null: the task's own"""
    class_weights: Annotated[list[AtLeastZero], Field(min_length=1)] | None
    """weight of each class in the loss, the background first; null: all alike"""
    focal_gamma: AtLeastZero
    """exponent of the focal loss; 0: cross-entropy"""
    tversky_alpha: AtLeastZero
    """weight of false positives in the Tversky loss"""
    tversky_beta: AtLeastZero
    """weight of false negatives in the Tversky loss"""
    label_smoothing: BelowOne
    """share of a label's target that is spread over the others; of labels of images alone"""
    lr: Rate
    """highest learning rate"""
    schedule: Literal["polynomial", "cosine", "cosine-by-epoch", "plateau"]
    """how the learning rate falls after the warm-up; cosine-by-epoch: constant within an epoch | plateau: when validation stalls"""
    plateau_factor: OpenShare
    """factor on the learning rate of the schedule plateau, each time"""
    plateau_patience: NonNegative
    """epochs without a better validation result that the schedule plateau bears"""
    power: AtLeastZero
    """power of the polynomial decay of the learning rate; 0: constant"""
    warmup: NonNegative
    """epochs in which the learning rate rises linearly first"""
    layer_decay: Annotated[Real, Field(gt=0, le=1)]
    """factor on the learning rate from one layer of the encoder to the one before it; 1: all layers alike"""
    momentum: BelowOne
    """momentum of SGD, or first beta of Adam and AdamW, beside 0.999"""
    weight_decay: AtLeastZero
    """weight decay of the optimiser"""
    decay_norms: bool
    """whether biases and norms decay, too"""
    clip_grad: Rate | None
    """largest norm of the gradient in a step; null: not clipped"""
    ema_decay: OpenShare | None
    """decay per step of a moving average of the weights, which is tested and kept; null: no average"""
    augmentation: Transforms | None
    """albumentations transforms in their order, such as [{HorizontalFlip: {p: 0.5}}]; null: the target's own; []: none"""
    validate_every: Positive
    """epochs from one look at the validation samples, if there are any, to the next; the last epoch always has one"""
    patience: Positive | None
    """epochs without a better validation result after which the training stops; null: never"""
    monitor: Literal["metric", "loss"]
    """what validation looks at for the schedule plateau, patience and select; metric: the primary one | loss: the training loss"""
    select: Literal["last", "validation"]
    """epoch whose model is kept: the last, or the best on validation samples"""
    test_every: Positive | None
    """epochs from one curve point on the test samples to the next, to watch alone: nothing is chosen by it; null: no curve"""
    evaluate: Literal["test", "validation"]
    """samples that the trained model is evaluated on; validation: the test set is not looked at"""
    validation: BelowOne
    """fraction of the training groups (patients) held out as validation samples, of a target without; 0: none"""
    validation_seed: NonNegative
    """seed of the groups that are held out, and of the folds"""
    ten_crop: bool
    """whether the test result is the mean over ten crops of each image; of labels of images alone"""
    overlays: NonNegative
    """test images drawn with their prediction"""
    keep: Literal["weights", "winner", "metrics"]
    """what is kept of a cell; weights: the model, too | winner: of a grid, each target's best model | metrics: no model"""
    workers: Annotated[NonNegative, Field(le=MOST_PROCESSES)]
    """processes that read samples; 0: the main process"""
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    """device to train on; auto: a GPU where there is one"""
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    """precision of the arithmetic; 16-mixed: on a GPU only; bf16-mixed: also on a CPU"""
    tf32: bool
    """whether a GPU may round float32 products to TF32, which is faster"""
    reproducible: bool
    """whether the same seed gives the same bits on a GPU, too, at the cost of speed"""
    compile: bool
    """torch.compile, on a GPU only: pays on long trainings"""

    @model_validator(mode="after")
    def _check_recipe(self) -> "Finetune":
        if self.warmup >= self.train_epochs:
            raise ValueError(
                f"the warm-up of {self.warmup} epochs must be shorter than the training of {self.train_epochs}; lower warmup "
                "(--warmup), or raise train_epochs (--train-epochs)"
            )
        if self.fold is not None and self.fold > (self.folds or 0):
            raise ValueError(f"fold must be from 1 to folds, but they are {self.fold} and {self.folds or 'null'}")
        if self.class_weights is not None and not any(self.class_weights):
            raise ValueError("class_weights must not all be 0")
        if self.test_every is not None and self.evaluate == "validation":
            raise ValueError("test_every must be null with evaluate: validation, which does not look at the test samples")
        return self


class Resources(Section):
    """What a kind of job takes; what is not set is that of the grid."""

    cpus: Rate | None = None
    gpus: AtLeastZero | None = None
    memory_gb: Rate | None = None
    time: Annotated[str, Field(pattern=DURATION)] | None = None


class Slurm(Section):
    """How jobs are handed to Slurm."""

    at_once: Positive | None
    """tasks of a job array that run at once; null: as many as Slurm starts"""
    per_task: Positive
    """jobs that a task runs one after the other; more make fewer tasks, whose time is the sum"""
    options: list[Annotated[str, Field(pattern=r"^-[^\n]+$")]]
    """further options of sbatch, such as [--partition=gpu, --account=me]"""
    setup: list[Annotated[str, Field(pattern=r"^[^\n]+$")]]
    """lines of the batch script before the command, such as [module load cuda]"""


class Grid(Section):
    """All cells of the study as one job, and where it runs."""

    launcher: Name
    """local: processes of this machine | ray: a Ray cluster | slurm: job arrays of Slurm"""
    workers: Annotated[Positive, Field(le=MOST_PROCESSES)] | None
    """local: processes; null: as many as GPUs, or else cores, allow"""
    retries: NonNegative
    """more attempts for a job whose process or host died"""
    cpus: Rate
    """cores that a job takes, a pretraining for each of its devices"""
    gpus: AtLeastZero
    """GPUs that a job takes where there are any; 0.5: two jobs share one"""
    memory_gb: Rate | None
    """memory that a job takes in GB; null: not counted"""
    resources: dict[Literal["prepare", "pretrain", "score", "finetune"], Resources]
    """what else a kind of job takes, such as {pretrain: {cpus: 8, memory_gb: 32, time: "24:00:00"}, score: {gpus: 0.25}}"""
    slurm: Slurm
    """how jobs are handed to Slurm"""
    address: Place | None
    """ray: address of an existing cluster, such as auto; null: RAY_ADDRESS, or a new one on this machine"""
    out: Out
    """folder of the workers' log files"""
