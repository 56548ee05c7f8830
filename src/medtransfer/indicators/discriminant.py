"""Linear discriminant analysis of labelled embeddings: class means, covariance within classes, posteriors."""

import numpy as np
from scipy import linalg, special

from medtransfer.indicators.labelled import Numbers


def class_means(x: Numbers, y: Numbers) -> Numbers:
    """Return the mean of each class (C, D), of embeddings (N, D) and members (N, C)."""
    return y.T @ x / y.sum(axis=0)[:, None]


def within_covariance(x: Numbers, y: Numbers) -> Numbers:
    """Return the covariance within classes (D, D), ddof 0."""
    rest = x - y @ class_means(x, y)
    return rest.T @ rest / len(x)


def shrink(covariance: Numbers, shrinkage: float) -> Numbers:
    """Return (1 - s) S + s tr(S)/D I."""
    d = len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)


def posterior(x: Numbers, y: Numbers, covariance: Numbers) -> Numbers:
    """Return the posterior of each class (N, C) under Gaussians of one covariance (D, D)."""
    means, priors = class_means(x, y), y.mean(axis=0)
    if not covariance.any():  # each class is one point
        nearest = np.square(x[:, None] - means).sum(axis=2) == 0
        return nearest * priors / (nearest * priors).sum(axis=1, keepdims=True)
    coefficients = linalg.solve(covariance, means.T, assume_a="pos")  # (D, C)
    logits = x @ coefficients - (means.T * coefficients).sum(axis=0) / 2 + np.log(priors)
    probabilities: Numbers = special.softmax(logits, axis=1)
    return probabilities
