"""Dataset of the images of a target's split with a label of the whole image, or several."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medtransfer.data.image_labels import read_labels, uncertain_rule
from medtransfer.data.pixels import to_images
from medtransfer.data.target_samples import TargetSamples
from medtransfer.records import UNCERTAIN, PreparedTarget

ENLARGED = 256 / 224  # side of an image to the side of its ten crops


class LabelledSamples(TargetSamples):
    """The samples of one split: item i is (pixels (H, W, C), label, i), as `TargetSamples` has them.

    The label is a whole number, or of several independent labels float32 (L,): 0, 1, IGNORE, or a number between for an
    uncertain one. Images are augmented as those with masks are.
    """

    def __init__(
        self, target: PreparedTarget, split: str, *, mean: Sequence[float], std: Sequence[float], augment: bool,
        seed: int, transforms: Sequence[Mapping[str, Any]] | None = None, ten_crop: bool = False,
    ) -> None:  # fmt: skip
        """Open a split; arguments as those of `TargetSamples`.

        Args:
            ten_crop: whether an image is its four corners, its centre, and all of them mirrored, (10, H, W, C), instead of its
                centre; a window that is no larger than the input is enlarged by 8/7 first, as 256 is to 224.

        Raises:
            InputError: as in `TargetSamples`, or a label is unknown.
        """
        super().__init__(target, split, mean=mean, std=std, augment=augment, seed=seed, transforms=transforms)
        self.labels = read_labels(target)[self._windows.rows]
        self._draws = uncertain_rule(target).drawn if augment and (self.labels == UNCERTAIN).any() else None
        if self.labels.ndim == 2 and self._draws is None and (self.labels == UNCERTAIN).any():
            self.labels = np.where(self.labels == UNCERTAIN, uncertain_rule(target).evaluated, self.labels)
        self._ten_crop = ten_crop

    def __getitem__(self, position: int) -> tuple[Tensor, Any, int]:
        """Return one sample; identical for the same (seed, epoch, position)."""
        image = self._crops(position) if self._ten_crop else super().__getitem__(position)[0]
        return image, self.label(position), position

    def _mask(self, position: int) -> np.ndarray:
        """Return a mask of nothing, for augmentations of pairs."""
        return np.zeros(self._windows.image(position).shape[:2], np.uint8)

    def label(self, position: int) -> Any:
        """Return the label of a sample, as in its item."""
        label = self.labels[position]
        if label.ndim == 0:
            return int(label)
        values = label.astype(np.float32)
        if self._draws is not None:
            rng = np.random.default_rng([self.item_seed(position), UNCERTAIN])  # not the numbers of the augmentation
            values = np.where(label == UNCERTAIN, rng.uniform(*self._draws, len(label)), values).astype(np.float32)
        return torch.from_numpy(values)

    def _crops(self, position: int) -> Tensor:
        """Return the corners and the centre of a window, and all of them mirrored: float32 (10, H, W, C) in [0, 1]."""
        from torchvision.transforms.functional import resize, ten_crop

        pixels, size = to_images(self._windows.image(position)), list(self._windows.size)  # (3, h, w)
        if tuple(pixels.shape[1:]) == tuple(size):
            pixels = resize(pixels, [round(side * ENLARGED) for side in size], antialias=True)
        return torch.stack(ten_crop(pixels, size)).movedim(1, -1).contiguous()
