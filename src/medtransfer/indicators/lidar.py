"""LiDAR: effective rank of what distinguishes images, relative to what varies between views of one image."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from medtransfer.indicators.contract import Context
from medtransfer.indicators.samples.view_pairs import Views
from medtransfer.indicators.spectrum import effective_rank, gram_eigenvalues
from medtransfer.indicators.unlabelled import ViewIndicator

RIDGE = 1e-4  # added to the scatter within images, as a share of its mean eigenvalue


def lidar(views: NDArray[np.float64]) -> tuple[float, dict[str, int]]:
    """Compute the effective rank of the eigenvalues of S_w^-1/2 S_b S_w^-1/2, each image a class whose samples are its views.

    S_b is the covariance of the images' means, S_w that of views around them, plus RIDGE tr S_w / D on its diagonal. The
    published score adds 1e-4, so that it depends on the scale of features.

    Args:
        views: embeddings of V >= 2 views of each image, finite (N, V, D).

    Returns:
        The value, from 1 to min(N - 1, D), NaN if images or views of an image do not differ; and flags: `constant` (all
        embeddings are equal), `equal_images` and `equal_views` (only the means of images, or the views of each image, are).

    Raises:
        ValueError: the views have another shape, or are not finite.

    Source: Thilak et al., LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures, ICLR 2024.
    """
    if views.ndim != 3 or views.shape[1] < 2 or views.size == 0 or not np.isfinite(views).all():
        raise ValueError(f"expected finite views (N, V, D) of at least two views, but got {views.shape}")
    shifted = views - views[0, 0]  # exactly zero if constant
    means = shifted.mean(axis=1)  # (N, D)
    within = (shifted - means[:, None]).reshape(-1, views.shape[2])  # (N V, D)
    between = means - means.mean(axis=0)
    if not within.any() or not between.any():
        name = "equal_images" if within.any() else "equal_views" if between.any() else "constant"
        return np.nan, {name: 1}
    scatter = within.T @ within / len(within)
    scatter[np.diag_indices_from(scatter)] += RIDGE * np.trace(scatter) / len(scatter)
    whitened = solve_triangular(cholesky(scatter, lower=True), between.T, lower=True)  # (D, N)
    return effective_rank(gram_eigenvalues(whitened)), {}


class LiDAR(ViewIndicator):
    """LiDAR of the pooled embeddings of views: two per repeat, where its authors take 50."""

    name: ClassVar[str] = "lidar"
    within_width: ClassVar[bool] = True

    def measure(self, sample: Views, context: Context) -> tuple[float, dict[str, int]]:
        """Compute LiDAR."""
        return lidar(sample.features)
