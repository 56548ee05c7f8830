"""EMMS: how well a linear model of the embeddings predicts embeddings of the labels."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from medtransfer.indicators.contract import Context
from medtransfer.indicators.labelled import LabelledIndicator, Labels, Numbers, centred, check_labelled, counted, one_hot
from medtransfer.indicators.sampled import Flags
from medtransfer.indicators.samples.labelled_pixels import Pixels


def emms(features: Numbers, labels: Labels, embeddings: NDArray[Any] | None = None) -> tuple[float, Flags]:
    """Compute minus the mean squared residual of label embeddings that are regressed on features, all standardised.

    With T_k the k-th embedding of each sample's label: F is the least-squares fit of the mean of all T_k by the features, w
    the least-squares weights of the T_k for F, projected on the simplex, and the residual is F - Σ w_k T_k.

    Args:
        features: finite (N, D).
        labels: (N,), whole numbers; rows of the embeddings, if there are any.
        embeddings: one or several embeddings of each class, such as those of text encoders for its name, (C, E) or (K, C, E);
            None for one-hot labels, for which the score is minus the share of their variance that the features leave over.

    Returns:
        The score, at most 0, and above -1 for one embedding; NaN for fewer than two classes; and flags: `saturated` (the
        features fit any labels), `rank_deficit` (D minus their rank) and `constant` (all embeddings are equal).

    Raises:
        ValueError: the shapes do not fit, there is no sample, or a feature is not finite.

    Source: Meng et al., Foundation Model is Efficient Multimodal Multitask Model Selector, NeurIPS 2023, with the one step of
    its code; its score is this one times a factor that only the embeddings' length decides.
    """
    check_labelled(features, labels)
    x, y = _standardised(features), one_hot(labels)
    if y.shape[1] < 2:
        return float("nan"), {}
    targets = y[None] if embeddings is None else np.reshape(embeddings, (-1, *np.shape(embeddings)[-2:]))[:, labels]
    stacked = np.stack([_standardised(target) for target in targets], axis=2)  # (N, E, K)
    weights, _, rank, _ = linalg.lstsq(x, stacked.mean(axis=2), lapack_driver="gelsy")
    fitted = x @ weights
    mixture, *_ = np.linalg.lstsq(stacked.reshape(-1, stacked.shape[2]), fitted.ravel(), rcond=None)
    residual = fitted - stacked @ on_simplex(mixture)
    flags = counted(saturated=rank >= len(x) - 1, rank_deficit=x.shape[1] - rank, constant=not x.any())
    return -float(np.square(residual).mean()), flags


def on_simplex(point: Numbers) -> Numbers:
    """Return the nearest point (K,) of the probability simplex (Martins and Astudillo, ICML 2016: sparsemax)."""
    descending = np.sort(point)[::-1]
    excess = (np.cumsum(descending) - 1) / np.arange(1, len(point) + 1)
    threshold = excess[descending > excess][-1]
    nearest: Numbers = np.maximum(point - threshold, 0)
    return nearest


def _standardised(columns: Numbers) -> Numbers:
    """Return columns (N, D) of mean 0 and variance 1; those that do not vary become 0."""
    moved = centred(np.asarray(columns, dtype=np.float64))
    spread = moved.std(axis=0)
    standard: Numbers = moved / np.where(spread > 0, spread, 1)
    return standard


class EMMS(LabelledIndicator):
    """EMMS of the labelled pixels or images, with one-hot labels."""

    name: ClassVar[str] = "emms"

    def measure(self, sample: Pixels, context: Context) -> tuple[float, Flags]:
        """Compute EMMS of the sample."""
        return emms(sample.features, sample.labels)
