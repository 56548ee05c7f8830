"""Images that an encoder is pretrained on, augmented (paper A.3), whatever they are read from."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from medtransfer.data.epochs import EpochDataset
from medtransfer.data.randaugment import RandAugment
from medtransfer.data.resampling import RESAMPLINGS


class LabelledImages(EpochDataset[tuple[Tensor, Any]]):
    """The images of one split: item i is (pixels uint8 (size, size, 3), label).

    Attributes:
        mean: mean of the normalisation, per channel, in [0, 1] units; see `normalise_pixels`.
        std: standard deviation of the normalisation, likewise.
        classes: name of each output of the head.
        exclusive: whether a label is one of the classes, a whole number; else it has one value per class, 0, 1 or IGNORE.
        labels: the labels as they are stored, (N,) or (N, C).
    """

    classes: Sequence[str]
    exclusive: bool
    labels: np.ndarray

    def __init__(
        self, size: int, *, mean: Sequence[float], std: Sequence[float], train: bool, randaugment: Mapping[str, int] | None,
        seed: int, resampling: str = "pillow",
    ) -> None:  # fmt: skip
        """Set how images are augmented.

        Args:
            size: side of the square images, pixels.
            mean: mean per channel, in [0, 1] units.
            std: standard deviation per channel, in [0, 1] units.
            train: whether to crop and flip at random; otherwise the shorter side is resized to `size` and the centre cropped.
            randaugment: of RandAugment, in training only: `ops` per image, and their `magnitude` out of `scale`, at which a
                rotation has 30 degrees and a shear 0.3; None for none.
            seed: seed of the augmentation.
            resampling: key of RESAMPLINGS.
        """
        super().__init__(seed)
        self._size, self._train = size, train
        self.mean, self.std = tuple(mean), tuple(std)
        self._randaugment = _randaugment(**randaugment) if randaugment else None
        self._resampling = RESAMPLINGS[resampling]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """Return one image and its label; identical for the same (seed, epoch, index)."""
        picture = self._resampling.read(self, index)
        pixels = self._augment(picture, index) if self._train else self._resampling.middle(picture, self._size)
        return torch.from_numpy(pixels), self.label(index)

    def picture(self, index: int) -> Image.Image:
        """Return an image as it is stored, RGB."""
        raise NotImplementedError

    def pixels(self, index: int) -> Tensor:
        """Return the pixels of an image as it is stored, uint8 (H, W, 3)."""
        return torch.from_numpy(np.array(self.picture(index)))

    def label(self, index: int) -> Any:
        """Return the label of an image in this epoch."""
        raise NotImplementedError

    def _augment(self, picture: Any, index: int) -> np.ndarray:
        """Crop an area share of U[.8, 1] at the picture's aspect, resize, flip, RandAugment (Algorithm 1)."""
        rng = np.random.default_rng(self.item_seed(index))
        side = np.sqrt(rng.uniform(0.8, 1))
        width, height = self._resampling.size(picture)
        wide, tall = side * width, side * height
        left, top = rng.uniform(0, width - wide), rng.uniform(0, height - tall)
        pixels = self._resampling.crop(picture, (left, top, left + wide, top + tall), self._size)
        if rng.random() < 0.5:
            pixels = cv2.flip(pixels, 1)
        if self._randaugment is None:
            return pixels
        with torch.random.fork_rng(devices=[]):  # RandAugment uses torch's global generator
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            return self._randaugment(pixels)  # type: ignore[no-any-return]


def _randaugment(ops: int, magnitude: int, scale: int) -> RandAugment:
    return RandAugment(num_ops=ops, magnitude=magnitude, num_magnitude_bins=scale + 1)
