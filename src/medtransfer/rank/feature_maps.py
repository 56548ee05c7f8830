"""Map of a candidate's features in the plane: t-SNE of the mean of its coarsest map over each image with a label.

Source: van der Maaten and Hinton 2008, as in scikit-learn, from principal components and with a seed, so that a map is repeatable.
Distances between groups, and their sizes, mean nothing in such a map; what it shows is which images are neighbours.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medtransfer.data.labelled_samples import LabelledSamples
from medtransfer.encoders.contract import Encoder
from medtransfer.records import PreparedTarget
from medtransfer.records.feature_map import MAP_SUFFIX, FeatureMap
from medtransfer.tasks import TASKS
from medtransfer.training.device import lay_out, place_pixels
from medtransfer.training.fabric import Fabric

log = logging.getLogger("medtransfer")
MOST, LEAST = 500, 10  # images of a map
PERPLEXITY = 30  # neighbours that count; of few images a third of them


def has_map(target: PreparedTarget) -> bool:
    """Return whether the images of a target can be coloured: each has one label."""
    return target.info.task in TASKS and TASKS[target.info.task].linear and target.image_labels.ndim == 1


def map_file(record: Path) -> Path:
    """Return the path of the map that belongs to the record of a candidate."""
    return record.with_suffix(MAP_SUFFIX)


def draw_map(
    path: Path, encoder: Encoder, target: PreparedTarget, split: str, contract: Mapping[str, Any], seed: int, fabric: Fabric
) -> None:  # fmt: skip
    """Write the map of a candidate's features of at most MOST images of a split; of too few images there is none.

    Args:
        path: CSV file with a row per image.
        encoder: the encoder.
        target: target with one label per image.
        split: samples to map.
        contract: `mean` and `std` of the encoder's images.
        seed: seed of the choice of images and of the map.
        fabric: device that features are computed on.
    """
    samples = LabelledSamples(target, split, mean=contract["mean"], std=contract["std"], augment=False, seed=seed)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(samples))[:MOST])
    if len(chosen) < LEAST:
        return
    features = _features(encoder, samples, chosen, fabric)
    if not np.isfinite(features).all():
        log.warning("rank: no map of %s, since some features are NaN or infinite", path.stem)
        return
    names = TASKS[target.info.task].weighted(target.info.classes)
    FeatureMap(_embed(features, seed), [names[int(samples.labels[index])] for index in chosen]).write(path)


@torch.no_grad()
def _features(encoder: Encoder, samples: LabelledSamples, chosen: np.ndarray, fabric: Fabric) -> np.ndarray:
    """Return the means of the coarsest map, standardised (N, D)."""
    fabric.to_device(lay_out(encoder)).eval()
    parts = []
    for batch in np.array_split(chosen, -(-len(chosen) // 32)):
        pixels = torch.stack([samples[index][0] for index in batch.tolist()])
        with fabric.autocast():
            parts.append(encoder(place_pixels(fabric, pixels, samples.mean, samples.std))[-1].float().mean(dim=(2, 3)).cpu())
    features = torch.cat(parts).double().numpy()
    deviations = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(deviations > 0, deviations, 1)


def _embed(features: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    positions: np.ndarray = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
    return positions
