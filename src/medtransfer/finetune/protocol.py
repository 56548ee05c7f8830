"""Recipe of a fine-tuning: the params that its result depends on, and their digest."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from medtransfer.config import Finetune
from medtransfer.hashing import digest, without

if TYPE_CHECKING:
    from medtransfer.tasks.contract import LossOptions

# Options that the recipe did not always have, with what it did then; see `without`.
ADDED = {
    "optimiser": "sgd", "loss": None, "decay_norms": True, "clip_grad": None, "ema_decay": None, "tf32": False,
    "reproducible": True, "class_weights": None, "focal_gamma": 2.0, "tversky_alpha": 0.3, "tversky_beta": 0.7,
    "schedule": "polynomial", "warmup": 0, "layer_decay": 1.0, "augmentation": None, "validate_every": 1, "patience": None,
    "evaluate": "test", "validation": 0.0, "validation_seed": 0, "label_smoothing": 0.0, "ten_crop": False,
    "plateau_factor": 0.5, "plateau_patience": 5, "monitor": "metric",
    "sampling": "balanced", "subset_seed": None, "test_every": None,
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """Recipe of paper A.4; published values: 150 epochs, batch 24, lr .05, power .9, momentum .9, decay 1e-4."""

    decoder: str | None
    train_epochs: int
    epoch_steps: int | None
    batch_size: int
    optimiser: str
    loss: str | None
    class_weights: list[float] | None
    focal_gamma: float
    tversky_alpha: float
    tversky_beta: float
    label_smoothing: float
    lr: float
    schedule: str
    plateau_factor: float
    plateau_patience: int
    power: float
    warmup: int
    layer_decay: float
    momentum: float
    weight_decay: float
    decay_norms: bool
    clip_grad: float | None
    ema_decay: float | None
    augmentation: list[dict[str, Any]] | None
    validate_every: int
    patience: int | None
    monitor: str
    select: str
    test_every: int | None
    evaluate: str
    validation: float
    validation_seed: int
    sampling: str
    subset_seed: int | None
    ten_crop: bool
    precision: str
    tf32: bool
    reproducible: bool
    compile: bool

    @classmethod
    def of(cls, section: Finetune) -> "Protocol":
        """Take the fields that a result depends on."""
        return cls(**{name: getattr(section, name) for name in cls.__dataclass_fields__})

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "Protocol":
        """Take the recipe from the settings of a result.

        Raises:
            KeyError: they lack a field.
        """
        return cls(**{name: (ADDED | dict(settings))[name] for name in cls.__dataclass_fields__})

    @property
    def loss_options(self) -> "LossOptions":
        """Options of the loss."""
        from medtransfer.tasks.contract import LossOptions  # it loads torch, which a plan does not need

        return LossOptions(self.class_weights, self.focal_gamma, self.tversky_alpha, self.tversky_beta, self.label_smoothing)

    @property
    def needs_validation(self) -> str | None:
        """Why validation samples are needed, for messages; None if they are not."""
        if self.select == "validation":
            return "finetune.select is `validation`"
        if self.evaluate == "validation":
            return "finetune.evaluate is `validation`"
        if self.schedule == "plateau":
            return "finetune.schedule is `plateau`"
        return None if self.patience is None else "finetune.patience is set"

    @property
    def key(self) -> str:
        """Digest of the recipe in a cell."""
        return digest(without(asdict(self), ADDED))
