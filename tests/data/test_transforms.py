"""Augmentation from the params: what is refused, that labels stay labels, and that the seed of a sample decides."""

import random
import re
from collections.abc import Callable
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.data.target_samples import TargetSamples
from medtransfer.data.transforms import SINGLE, Transforms
from medtransfer.errors import InputError
from medtransfer.records import PreparedTarget

SIZE = (48, 40)
REAL = [
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"rotate": [-15, 15], "scale": [0.8, 1.2], "translate_percent": [-0.1, 0.1], "fill_mask": 255, "p": 0.8}},
    {"ElasticTransform": {"alpha": 30, "sigma": 5, "p": 0.5}},
    {"OneOf": {"transforms": [{"GaussNoise": {}}, {"GaussianBlur": {"blur_limit": [3, 5]}}], "p": 0.5}},
    {"RandomBrightnessContrast": {"p": 0.5}},
    {"RandomGamma": {"p": 0.3}},
]
NEEDS = {  # other inputs than an image and a mask
    "AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "RandomCropNearBBox", "RandomSizedBBoxSafeCrop", "FDA", "HistogramMatching",
    "PixelDistributionAdaptation", "Mosaic", "OverlayElements", "TextImage",
}  # fmt: skip
FLOATS = {"Normalize", "ToFloat", "FromFloat", "ToTensorV2"}
SIZED: dict[str, dict[str, Any]] = {
    "CenterCrop": {"height": 48, "width": 40}, "RandomCrop": {"height": 48, "width": 40}, "Resize": {"height": 60, "width": 60},
    "CropNonEmptyMaskIfExists": {"height": 48, "width": 40}, "RandomResizedCrop": {"size": [48, 40]},
    "RandomSizedCrop": {"min_max_height": [40, 60], "size": [48, 40]}, "CropAndPad": {"px": 5},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 5},
    "Crop": {"x_max": 50, "y_max": 50}, "Erasing": {}, "LongestMaxSize": {"max_size": 90}, "SmallestMaxSize": {"max_size": 90},
    "PadIfNeeded": {"min_height": 80, "min_width": 80}, "Pad": {"padding": 5}, "RandomScale": {"scale_limit": [0, 0.5]},
}  # fmt: skip


