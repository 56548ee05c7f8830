"""The pretrain section of the params goes in; one origin's recipe for one encoder comes out, with its digest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from medtransfer.config import Pretrain
from medtransfer.encoders.contract import IMAGENET_MEAN, IMAGENET_STD
from medtransfer.errors import InputError
from medtransfer.hashing import digest


@dataclass(frozen=True)
class Recipe:
    """Everything that the bits of a pretraining depend on, but the source images (paper A.3 and Table A.1).

    Attributes:
        encoder: configured name.
        build: key of ENCODERS.
        lr: base learning rate of `batch_size` images a step, after linear scaling.
        warmup: epochs.
        checkpoints: epochs to save, the last and the random initialisation (0) always among them.
        mean: a channel, in [0, 1] units; travels with the checkpoints to scoring and fine-tuning.
        std: like mean.
    """

    encoder: str
    build: str
    arguments: dict[str, Any]
    origin: str
    randaugment: bool
    cutmix: float
    mixup: float
    erasing: float
    warmup: int
    batch_size: int
    micro_batch: int
    devices: int
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    label_smoothing: float
    size: int
    epochs: int
    checkpoints: tuple[int, ...]
    seed: int
    precision: str
    compile: bool
    mean: tuple[float, ...] = field(default=IMAGENET_MEAN)
    std: tuple[float, ...] = field(default=IMAGENET_STD)

    @property
    def accumulation(self) -> int:
        """Give the forward passes of each device for one optimiser step."""
        return self.batch_size // (self.micro_batch * self.devices)

    def digest(self, source_fingerprint: str) -> str:
        """Give the identity of the pretraining on a source; the checkpoints to save do not change their bits."""
        parts = {name: value for name, value in asdict(self).items() if name != "checkpoints"}
        return digest({**parts, "source": source_fingerprint})

    @property
    def input(self) -> dict[str, Any]:
        """Give the input contract that the checkpoints carry."""
        return input_contract(self.size, self.mean, self.std)


def input_contract(size: int, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """Give the input contract that checkpoints carry: size in pixels, mean and std a channel in [0, 1] units."""
    return {"size": size, "mean": list(mean), "std": list(std), "channels": "RGB"}


def recipe_of(section: Pretrain) -> Recipe:
    """Build the recipe of the section's encoder and origin.

    Raises:
        InputError: the origin has no batch size or warm-up for the encoder, or the batch does not divide.
    """
    origin = section.origins[section.origin]
    for name, values in (("warmup", origin.warmup), ("batch_size", origin.batch_size)):
        if section.encoder not in values:
            raise InputError(
                f"expected pretrain.origins.{section.origin}.{name} to have a value for {section.encoder!r}, but it has "
                f"{', '.join(values)}; add one"
            )
    batch = origin.batch_size[section.encoder]
    micro = min(section.micro_batch, batch // section.devices)
    if micro == 0 or batch % (micro * section.devices):
        raise InputError(
            f"expected a batch_size that pretrain.micro_batch x pretrain.devices divides, but got {batch} and "
            f"{section.micro_batch} x {section.devices}; change one of them"
        )
    spec = section.encoders[section.encoder]
    return Recipe(
        encoder=section.encoder, build=spec.build, arguments=spec.arguments, origin=section.origin,
        randaugment=origin.randaugment, cutmix=origin.cutmix, mixup=origin.mixup, erasing=origin.erasing,
        warmup=origin.warmup[section.encoder], batch_size=batch, micro_batch=micro, devices=section.devices,
        lr=section.lr * batch / section.lr_batch, betas=section.betas, weight_decay=section.weight_decay,
        label_smoothing=section.label_smoothing, size=section.size, epochs=section.epochs,
        checkpoints=tuple(sorted({0, *section.checkpoints, section.epochs})), seed=section.seed,
        precision=section.precision, compile=section.compile,
    )  # fmt: skip
