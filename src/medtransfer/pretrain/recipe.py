"""Recipe of a pretraining: one encoder and one origin, with the digest that identifies it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from medtransfer.config import LabelledOrigin, PretextOrigin, Pretrain, TrainedOrigin
from medtransfer.encoders import require_architecture
from medtransfer.encoders.normalisation import IMAGENET_MEAN, IMAGENET_STD
from medtransfer.errors import InputError
from medtransfer.hashing import digest, without
from medtransfer.pretrain.epochs import planned_epochs
from medtransfer.records.pretraining import ADDED_OPTIONS, RANDAUGMENT

if TYPE_CHECKING:
    from medtransfer.encoders.contract import Encoder

UNLABELLED = {"randaugment": None, "cutmix": 0.0, "mixup": 0.0, "erasing": 0.0, "label_smoothing": 0.0}  # of other objectives
PIXELS_AS_THEY_ARE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@dataclass(frozen=True)
class Recipe:
    """Everything that the bits of a pretraining depend on, except the source images (paper A.3 and Table A.1).

    Attributes:
        encoder: name under `pretrain.encoders`.
        build: its key of ENCODERS.
        arguments: its constructor arguments.
        lr: base learning rate for `batch_size` images per step, after scaling.
        randaugment: `ops` per image and their `magnitude` out of `scale`; None for no RandAugment.
        warmup: epochs of warm-up.
        checkpoints: epochs to save, always including the last and the random initialisation (0).
        devices: devices of all machines; how they are divided among machines changes nothing.
        mean: mean per channel, in [0, 1] units; stored in the checkpoints for scoring and fine-tuning.
        std: standard deviation per channel, likewise.
        optimiser: `adamw` or `lars`.
        schedule: `cosine` or `constant`, after the warm-up.
        options: kind and options of a pretext task; empty for classification.
        resampling: key of RESAMPLINGS, what resizes the source pictures.
    """

    encoder: str
    build: str
    arguments: dict[str, Any]
    origin: str
    randaugment: dict[str, int] | None
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
    decay_norms: bool
    clip_grad: float | None
    ema_decay: float | None
    label_smoothing: float
    size: int
    epochs: int
    checkpoints: tuple[int, ...]
    seed: int
    precision: str
    tf32: bool
    reproducible: bool
    compile: bool
    mean: tuple[float, ...] = field(default=IMAGENET_MEAN)
    std: tuple[float, ...] = field(default=IMAGENET_STD)
    optimiser: str = "adamw"
    schedule: str = "cosine"
    options: dict[str, Any] = field(default_factory=dict)
    resampling: str = "pillow"

    @property
    def accumulation(self) -> int:
        """Forward passes of each device for one optimiser step."""
        return self.batch_size // (self.micro_batch * self.devices)

    def digest(self, source_fingerprint: str, start: str | None = None) -> str:
        """Return the digest of the pretraining on a source; it does not depend on which checkpoints are saved.

        Args:
            source_fingerprint: digest of the images and labels.
            start: SHA-256 of the weights that it continues from; None for a random initialisation.
        """
        parts = {name: value for name, value in without(asdict(self), ADDED_OPTIONS).items() if name != "checkpoints"}
        if self.randaugment in (None, RANDAUGMENT):
            parts["randaugment"] = self.randaugment is not None
        return digest({**parts, "source": source_fingerprint, **({"start": start} if start else {})})

    def continuing(self, contract: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with the input of the weights that it continues from."""
        return replace(self, size=contract["size"], mean=tuple(contract["mean"]), std=tuple(contract["std"]))

    @property
    def input(self) -> dict[str, Any]:
        """Input contract of the checkpoints."""
        return input_contract(self.size, self.mean, self.std)


def input_contract(size: int, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """Return the input contract of checkpoints: size in pixels, mean and std per channel in [0, 1] units."""
    return {"size": size, "mean": list(mean), "std": list(std), "channels": "RGB"}


def check_size(encoder: "Encoder", size: int) -> None:
    """Check that an encoder takes images of `pretrain.size`.

    Raises:
        InputError: it does not.
    """
    if size % encoder.multiple == 0:
        encoder.check_size(size, size)
        return
    raise InputError(
        f"expected pretrain.size to be a multiple of {encoder.multiple} pixels for the encoder {encoder.name} "
        f"({encoder.size_rule()}), but got {size}; set it to {max(1, round(size / encoder.multiple)) * encoder.multiple}"
    )


def recipe_of(section: Pretrain) -> Recipe:
    """Build the recipe of the section's encoder and origin.

    Raises:
        InputError: the architecture is unknown, the origin has no batch size or warm-up for the encoder, or the batch cannot be
            divided.
    """
    origin = section.origins[section.origin]
    assert isinstance(origin, TrainedOrigin)
    spec = section.encoders[section.encoder]
    require_architecture(spec.build)
    batch = _of_encoder(section, "batch_size", origin.batch_size)
    micro = min(section.micro_batch, batch // section.processes)
    if micro == 0 or batch % (micro * section.processes):
        factors = ("micro_batch", "devices", *(("num_nodes",) if section.num_nodes > 1 else ()))
        raise InputError(
            f"expected a batch_size that {' x '.join(f'pretrain.{name}' for name in factors)} divides, but got {batch} and "
            f"{' x '.join(str(getattr(section, name)) for name in factors)}; change one of them"
        )
    return Recipe(
        encoder=section.encoder, build=spec.build, arguments=spec.arguments, origin=section.origin,
        warmup=_of_encoder(section, "warmup", origin.warmup), batch_size=batch, micro_batch=micro, devices=section.processes,
        betas=section.betas, weight_decay=section.weight_decay, decay_norms=section.decay_norms, clip_grad=section.clip_grad,
        ema_decay=section.ema_decay, size=section.size, epochs=section.epochs, checkpoints=planned_epochs(section),
        seed=section.seed if origin.seed is None else origin.seed, precision=section.precision, tf32=section.tf32,
        reproducible=section.reproducible, compile=section.compile, resampling=section.resampling,
        **_of_objective(section, origin, batch),
    )  # fmt: skip


def _of_objective(section: Pretrain, origin: TrainedOrigin, batch: int) -> dict[str, Any]:
    """Return the fields of a recipe that depend on what is learned."""
    scaled = section.lr * batch / section.lr_batch
    if isinstance(origin, LabelledOrigin):
        randaugment = origin.randaugment.model_dump() if origin.randaugment else None
        return {"randaugment": randaugment, "cutmix": origin.cutmix, "mixup": origin.mixup, "erasing": origin.erasing,
                "label_smoothing": section.label_smoothing, "lr": scaled}  # fmt: skip
    assert isinstance(origin, PretextOrigin)
    return {**UNLABELLED, **({} if origin.normalise else PIXELS_AS_THEY_ARE), "lr": origin.lr or scaled,
            "optimiser": origin.optimiser, "schedule": origin.schedule, "options": origin.options}  # fmt: skip


def _of_encoder(section: Pretrain, name: str, values: int | Mapping[str, int]) -> int:
    """Look up a value for the section's encoder; a single number, or the key `default`, is for all others."""
    if isinstance(values, int):
        return values
    value = values.get(section.encoder, values.get("default"))
    if value is None:
        raise InputError(
            f"expected pretrain.origins.{section.origin}.{name} to have a value for {section.encoder!r}, but it has "
            f"{', '.join(values)}; add one, or a `default`"
        )
    return value
