"""Dataset of the images and masks of a target's split, augmented for training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medtransfer.config.loaded_files import prepare_command
from medtransfer.data.augmentation import AUGMENTATIONS, Augmentation
from medtransfer.data.epochs import Samples
from medtransfer.data.pixels import centre, per_channel
from medtransfer.data.transforms import Transforms
from medtransfer.data.windows import Windows
from medtransfer.errors import InputError
from medtransfer.records import TARGET_FILE, PreparedTarget

Sample = tuple[Tensor, Tensor, int]


class TargetSamples(Samples):
    """The samples of one split: item i is (pixels (H, W, C), mask uint8 (H, W), i), of the target's input size.

    The pixels are uint8, or float32 in [0, 1] units where the augmentation makes fractions; see `normalise_pixels`.
    """

    def __init__(
        self, target: PreparedTarget, split: str, *, mean: Sequence[float], std: Sequence[float], augment: bool,
        seed: int, transforms: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        """Open a split.

        Args:
            target: the prepared target; its arrays stay on disk.
            split: `train`, `validation` or `test`.
            mean: mean per colour channel, in [0, 1] units, of the checkpoint; see `per_channel`.
            std: standard deviation per channel, likewise.
            augment: whether to augment; otherwise larger windows are cropped to their centre.
            seed: seed of the augmentation.
            transforms: albumentations transforms to augment by; None: the target's augmentation.

        Raises:
            InputError: the split is empty or broken, or the augmentation is unknown or cannot be used on its windows.
        """
        super().__init__(seed)
        self._windows = Windows(target, split)
        self.images, self.groups = self._windows.images, self._windows.groups
        self.pixel_sizes, self.regions = self._windows.pixel_sizes, target.info.regions
        self.mean, self.std = (per_channel(values, target.info.input_channels) for values in (mean, std))
        self._augment: Augmentation | None = None
        if augment and transforms is not None:
            self._augment = custom = Transforms(transforms)
            custom.check(np.array(self._windows.image(0)), np.array(self._mask(0)), self._windows.size)
        elif augment:
            self._augment = self._own_augmentation(target)

    def __getitem__(self, position: int) -> Sample:
        """Return one sample; identical for the same (seed, epoch, position)."""
        image, mask = self._windows.image(position), self._mask(position)
        size = self._windows.size
        if self._augment is None:
            pixels, labels = np.array(centre(image, size)), np.array(centre(mask, size))
        else:
            rng = np.random.default_rng(self.item_seed(position))
            pixels, labels = self._augment(np.array(image), np.array(mask), rng, size)
        return torch.from_numpy(pixels), torch.from_numpy(labels), position

    def _mask(self, position: int) -> np.ndarray:
        """Return the labels of a window's pixels, uint8 (h, w)."""
        return self._windows.mask(position)

    def _own_augmentation(self, target: PreparedTarget) -> Augmentation:
        """Return the augmentation that the target names, tried on its first sample."""
        name, file = target.info.augmentation, target.folder / TARGET_FILE
        if name not in AUGMENTATIONS:
            raise InputError(
                f"expected the augmentation in {file} to be one of {', '.join(AUGMENTATIONS)}, but got {name!r}; "
                f"make the target again with `{prepare_command(target.folder.name, '--force')}`"
            )
        try:
            AUGMENTATIONS[name](
                np.array(self._windows.image(0)), np.array(self._mask(0)), np.random.default_rng(0), self._windows.size
            )
        except ValueError as error:
            raise InputError(f"the augmentation {name!r} of {file} cannot be used: {error}") from None
        return AUGMENTATIONS[name]
