"""Dense representation structure estimator: separate, tight clusters of pixels in many dimensions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Context
from medtransfer.indicators.directions import directions, is_collapsed, require_samples
from medtransfer.indicators.sampled import SampledIndicator
from medtransfer.indicators.samples.dense_images import DenseImages, dense_images
from medtransfer.indicators.samples.pixels import Embeddings
from medtransfer.indicators.spectrum import effective_rank, gram_eigenvalues
from medtransfer.seeds import derive_seed

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
IMAGES, CLUSTERS = 8, 3  # images that are clustered together, and clusters per image


@dataclass(frozen=True)
class Clustering:
    """Clusters of some rows of the features.

    Attributes:
        rows: (n,), which rows.
        labels: (n,), cluster of each of them.
    """

    rows: Indices
    labels: Indices


def dse(
    features: Numbers, across: list[Clustering], within: list[Clustering], draws: list[Indices], weight: float = 1.0
) -> tuple[float, dict[str, int]]:
    """Compute M_inter - M_intra + weight * M_dim of the directions u of embeddings.

    M_inter is the mean distance of an embedding to the nearest centroid of another cluster; M_intra the mean over clusters of
    the sum of their centred singular values over sqrt(max(n - 1, D)), averaged over both kinds of clusterings; both are in
    units of the mean distance to the mean of all u. M_dim is the mean over draws of RankMe (not centred) over min(n, D).

    Args:
        features: finite (N, D).
        across: clusterings of the pixels of several images.
        within: clusterings of the pixels of single images.
        draws: rows of the features whose dimension counts, such as one pixel of each image.
        weight: lambda; its authors take sd(M_inter - M_intra) / sd(M_dim) over the checkpoints of a run, and 1 in their code.

    Returns:
        The value, NaN if all directions are one, no clustering across images has two clusters, or no cluster two
        embeddings; and flags: `zero_vectors` (embeddings that count as zeros) and `constant`.

    Raises:
        ValueError: the features are no sample.

    Source: Dai et al., Exploring Structural Degradation in Dense Representations for Self-supervised Learning,
    arXiv:2510.17299, with the scalings of its code.
    """
    require_samples(features)
    units, nonzero = directions(features)
    constant = is_collapsed(units[nonzero])
    flags = {"zero_vectors": int((~nonzero).sum()), "constant": int(constant)}
    flags = {name: number for name, number in flags.items() if number}
    distances = [_foreign_distance(units, clustering) for clustering in across if len(np.unique(clustering.labels)) > 1]
    radii = [[_radius(cluster) for clustering in kind for cluster in _clusters(units, clustering)] for kind in (across, within)]
    if constant or not distances or not all(radii):
        return np.nan, flags
    spread = np.linalg.norm(units - units.mean(axis=0), axis=1).mean()
    intra = np.mean([np.mean(kind) for kind in radii])
    dimension = np.mean([effective_rank(np.sqrt(gram_eigenvalues(units[rows]))) / min(units[rows].shape) for rows in draws])
    return float((np.mean(distances) - intra) / spread + weight * dimension), flags


def _foreign_distance(units: Numbers, clustering: Clustering) -> float:
    """Return the mean distance to the nearest centroid of another cluster."""
    from scipy.spatial.distance import cdist

    points = units[clustering.rows]
    own, labels = np.unique(clustering.labels, return_inverse=True)
    centroids = np.stack([points[labels == label].mean(axis=0) for label in range(len(own))])
    distances = cdist(points, centroids)  # (n, clusters)
    distances[np.arange(len(points)), labels] = np.inf
    return float(distances.min(axis=1).mean())


def _clusters(units: Numbers, clustering: Clustering) -> Iterator[Numbers]:
    """Yield the embeddings of each cluster of two or more."""
    for label in np.unique(clustering.labels):
        cluster = units[clustering.rows[clustering.labels == label]]
        if len(cluster) > 1:
            yield cluster


def _radius(cluster: Numbers) -> float:
    """Return the sum of the centred singular values over sqrt(max(n - 1, D))."""
    n, d = cluster.shape
    return float(np.sqrt(gram_eigenvalues(cluster - cluster.mean(axis=0))).sum() / np.sqrt(max(n - 1, d)))


def k_means(units: Numbers, rows: Indices, clusters: int, seed: int) -> Clustering:
    """Cluster rows of unit vectors by k-means, into fewer clusters where fewer rows differ."""
    from sklearn.cluster import KMeans

    points = units[rows]
    distinct = len(np.unique(points, axis=0))
    fitted = KMeans(min(clusters, distinct), n_init=1, random_state=seed % 2**32).fit(points)
    return Clustering(rows, fitted.labels_.astype(np.int64))


class DSE(SampledIndicator[Embeddings]):
    """DSE of the pixels of few images: 3 clusters an image, and 24 of every 8 images, by seeded k-means; lambda is 1."""

    name: ClassVar[str] = "dse"
    needs: ClassVar[frozenset[str]] = DenseImages.needs

    def sampler(self, context: Context) -> DenseImages:
        """Return the sample of pixels of few images."""
        return dense_images(context)

    def measure(self, sample: Embeddings, context: Context) -> tuple[float, dict[str, int]]:
        """Cluster the pixels and compute DSE; each draw takes one pixel of every image."""
        seed = derive_seed(context.seed, "dse")
        rng = np.random.default_rng(seed)
        by_image = [np.flatnonzero(sample.images == image) for image in np.unique(sample.images)]
        units, _ = directions(sample.features)
        together = [by_image[start : start + IMAGES] for start in range(0, len(by_image), IMAGES)]
        across = [k_means(units, np.concatenate(images), CLUSTERS * len(images), seed) for images in together]
        within = [k_means(units, rows, CLUSTERS, seed) for rows in by_image]
        draws = np.stack([rng.permutation(rows) for rows in by_image], axis=1)  # (pixels, images)
        return dse(sample.features, across, within, list(draws))
