"""Views of pictures for pretraining without labels: crops with jittered colours, and what is masked in them.

Source: Dippel et al. 2021 and 2022, whose released code has the numbers: crops and colours as in SimCLR (Chen et al. 2020), masks
as in Models Genesis (Zhou et al. 2019). Pixels are in [0, 1].
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from medtransfer.data.epochs import EpochDataset
from medtransfer.data.pixels import to_images
from medtransfer.data.resampling import RESAMPLINGS, Pictures, Resampling

ASPECT = (3 / 4, 4 / 3)  # width : height of a crop, relative to a square
JITTER, STRENGTH, HUE = 0.8, 0.8, 0.2  # probability; largest change of brightness, contrast, saturation; of the hue
GREY, BLUR, KERNEL, SIGMA = 0.2, 0.5, 0.1, (0.1, 2.0)  # probabilities; kernel as a share of the side; pixels
SHUFFLED, PAINTED = 0.33, 0.66  # below: local shuffling, in-painting; above: out-painting
SHUFFLE_BLOCKS, SHUFFLE_SIDE, SHUFFLE_MORE = 15, 0.2, 0.99  # at most; largest side as a share; probability of another block
PAINT_BLOCKS, PAINT_SIDES, PAINT_MORE = 5, (0.14, 0.2), 0.95
KEPT_BLOCKS, KEPT_SIDES, KEPT_MORE = 5, (4 / 7, 5 / 7), 0.95


class View(NamedTuple):
    """One view of a picture, all of the same crop.

    Attributes:
        masked: the view with masked pixels replaced, float32 (3, H, W).
        plain: the view, (3, H, W).
        original: the crop in the picture's own colours, (3, H, W).
        mask: 1 where pixels were replaced, else 0, (1, H, W).
    """

    masked: Tensor
    plain: Tensor
    original: Tensor
    mask: Tensor

    @classmethod
    def split(cls, stacked: Tensor) -> "View":
        """Return the parts of views (..., 10, H, W) that `stack` made."""
        return cls(*stacked.split([3, 3, 3, 1], dim=-3))

    def stack(self) -> Tensor:
        """Return all parts as (10, H, W)."""
        return torch.cat(list(self))


class PretextViews(EpochDataset[Tensor]):
    """The pictures of a split as views: item i is float32 (views, 10, H, W), see `View`.

    Without masks it is float32 (views, 3, H, W), and without colours, too, uint8 (views, H, W, 3).
    """

    def __init__(
        self, pictures: Pictures, size: int, seed: int, *, views: int, smallest: float, colours: bool = True, masks: bool = True,
        resampling: str = "pillow",
    ) -> None:  # fmt: skip
        """Set how views are made.

        Args:
            pictures: pictures of the split.
            size: side of the views, pixels.
            seed: seed of the random numbers.
            views: views of each picture.
            smallest: smallest share of a picture's area in a crop.
            colours: whether to jitter the colours, to blur, and to take colours away.
            masks: whether to mask.
            resampling: key of RESAMPLINGS.
        """
        super().__init__(seed)
        self._pictures, self._size, self._views, self._smallest = pictures, size, views, smallest
        self._colours, self._masks, self._resampling = colours, masks, RESAMPLINGS[resampling]

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._pictures)

    def __getitem__(self, index: int) -> Tensor:
        """Return the views of a picture; identical for the same (seed, epoch, index)."""
        rng = np.random.default_rng(self.item_seed(index))
        picture = self._resampling.read(self._pictures, index)
        return torch.stack([self._view(picture, rng) for _ in range(self._views)])

    def _view(self, picture: Any, rng: np.random.Generator) -> Tensor:
        pixels = random_crop(picture, self._size, self._smallest, rng, self._resampling)
        if not self._colours and not self._masks:
            return torch.from_numpy(pixels)
        original = to_images(pixels)
        plain = change_colours(original, rng) if self._colours else original
        if not self._masks:
            return plain
        masked, mask = mask_pixels(plain, rng)
        return View(masked, plain, original, mask).stack()


def random_crop(picture: Any, size: int, smallest: float, rng: np.random.Generator, resampling: Resampling) -> np.ndarray:
    """Cut out a share U[smallest, 1] of the area at a log-uniform aspect, resize it to a square, and flip it with probability 1/2.

    A crop that does not fit is drawn again, after ten times the largest centred square.

    Returns:
        uint8 (size, size, 3).
    """
    full_width, full_height = resampling.size(picture)
    width = height = float(min(full_width, full_height))
    left, top = (full_width - width) / 2, (full_height - height) / 2
    for _ in range(10):
        area = rng.uniform(smallest, 1) * full_width * full_height
        aspect = np.exp(rng.uniform(*np.log(ASPECT)))
        wide, tall = np.sqrt(area * aspect), np.sqrt(area / aspect)
        if wide <= full_width and tall <= full_height:
            width, height = wide, tall
            left, top = rng.uniform(0, full_width - wide), rng.uniform(0, full_height - tall)
            break
    crop = resampling.crop(picture, (left, top, left + width, top + height), size)
    return cv2.flip(crop, 1) if rng.random() < 0.5 else crop


def change_colours(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Jitter the colours in random order, take them away, and blur, each with its probability.

    Args:
        image: float32 (3, H, W) in [0, 1].
        rng: source of all randomness.
    """
    if rng.random() < JITTER:
        factors = rng.uniform(1 - STRENGTH, 1 + STRENGTH, 3)
        hue = float(rng.uniform(-HUE, HUE))
        for change in rng.permutation(4):
            if change == 3:
                image = functional.adjust_hue(image, hue)
            else:
                adjust = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)[change]
                image = adjust(image, float(factors[change]))
            image = image.clamp(0, 1)
    if rng.random() < GREY:
        image = functional.rgb_to_grayscale(image, num_output_channels=3)
    if rng.random() < BLUR:
        image = _blur(image, float(rng.uniform(*SIGMA)))
    return image


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian whose odd kernel is a tenth of the side long."""
    side = 2 * round(KERNEL * image.shape[-1] / 2) + 1
    blurred = cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (side, side), sigma)
    return torch.from_numpy(blurred).permute(2, 0, 1).contiguous()


def mask_pixels(image: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mask a view by local shuffling, in-painting or out-painting, each a third of the time.

    Args:
        image: float32 (3, H, H) in [0, 1].
        rng: source of all randomness.

    Returns:
        The masked view (3, H, H), and the map of masked pixels (1, H, H), 1 where pixels were replaced.
    """
    kind = rng.random()
    if kind <= SHUFFLED:
        return _shuffle(image, rng)
    return _paint_in(image, rng) if kind <= PAINTED else _paint_out(image, rng)


