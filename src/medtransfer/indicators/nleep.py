"""NLEEP: LEEP with the components of a Gaussian mixture of the embeddings in place of source classes."""

from typing import ClassVar

import numpy as np

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted
from medtransfer.indicators.leep import leep
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels
from medtransfer.seeds import derive_seed

VARIANCE = 0.8  # share kept by the principal components
COMPONENTS = 5  # of the mixture, per class


def nleep(features: Numbers, labels: Labels, seed: int = 0) -> tuple[float, Flags]:
    """Compute LEEP of the responsibilities of a mixture of 5 C Gaussians, fitted to the first principal components.

    Args:
        features: finite (N, D).
        labels: (N,), whole numbers.
        seed: seed of the start of the mixture; other seeds give somewhat other scores.

    Returns:
        The score, at most 0, NaN for fewer than two classes, and flags: `not_converged` (the mixture), `few_samples` (fewer
        than components: one each) and `constant` (all embeddings are equal: minus the entropy of the labels).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Li et al., Ranking Neural Checkpoints, CVPR 2021.
    """
    import warnings

    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    check_labelled(features, labels)
    moved, components = centred(features), COMPONENTS * len(np.unique(labels))
    if components == COMPONENTS:
        return float("nan"), {}
    if not moved.any():
        return leep(np.ones((len(labels), 1)), labels)[0], {"constant": 1}
    reduced = PCA(VARIANCE, svd_solver="full").fit_transform(moved)
    reduced /= np.sqrt(np.square(reduced).mean())  # the mixture adds a fixed number to variances
    mixture = GaussianMixture(min(components, len(labels)), random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # flagged instead
        responsibilities = mixture.fit(reduced).predict_proba(reduced)
    value, _ = leep(responsibilities, labels)
    return value, counted(not_converged=not mixture.converged_, few_samples=len(labels) < components)


class NLEEP(LabelledIndicator):
    """NLEEP of the labelled pixels or images."""

    name: ClassVar[str] = "nleep"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute NLEEP of the sample."""
        return nleep(sample.features, sample.labels, derive_seed(context.seed, "mixture") % 2**32)
