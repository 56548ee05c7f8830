"""Gradients of a triplet loss by the weights of an encoder's first two layers, image by image."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from medtransfer.encoders.contract import Encoder
from medtransfer.indicators.contract import Batch
from medtransfer.indicators.samples.labelled_pixels import to_grid
from medtransfer.indicators.samples.reservoir import pixel_keys
from medtransfer.records import IGNORE
from medtransfer.seeds import derive_seed

MARGIN = 0.05  # of the loss, in distances of unit vectors
NEAREST = 1e-12  # squared distance below which there is no gradient


@dataclass(frozen=True)
class GradientNorms:
    """Norms of the gradients of single images.

    Attributes:
        norms: float64 (M, 2), of the first and of the second layer.
        images: int64 (M,), position of each image.
        flags: `images_without_triplets` (left out, since they have one class only on the grid), `nonfinite` (images left out
            since their loss or gradient is not finite) and `few_layers` (the encoder has fewer than two layers); zero counts
            are left out.
    """

    norms: NDArray[np.float64]
    images: NDArray[np.int64]
    flags: dict[str, int] = field(default_factory=dict)

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the norms of the chosen images."""
        return replace(self, norms=self.norms[rows], images=self.images[rows])

    def ratio(self) -> float:
        """Return the mean norm of the second layer over that of the first; NaN without a gradient."""
        first, second = self.norms.mean(axis=0) if len(self.norms) else (0.0, 0.0)
        return float(second / first) if first > 0 else float("nan")


def triplet_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean of what is positive of |u - u+| - |u - u-| + MARGIN over all triplets, u = x / |x|.

    Args:
        embeddings: (n, D).
        labels: (n,); u+ has the label of u, u- another one.

    Returns:
        The loss, 0 where none is positive.

    Source: `TripletMarginLoss` of pytorch-metric-learning with its default settings, as in the code of arXiv:2412.20172.
    """
    units = nn.functional.normalize(embeddings)
    distances = (units[:, None] - units).square().sum(2).clamp(min=NEAREST).sqrt()  # (n, n)
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=same.device)
    losses = (distances[:, :, None] - distances[:, None, :] + MARGIN).relu()  # (n, n, n): anchor, positive, negative
    losses = losses * (positive[:, :, None] & ~same[:, None, :])
    return losses.sum() / (losses > 0).sum().clamp(min=1)


def first_layers(encoder: nn.Module) -> list[str]:
    """Return the names of the weights of the first two layers, convolutions or linear ones, in the order of the modules."""
    layers = (name for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))
    return [f"{name}.weight" for name, _ in zip(layers, range(2), strict=False)]


class FirstGradients:
    """Passes some images through the encoder one by one, and back to its first two layers.

    Each has a loss of its own, so that the result does not depend on the batches, and a part of the memory of a batch.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"images", "labels"})

    def __init__(
        self, images: tuple[str, ...], encoder: Encoder, classes: int, level: int, pixels: int, most: int, seed: int
    ) -> None:  # fmt: skip
        """Choose images.

        Args:
            images: ids, in the order of the positions in batches.
            encoder: encoder of the pass.
            classes: number of labels, background included.
            level: level of the embeddings, counted from the end.
            pixels: most embeddings of an image, the same share for each of its classes.
            most: most images.
            seed: seed of the choice of images and pixels.
        """
        shuffled = np.random.default_rng(derive_seed(seed, "gradients")).permutation(len(images))
        self._chosen = set(shuffled[:most].tolist())
        self._images, self._encoder, self._classes, self._level = images, encoder, classes, level
        self._pixels, self._seed = pixels, seed
        self._layers = first_layers(encoder)
        self._norms: dict[int, NDArray[np.float64]] = {}
        self._flags = {"images_without_triplets": 0, "nonfinite": 0, "few_layers": int(len(self._layers) < 2)}

    def update(self, batch: Batch) -> None:
        """Compute the gradients of the chosen images of a batch."""
        assert batch.images is not None and batch.labels is not None
        if self._flags["few_layers"]:
            return
        for row, position in enumerate(batch.positions.tolist()):
            if position in self._chosen:
                self._add(position, batch.images[row, None], batch.labels[row, None])

    def collect(self) -> GradientNorms:
        """Return the norms, in the order of the images."""
        positions = sorted(self._norms)
        norms = np.array([self._norms[position] for position in positions]).reshape(-1, 2)
        return GradientNorms(
            norms, np.array(positions, dtype=np.int64), {name: count for name, count in self._flags.items() if count}
        )

    def _add(self, position: int, image: Tensor, labels: Tensor) -> None:
        weights = {name: self._encoder.get_parameter(name).detach().requires_grad_() for name in self._layers}
        with torch.enable_grad():
            features = functional_call(self._encoder, weights, (image,))[self._level][0]  # (D, h, w)
            grid = to_grid(labels, self._classes, *features.shape[1:])[0].ravel()
            rows = self._draw(grid, self._images[position])
            if len(np.unique(grid[rows])) < 2:
                self._flags["images_without_triplets"] += 1
                return
            chosen = torch.from_numpy(rows).to(features.device)
            loss = triplet_loss(features.flatten(1)[:, chosen].T.float(), torch.from_numpy(grid[rows]).to(features.device))
        norms = np.zeros(2)
        if loss.requires_grad:  # some embedding depends on the layers
            gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
            norms = np.array([float(gradient.norm()) for gradient in gradients])
        if np.isfinite([*norms, float(loss.detach())]).all():
            self._norms[position] = norms
        else:
            self._flags["nonfinite"] += 1

    def _draw(self, grid: NDArray[np.int64], image: str) -> NDArray[np.int64]:
        """Draw as many pixels of each class of a grid (h * w,)."""
        order = np.argsort(pixel_keys(self._seed, [image], len(grid)))
        classes = np.setdiff1d(grid, [IGNORE])
        share = self._pixels // max(1, len(classes))
        return np.concatenate([order[grid[order] == label][: max(2, share)] for label in classes] or [order[:0]])