def _shuffle(image: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Shuffle the pixels within blocks."""
    masked, mask = image.clone(), torch.zeros_like(image[:1])
    for _ in range(SHUFFLE_BLOCKS):
        if rng.random() >= SHUFFLE_MORE:
            break
        rows, columns = _block(image.shape[-1], (0.0, SHUFFLE_SIDE), rng)
        pixels = masked[:, rows, columns]
        order = torch.from_numpy(rng.permutation(pixels[0].numel()))
        masked[:, rows, columns] = pixels.flatten(1)[:, order].view_as(pixels)
        mask[:, rows, columns] = 1
    return masked, mask


def _paint_in(image: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Paint blocks, each in one random colour."""
    masked, mask = image.clone(), torch.zeros_like(image[:1])
    for _ in range(PAINT_BLOCKS):
        if rng.random() >= PAINT_MORE:
            break
        rows, columns = _block(image.shape[-1], PAINT_SIDES, rng)
        masked[:, rows, columns] = _colour(rng)
        mask[:, rows, columns] = 1
    return masked, mask


def _paint_out(image: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Paint everything outside a union of windows in one random colour; the first window is always kept."""
    masked, mask = _colour(rng).expand_as(image).clone(), torch.ones_like(image[:1])
    for number in range(KEPT_BLOCKS):
        if number and rng.random() >= KEPT_MORE:
            break
        rows, columns = _block(image.shape[-1], KEPT_SIDES, rng)
        masked[:, rows, columns] = image[:, rows, columns]
        mask[:, rows, columns] = 0
    return masked, mask


def _block(side: int, sides: tuple[float, float], rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw a block whose height and width are shares of the side, at least a pixel."""
    low, high = (max(1, round(share * side)) for share in sides)
    height, width = rng.integers(low, high + 1, 2)
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    return slice(top, top + height), slice(left, left + width)


def _colour(rng: np.random.Generator) -> Tensor:
    """Draw a colour, (3, 1, 1)."""
    return torch.from_numpy(rng.random(3, dtype=np.float32))[:, None, None]
