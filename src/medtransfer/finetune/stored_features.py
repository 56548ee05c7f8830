"""Pooled features of a frozen encoder, computed once and stored, and their samples for a head that is trained on them."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medtransfer.data.epochs import Samples
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.decoders.linear_head import ImageClassifier
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.errors import InputError, StageError
from medtransfer.finetune.fine_tuning import FineTuning
from medtransfer.hashing import digest
from medtransfer.progress import track
from medtransfer.records import read_tensors, write_tensors
from medtransfer.training.device import lay_out, place_pixels
from medtransfer.training.fabric import Fabric

log = logging.getLogger("medtransfer")
FEATURES = ".features"  # folder of stored features below that of all models


def stored_features(tuning: FineTuning, fabric: Fabric, model: ImageClassifier, samples: Samples) -> Tensor:
    """Return the pooled features of samples float32 (N, D), on the CPU: stored ones, or computed and stored.

    Args:
        tuning: the cell.
        fabric: device that they are computed on; the model is moved there, and put in eval mode.
        model: the encoder, and a head that pools its maps.
        samples: samples without augmentation.

    Raises:
        StageError: the features are not finite.
    """
    fabric.to_device(lay_out(model)).eval()
    path = Path(tuning.section.out) / FEATURES / f"{_identity(tuning, fabric, model, samples)}.safetensors"
    features = _read(path)
    if features is None:
        features = _compute(tuning, fabric, model, samples)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"features": features})
    if not bool(torch.isfinite(features).all()):
        raise StageError(f"expected finite features of {tuning.checkpoint} for {tuning.cell.target}, but some are NaN or infinite")
    return features


def _identity(tuning: FineTuning, fabric: Fabric, model: ImageClassifier, samples: Samples) -> str:
    """Return the digest of weights, images and view that features depend on; options of a fusion's head are none of them."""
    section, target, head = tuning.section, tuning.target.info, model.encoder.head_options
    arguments = {name: value for name, value in tuning.info.arguments.items() if name not in head}
    return digest([
        tuning.info.weights, tuning.info.build, arguments, target.fingerprint, samples.images, list(samples.mean),
        list(samples.std), section.precision, section.tf32, fabric.device.type,
    ], 16)  # fmt: skip


def _read(path: Path) -> Tensor | None:
    if not path.exists():
        return None
    try:
        return read_tensors(path)["features"]
    except (InputError, KeyError):
        log.warning("finetune: the features in %s are damaged, and computed again", path)
        return None


@torch.no_grad()
def _compute(tuning: FineTuning, fabric: Fabric, model: ImageClassifier, samples: Samples) -> Tensor:
    batches = EpochBatches(len(samples), tuning.section.batch_size, seed=0, shuffle=False, drop_last=False)
    parts = []
    read = loader(samples, batches, tuning.section.workers, pin=fabric.device.type == "cuda")
    for pixels, _, _ in track(read, f"features {tuning.cell.name}", len(batches), "batches"):
        with fabric.autocast():
            maps = model.encoder(place_pixels(fabric, pixels, samples.mean, samples.std))
        parts.append(model.decoder.pool([level.float() for level in maps]).cpu())
    return torch.cat(parts)  # (N, D)


class Stored(Encoder):
    """Stands for an encoder whose features are the input: maps (N, D, 1, 1)."""

    name = "stored"
    initialisation = "he"

    def __init__(self, channels: int) -> None:
        """Take features of a number of channels."""
        super().__init__({}, [Level(1, channels)], 1)
        self.in_channels = channels

    def depths(self) -> dict[str, int]:
        """Return nothing: there are no parameters."""
        return {}

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the input."""
        return [x]


class FeatureSamples(Samples):
    """Samples whose images are their stored features, one pixel of D channels: item i is (features float32 (1, 1, D), label, i)."""

    def __init__(self, features: Tensor, samples: Samples) -> None:
        """Join features (N, D) with the labels of the samples that they are of."""
        super().__init__(seed=0)
        self._features, self._samples = features, samples
        self.images, self.groups, self.mean, self.std = samples.images, samples.groups, (0.0,), (1.0,)  # not normalised

    def __getitem__(self, index: int) -> tuple[Tensor, Any, int]:
        """Return a sample."""
        return self._features[index][None, None], self._samples.label(index), index  # type: ignore[attr-defined]


class OnFeatures:
    """The training of a head on stored features, in place of that of its model on images.

    Attributes:
        model: classifier of stored features; its head is that of the model.
    """

    def __init__(self, tuning: FineTuning, fabric: Fabric, model: ImageClassifier) -> None:
        """Start.

        Args:
            tuning: the cell.
            fabric: device of the model.
            model: the frozen encoder and the head to train.
        """
        self._tuning, self._fabric, self._whole = tuning, fabric, model
        self.model = ImageClassifier(Stored(model.encoder.levels[-1].channels), model.decoder)

    def samples(self, split: str, *, augment: bool = False) -> Samples:
        """Open the features of a split; there is one view of each image, so nothing is augmented."""
        samples = self._tuning.samples(split)
        return FeatureSamples(stored_features(self._tuning, self._fabric, self._whole, samples), samples)

    def whole(self, trained: torch.nn.Module) -> ImageClassifier:
        """Return the model of images with the head of a trained model of features, such as a moving average."""
        self._whole.decoder.load_state_dict(trained.get_submodule("decoder").state_dict())
        return self._whole
