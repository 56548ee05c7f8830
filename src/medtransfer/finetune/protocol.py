"""Recipe of a fine-tuning: the params that its result depends on, and their digest."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from medtransfer.config import Finetune
from medtransfer.hashing import digest, without

# Options that the recipe did not always have, with what it did then; see `without`.
ADDED = {
    "optimiser": "sgd", "loss": None, "decay_norms": True, "clip_grad": None, "ema_decay": None, "tf32": False,
    "reproducible": True,
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
    lr: float
    power: float
    momentum: float
    weight_decay: float
    decay_norms: bool
    clip_grad: float | None
    ema_decay: float | None
    select: str
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
    def key(self) -> str:
        """Digest of the recipe in a cell."""
        return digest(without(asdict(self), ADDED))
