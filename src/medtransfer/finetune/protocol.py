"""Recipe of a fine-tuning: the params that its result depends on, and their digest."""

from dataclasses import asdict, dataclass

from medtransfer.config import Finetune
from medtransfer.hashing import digest


@dataclass(frozen=True)
class Protocol:
    """Recipe of paper A.4; published values: 150 epochs, batch 24, lr .05, power .9, momentum .9, decay 1e-4."""

    decoder: str | None
    train_epochs: int
    epoch_steps: int | None
    batch_size: int
    lr: float
    power: float
    momentum: float
    weight_decay: float
    select: str
    precision: str
    compile: bool

    @classmethod
    def of(cls, section: Finetune) -> "Protocol":
        """Take the fields that a result depends on."""
        return cls(**{name: getattr(section, name) for name in cls.__dataclass_fields__})

    @property
    def key(self) -> str:
        """Digest of the recipe in a cell."""
        return digest(asdict(self))
