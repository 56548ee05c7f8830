"""A trained segmenter and test samples go in; a PNG comes out: image, truth and prediction side by side, worst to best."""

from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from medtransfer.data.target_samples import TargetSamples
from medtransfer.finetune.evaluation import predict
from medtransfer.metrics.segmentation import Evaluation
from medtransfer.records import atomic_path

COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")  # Okabe and Ito, colour-blind-safe


@torch.no_grad()
def draw_overlays(
    path: Path, fabric: Fabric, model: nn.Module, samples: TargetSamples, evaluation: Evaluation, class_names: list[str],
    mean: list[float], std: list[float], number: int,
) -> None:  # fmt: skip
    """Draw samples with a true mask, spread evenly from the lowest to the highest per-image Dice.

    Args:
        path: of the PNG.
        fabric: places the images.
        model: gives logits.
        samples: not augmented.
        evaluation: of the same samples, in their order.
        class_names: of the non-background classes.
        mean: that the samples were normalised with, a channel.
        std: likewise.
        number: of samples to draw.
    """
    chosen = _spread(samples, [row["dice"] for row in evaluation.per_image], number)
    figure = Figure(figsize=(7.5, 2.5 * len(chosen)), layout="constrained")
    rows = figure.subplots(len(chosen), 3, squeeze=False)
    for axes, index in zip(rows, chosen, strict=True):
        image, truth, _ = samples[index]
        probabilities = predict(fabric, model, image[None])[0]
        predicted = (probabilities[0] > 0.5).long() if len(probabilities) == 1 else probabilities.argmax(0)
        picture = _restore(image, mean, std)  # (H, W, 3)
        dice = evaluation.per_image[index]["dice"]
        titles = (samples.images[index].rsplit("/", 1)[-1], "truth", f"prediction, Dice {dice:.3f}")
        masks = (np.zeros_like(truth), np.asarray(truth), predicted.numpy())
        for axis, title, mask in zip(axes, titles, masks, strict=True):
            axis.imshow(_paint(picture, mask))
            axis.set_title(title, fontsize=8)
            axis.set_axis_off()
    handles = [_patch(c, name) for c, name in enumerate(class_names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _spread(samples: TargetSamples, dice: list[float], number: int) -> list[int]:
    filled = [index for index in range(len(samples)) if samples[index][1].any()] or list(range(len(samples)))
    ranked = sorted(filled, key=lambda index: (dice[index], index))
    places = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    return [ranked[place] for place in dict.fromkeys(places.tolist())]


def _restore(image: torch.Tensor, mean: list[float], std: list[float]) -> NDArray[np.uint8]:
    pixels = image * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    return (255 * pixels.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()


def _paint(picture: NDArray[np.uint8], mask: NDArray) -> NDArray[np.uint8]:
    """Blend each class's colour over the picture."""
    from matplotlib.colors import to_rgb

    painted = picture.astype(np.float64)
    for label in np.unique(mask[mask > 0]):
        colour = 255 * np.array(to_rgb(COLOURS[(int(label) - 1) % len(COLOURS)]))
        painted[mask == label] = 0.45 * painted[mask == label] + 0.55 * colour
    return painted.astype(np.uint8)


def _patch(number: int, name: str) -> object:
    from matplotlib.patches import Patch

    return Patch(color=COLOURS[number % len(COLOURS)], label=name)