def picture(channels: int = 3, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Return a bright disc beside the centre, with the labels 0, 3 and 255."""
    rows, columns = np.mgrid[:side, :side]
    distance = (rows - side * 0.45) ** 2 + (columns - side * 0.55) ** 2
    mask = np.where(distance < (side * 0.25) ** 2, 3, np.where(distance < (side * 0.35) ** 2, 255, 0)).astype(np.uint8)
    return np.repeat(((mask == 3) * 155 + 50)[..., None], channels, axis=2).astype(np.uint8), mask


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"HorizontalFlipp": {}}, "albumentations in finetune.augmentation, such as HorizontalFlip, .*'HorizontalFlipp'"),
        ({"Affine": {"angle": 3}}, r"arguments of Affine in finetune.augmentation \(scale, .* p\), but got 'angle'"),
        ({"Affine": {"rotate": "far"}}, "valid arguments of Affine in finetune.augmentation, but got {'rotate': 'far'} "),
        ({"HorizontalFlip": {"p": 1.5}}, "valid arguments of HorizontalFlip .*1.5"),
        ({"RandomCrop": {}}, "valid arguments of RandomCrop"),
        ({"Rotate": {"mask_interpolation": 1}}, "Rotate in finetune.augmentation without mask_interpolation, but got 1: labels"),
        ({"OneOf": {"p": 0.5}}, r"transforms of OneOf in finetune.augmentation to list transforms, .* but got None"),
        ({"OneOf": {"transforms": [{"Twirl": {}}]}}, "a transform of albumentations .*'Twirl'"),
        ({"Compose": {"transforms": []}}, "a transform of albumentations .*'Compose'"),
    ],
)  # fmt: skip
def test_unknown_transforms_arguments_and_values_are_refused_in_one_sentence(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Transforms([{"VerticalFlip": {}}, entry])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "channels", "message"),
    [
        ({"Normalize": {"p": 0.01}}, 3, "8-bit images and masks .* but Normalize cannot be used on an image of 64x64x3 .*float32"),
        ({"RandomCrop": {"height": 90, "width": 90, "p": 0.01}}, 3, "RandomCrop cannot be used"),
        ({"HistogramMatching": {"p": 0.01}}, 3, "HistogramMatching cannot be used"),
        ({"CenterCrop": {"height": 20, "width": 20, "p": 1}}, 3, r"the transforms in finetune.augmentation .* at least \(48, 40\)"),
        ({"OneOf": {"transforms": [{"ToFloat": {}}], "p": 0.01}}, 1, "ToFloat cannot be used"),
        ({"Affine": {"fill_mask": 7, "rotate": [40, 50]}}, 1, r"Affine .* makes the labels \[7\]"),
    ],
)  # fmt: skip
def test_transforms_that_fail_only_sometimes_are_refused_at_once(entry: dict[str, Any], channels: int, message: str) -> None:
    image, mask = picture(channels)
    with pytest.raises(InputError, match=message):
        Transforms([entry]).check(image, mask, SIZE)


@pytest.mark.parametrize("name", sorted(SINGLE.keys() - NEEDS - FLOATS))
def test_every_transform_keeps_labels_and_depends_on_the_generator_alone(name: str) -> None:
    """Whatever the state of the global generators; twice from the same seed, once from another."""
    image, mask = picture()
    image = (image + np.random.default_rng(0).integers(0, 50, image.shape)).astype(np.uint8)
    transforms = Transforms([{name: {**SIZED.get(name, {}), "p": 1.0}}])
    transforms.check(image, mask, (20, 20))
    results = []
    for state, seed in ((1, 5), (2, 5)):
        np.random.seed(state)
        random.seed(state)
        results.append(transforms(image.copy(), mask.copy(), np.random.default_rng(seed), (20, 20)))
    for pixels, labels in results:
        assert pixels.shape == (20, 20, 3) and pixels.dtype == np.uint8
        assert labels.shape == (20, 20) and labels.dtype == np.uint8 and set(np.unique(labels)) <= {0, 3, 255}
    assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_image_and_mask_move_alike(channels: int) -> None:
    image, mask = picture(channels, 96)
    transforms = Transforms([REAL[0], {"Affine": {**REAL[1]["Affine"], "fill_mask": 0}}, {"D4": {"p": 1}}])
    seen = set()
    for seed in range(30):
        pixels, labels = transforms(image, mask, np.random.default_rng(seed), (96, 96))
        assert ((pixels[..., 0] > 128) != (labels == 3)).mean() < 0.02
        seen.add(labels.tobytes())
    assert len(seen) > 20


def test_probabilities_are_those_given() -> None:
    """A flip with p = .25 of 800 samples, and noise that is independent of it."""
    image, mask = picture(1)
    transforms = Transforms([{"HorizontalFlip": {"p": 0.25}}, {"InvertImg": {"p": 0.5}}])
    moved = [transforms(image, mask, np.random.default_rng(seed), (64, 64)) for seed in range(800)]
    flips = np.array([not np.array_equal(labels, mask) for _, labels in moved])
    inverted = np.array([pixels.mean() > 127.5 for pixels, _ in moved])
    assert abs(flips.mean() - 0.25) < 0.05 and abs(inverted.mean() - 0.5) < 0.06
    assert abs(inverted[flips].mean() - inverted[~flips].mean()) < 0.12


def test_workers_change_no_bit_and_the_target_is_not_augmented_twice(make_target: Callable[..., PreparedTarget]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 1), dtype=np.uint8)
    target = make_target(images, images[..., 0] // 128, size=(48, 40), augmentation="rotate-crop")
    chosen: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "seed": 1, "transforms": REAL}

    def epochs(workers: int) -> list[torch.Tensor]:
        samples = TargetSamples(target, "train", augment=True, **chosen)
        made = loader(samples, EpochBatches(6, 4, seed=0, shuffle=True, drop_last=False), workers, pin=False)
        return [torch.cat([image for image, _, _ in made]) for epoch in (1, 2) if samples.set_epoch(epoch) is None]

    alone, helped = epochs(0), epochs(2)
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True)) and not torch.equal(alone[0], alone[1])
    none = TargetSamples(target, "train", augment=True, **{**chosen, "transforms": []})
    plain = TargetSamples(target, "train", augment=False, **chosen)
    assert all(torch.equal(none[i][0], plain[i][0]) and torch.equal(none[i][1], plain[i][1]) for i in range(6))


def test_every_transform_is_known_and_what_needs_more_is_refused() -> None:
    assert {"Affine", "ElasticTransform", "CLAHE", "CoarseDropout"} <= SINGLE.keys()
    assert not {"Compose", "DualTransform", "CubicSymmetry"} & SINGLE.keys()
    image, mask = picture()
    for name in NEEDS - {"TextImage"} | FLOATS:
        with pytest.raises((InputError, TypeError), match=re.escape(name)):
            Transforms([{name: {}}]).check(image, mask, (20, 20))
    assert A.__version__.startswith("2.")


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channels_are_transformed_or_the_transform_is_named(channels: int) -> None:
    image, mask = picture(channels)
    transforms = Transforms(REAL)
    transforms.check(image, mask, SIZE)
    pixels, labels = transforms(image, mask, np.random.default_rng(0), SIZE)
    assert pixels.shape == (*SIZE, channels) and labels.shape == SIZE
    with pytest.raises(InputError, match=f"HueSaturationValue cannot be used on an image of 64x64x{channels}"):
        Transforms([{"HueSaturationValue": {}}]).check(image, mask, SIZE)
