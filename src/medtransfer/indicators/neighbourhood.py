"""Posterior by nearest neighbours after neighbourhood components analysis (NCA), which learns their distance."""

import numpy as np

from medtransfer.indicators.knn import vote
from medtransfer.indicators.labelled import Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags

COMPONENTS = 50  # of the learned space
TIED = 12  # decimals, relative to the largest, up to which two distances count as tied


def neighbourhood(features: Numbers, labels: Labels) -> tuple[float, Flags]:
    """Compute the mean share of a sample's class among its 5 nearest others, after NCA to at most COMPONENTS dimensions.

    The features are scaled to a total variance of 1 first, since what NCA learns depends on their scale. It starts from the
    first principal axes, from the features themselves where they are few.

    Args:
        features: finite (N, D).
        labels: (N,), whole numbers.

    Returns:
        The share in [0, 1], NaN for fewer than two classes, and flags: `tied_votes` (samples for which more than 5 others come
        into question) and `constant` (all embeddings are equal: each class has its share of the votes).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Juodelyte et al., On Dataset Transferability in Medical Image Classification, arXiv:2412.20172, Section 3, and its
    code, in which a sample is among its own neighbours; here it is left out.
    """
    check_labelled(features, labels)
    y, moved = one_hot(labels), centred(features)
    if y.shape[1] < 2:
        return float("nan"), {}
    if constant := not moved.any():
        learned = moved
    else:
        learned = _learn(moved / np.sqrt(np.square(moved).sum() / len(moved)), labels)
    squares = np.square(learned).sum(axis=1)
    distances = squares[:, None] + squares - 2 * learned @ learned.T
    similarity = -np.round(distances / (distances.max() or 1.0), TIED)
    np.fill_diagonal(similarity, -np.inf)
    votes, shared = vote(similarity, y)
    share = (votes * y).sum(axis=1) / np.maximum(votes.sum(axis=1), 1)
    return float(share.mean()), counted(tied_votes=int(shared.sum()), constant=constant)


def _learn(x: Numbers, labels: Labels) -> Numbers:
    """Return the samples (N, k) in the space that NCA learns."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neighbors import NeighborhoodComponentsAnalysis

    d = x.shape[1]
    start = np.eye(d) if d <= COMPONENTS else np.linalg.svd(x, full_matrices=False)[2][:COMPONENTS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the published number of steps counts
        learned: Numbers = NeighborhoodComponentsAnalysis(len(start), init=start).fit(x, labels).transform(x)
    return learned
