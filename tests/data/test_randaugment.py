"""RandAugment of pixels against torchvision's of Pillow pictures, to the bit."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from medtransfer.data.randaugment import RandAugment

NAMES = tuple(v2.RandAugment._AUGMENTATION_SPACE)


def pictures() -> list[np.ndarray]:
    """Return noise, a smooth picture, dark and bright ones, few values, one value, and one pixel."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    smooth = np.array(Image.fromarray(noise[::10, ::13]).resize((52, 40), Image.Resampling.BICUBIC))
    narrow = rng.integers(90, 140, (37, 24, 3), dtype=np.uint8)
    few = rng.choice(np.array([3, 77, 250], np.uint8), (30, 31, 3))
    return [noise, smooth, smooth // 3, 255 - smooth // 4, narrow, few, np.full((20, 20, 3), 130, np.uint8), noise[:3, :3]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
def test_every_operation_has_the_bits_of_torchvisions(name: str, magnitude: int) -> None:
    space = {name: v2.RandAugment._AUGMENTATION_SPACE[name]}
    ours, theirs = (kind(num_ops=1, magnitude=magnitude) for kind in (RandAugment, v2.RandAugment))
    ours._AUGMENTATION_SPACE = theirs._AUGMENTATION_SPACE = space  # type: ignore[misc]
    for pixels in pictures():
        before = pixels.copy()
        for seed in range(4):  # of both signs
            torch.manual_seed(seed)
            expected = np.array(theirs(Image.fromarray(pixels)))
            torch.manual_seed(seed)
            assert np.array_equal(ours(pixels), expected)
        assert np.array_equal(pixels, before)


def test_the_draws_are_those_of_torchvisions() -> None:
    ours, theirs = (kind(num_ops=3, magnitude=9, num_magnitude_bins=31) for kind in (RandAugment, v2.RandAugment))
    seen = set()
    for seed in range(300):
        pixels = pictures()[seed % 6]
        torch.manual_seed(seed)
        expected = np.array(theirs(Image.fromarray(pixels)))
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        found = ours(pixels)
        assert np.array_equal(found, expected) and found.dtype == np.uint8 and torch.equal(torch.get_rng_state(), state)
        seen.add(found.tobytes())
    assert len(seen) > 290
