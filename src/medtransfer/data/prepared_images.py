"""Pretraining images from a prepared target with labels of whole images, such as the findings in chest X-rays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from medtransfer.config.loaded_files import prepare_command
from medtransfer.data.labelled_images import LabelledImages
from medtransfer.data.labelled_samples import LabelledSamples
from medtransfer.data.windows import Windows
from medtransfer.errors import InputError
from medtransfer.records import IMAGE_TASKS, TARGET_FILE, PreparedTarget

SPLITS = {"train": "train", "val": "validation"}  # names of the splits in a prepared target


class PreparedImages(LabelledImages):
    """The samples of one split: item i is (image float32 (3, size, size), label).

    A label is the number of one of several classes, or of independent labels float32 (C,): 0, 1, IGNORE, or a number between
    for an uncertain one.
    """

    def __init__(
        self, target: PreparedTarget, split: str, size: int, *, mean: Sequence[float], std: Sequence[float], train: bool,
        randaugment: Mapping[str, int] | None, seed: int, resampling: str = "pillow",
    ) -> None:  # fmt: skip
        """Open a split.

        Args:
            target: the prepared target.
            split: `train` or `val`, its validation samples.
            size: and further arguments as in `LabelledImages`.

        Raises:
            InputError: the target has no labels of images, no colour or grey images, or no such samples.
        """
        super().__init__(size, mean=mean, std=std, train=train, randaugment=randaugment, seed=seed, resampling=resampling)
        check_source(target)
        self._target, self._windows = target, Windows(target, SPLITS[split])
        self._samples = LabelledSamples(target, SPLITS[split], mean=mean, std=std, augment=train, seed=seed)
        self.labels = self._samples.labels
        self.classes = target.info.classes
        self.exclusive = target.info.task in ("multiclass", "ordinal")

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next items, on which the values of uncertain labels depend, too."""
        super().set_epoch(epoch)
        self._samples.set_epoch(epoch)

    def picture(self, index: int) -> Image.Image:
        """Return a sample's window; grey is repeated to RGB."""
        return window_picture(self._windows, index)

    def label(self, index: int) -> Any:
        """Return the label of a sample in this epoch."""
        return self._samples.label(index)


def window_picture(windows: Windows, index: int) -> Image.Image:
    """Return a sample's window as a picture; grey is repeated to RGB."""
    pixels = np.array(windows.image(index))
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")


def check_source(target: PreparedTarget) -> None:
    """Check that encoders can be pretrained to classify the images of a target.

    Raises:
        InputError: it has no labels of images, other channels than grey or RGB, or no validation samples.
    """
    record = target.folder / TARGET_FILE
    if target.info.task not in IMAGE_TASKS:
        raise InputError(
            f"expected a target with labels of whole images to pretrain on, a task among {', '.join(IMAGE_TASKS)}, but {record} "
            f"has the task {target.info.task}; name another source_root"
        )
    check_images(target)


def check_images(target: PreparedTarget) -> None:
    """Check that encoders can be pretrained on the images of a target, with or without its labels.

    Raises:
        InputError: they have other channels than grey or RGB, or there are no validation samples.
    """
    record = target.folder / TARGET_FILE
    if target.info.input_channels != 3:
        raise InputError(f"expected grey or RGB images to pretrain on, but those of {record} have {target.info.channels} channels")
    if "validation" not in set(target.index["split"]):
        raise InputError(
            f"expected validation samples in {target.folder}, on which the pretraining is measured, but there are none; prepare it "
            f"with a validation share: `{prepare_command(target.folder.name, '--validation 0.1')}`"
        )
