"""Samples of a prepared target: windows, seeds, workers and broken targets."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.data.target_samples import TargetSamples
from medtransfer.data.windows import title_images
from medtransfer.errors import InputError
from medtransfer.records import PreparedTarget

PLAIN: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "seed": 1}
Make = Callable[..., PreparedTarget]


def test_a_sample_is_the_stored_window(make_target: Make) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 3), dtype=np.uint8)
    target = make_target(images, images[..., 0], size=(4, 4), windows=[(0, 0, 0, 4, 4), (1, 3, 5, 4, 4)])
    samples = TargetSamples(target, "train", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), augment=False, seed=0)
    image, mask, position = samples[1]
    assert np.array_equal(image, images[1, 3:7, 5:9]) and samples.mean == (0.5, 0.4, 0.3) and samples.std == (0.2, 0.3, 0.4)
    assert image.dtype == torch.uint8 and mask.dtype == torch.uint8 and position == 1
    assert np.array_equal(mask, images[1, 3:7, 5:9, 0])
    assert samples.images == ["file0.png#0@0,0", "file1.png#0@3,5"] and samples.groups == ["p0", "p1"]


@pytest.mark.parametrize(
    ("images", "titles"),
    [
        (["a/one.png#0@0,0", "b/two.png#0@0,0"], ["one.png", "two.png"]),
        (["a/one.nii.gz#0@0,0", "a/one.nii.gz#12@0,0"], ["one.nii.gz, slice 0", "one.nii.gz, slice 12"]),
        (["one.png#0@0,0", "one.png#0@0,64"], ["one.png, from row 0, column 0", "one.png, from row 0, column 64"]),
        ([f"{'long' * 12}.nii#3@0,0", "no window"], ["…ong" + "long" * 6 + ".nii", "no window"]),
    ],
)
def test_titles_name_slices_and_windows_where_they_differ(images: list[str], titles: list[str]) -> None:
    assert title_images(images, 32) == titles


def test_without_augmentation_windows_are_centre_cropped(make_target: Make) -> None:
    images = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    target = make_target(images, images[..., 0], size=(4, 4), augmentation="rotate-crop")
    image, mask, _ = TargetSamples(target, "train", augment=False, **PLAIN)[0]
    assert np.array_equal(mask, images[0, 2:6, 2:6, 0])
    assert np.array_equal(image[..., 0], mask) and image.shape == (4, 4, 1)


def batches(samples: TargetSamples, workers: int) -> list[list[torch.Tensor]]:
    """Return the samples of two epochs."""
    made = loader(samples, EpochBatches(len(samples), 4, seed=0, shuffle=True, drop_last=False), workers, pin=False)
    epochs = []
    for epoch in (0, 1):
        samples.set_epoch(epoch)
        epochs.append([torch.cat([image.flatten(1), mask.flatten(1)], 1) for image, mask, _ in made])
    return epochs


@pytest.mark.parametrize("augmentation", ["rotate-flip", "rotate-crop"])
def test_workers_change_no_bit_and_epochs_differ(make_target: Make, augmentation: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
    target = make_target(images, images[..., 0] // 128, size=(16, 16), augmentation=augmentation)
    alone, helped = (batches(TargetSamples(target, "train", augment=True, **PLAIN), workers) for workers in (0, 2))
    for epoch in (0, 1):
        assert len(alone[epoch]) == 2
        assert all(torch.equal(a, b) for a, b in zip(alone[epoch], helped[epoch], strict=True))
    assert not torch.equal(alone[0][0], alone[1][0])  # the order is the same here, the augmentation is not


def test_augmentation_depends_on_seed_epoch_and_position(colour_target: PreparedTarget) -> None:
    samples, again, other = (
        TargetSamples(colour_target, "train", augment=True, mean=(0, 0, 0), std=(1, 1, 1), seed=seed) for seed in (1, 1, 2)
    )
    state = torch.get_rng_state()
    again.set_epoch(3)
    assert not torch.equal(samples[2][0], again[2][0]) and not torch.equal(samples[2][0], other[2][0])
    again.set_epoch(0)
    assert torch.equal(samples[2][0], again[2][0])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_worker_receives_no_copy_of_the_arrays(make_target: Make) -> None:
    images = np.zeros((64, 64, 64, 3), np.uint8)
    samples = TargetSamples(make_target(images, images[..., 0], size=(64, 64)), "train", augment=False, **PLAIN)
    assert samples[0][0].shape == (64, 64, 3)
    message = pickle.dumps(samples)
    assert len(message) < 20_000
    assert torch.equal(pickle.loads(message)[63][0], samples[63][0])


def test_pixels_to_ignore_need_a_target_that_has_them(make_target: Make) -> None:
    images = np.zeros((1, 4, 4, 1), np.uint8)
    masks = np.repeat(np.array([0, 1, 255, 255], np.uint8), 4).reshape(1, 4, 4)
    target = make_target(images, masks, size=(4, 4), ignore=True)
    assert np.array_equal(TargetSamples(target, "train", augment=False, **PLAIN)[0][1], masks[0])
    target = make_target(images, masks, size=(4, 4))
    with pytest.raises(InputError, match="labels up to 1 .* has 255"):
        TargetSamples(target, "train", augment=False, **PLAIN)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": [(0, 0, 0, 8, 8), (0, 1, 1, 8, 8)]}, "inside the arrays"),
        ({"windows": [(2, 0, 0, 8, 8)]}, "inside the arrays"),
        ({"windows": [(0, 0, 0, 6, 8)]}, "smaller"),
        ({"windows": [(0, 0, 0, 8, 8), (0, 0, 0, 8, 8)]}, "a different sample"),
        ({"augmentation": "twirl"}, "rotate-flip, affine, rotate-crop"),
        ({"augmentation": "rotate-crop"}, "at least 11.3 pixels"),
    ],
)
def test_broken_targets_are_refused(make_target: Make, change: dict[str, Any], message: str) -> None:
    images = np.zeros((2, 8, 8, 1), np.uint8)
    target = make_target(images, images[..., 0], size=(8, 8), **change)
    with pytest.raises(InputError, match=message):
        TargetSamples(target, "train", augment=True, **PLAIN)


@pytest.mark.parametrize(("second", "known"), [("2,0.5", True), (",", False)])
def test_sizes_of_pixels_count_if_all_are_known(second: str, known: bool, make_target: Make) -> None:
    target = make_target(np.zeros((2, 4, 4, 1), np.uint8), np.ones((2, 4, 4), np.uint8), size=(4, 4))
    path = target.folder / "index.csv"
    sizes = ["pixel_height,pixel_width", "1.5,1.5", second]
    lines = zip(path.read_text(encoding="utf-8").splitlines(), sizes, strict=True)
    path.write_text("\n".join(f"{line},{size}" for line, size in lines), encoding="utf-8")
    samples = TargetSamples(PreparedTarget.open(target.folder), "train", augment=False, **PLAIN)
    assert samples.pixel_sizes == ({"file0.png#0@0,0": (1.5, 1.5), "file1.png#0@0,0": (2.0, 0.5)} if known else {})
