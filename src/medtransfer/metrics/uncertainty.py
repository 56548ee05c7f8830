"""Uncertainty of outcomes over seeds: intervals, P(best), and the candidates that cannot be distinguished from the best.

Normal theory with few seeds: an interval of one mean uses its own spread and Student's t; comparisons within a pool share
what the candidates' spreads have in common (Smyth's moderated variances), since two or three seeds say little about one
spread.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from medtransfer.metrics.transfer import K, named

Array = NDArray[np.float64]
ROUNDING = 1e-12  # differences of outcomes up to this come from the order of additions
LEAST_POOLED = 3  # candidates whose spreads are compared before they are pooled
MOST_PRIOR = 6.0  # prior degrees of freedom; the published results have 5.5, over 36 configurations and with epoch 0 apart
LEAST_TRUE = 0.25  # share of the differences of means that is never taken for noise
LEAST_SEEDS = 3  # seeds below which P(best) is not calibrated, see tests/metrics/test_coverage.py


def mean_interval(values: Sequence[float], confidence: float, low: float = -inf, high: float = inf) -> tuple[float, float]:
    """Return Student's interval of a mean, cut to the range of the metric.

    Args:
        values: independent values, at least two.
        confidence: coverage of the interval.
        low: lowest possible value.
        high: highest possible value.

    Raises:
        ValueError: there are fewer than two values.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        raise ValueError(f"expected at least 2 values, but got {len(sample)}; a single one has no spread")
    half = float(special.stdtrit(len(sample) - 1, (1 + confidence) / 2) * sample.std(ddof=1) / np.sqrt(len(sample)))
    mean = float(sample.mean())
    return max(low, mean - half), min(high, mean + half)


@dataclass(frozen=True)
class Estimates:
    """Mean outcomes of the C candidates of a pool and how well they are known.

    Attributes:
        candidates: keys, ascending.
        means: mean outcome, (C,).
        errors: standard error of each mean as it counts in comparisons within the pool, (C,).
        degrees: degrees of freedom of each error, (C,).
        seeds: lowest number of seeds of a candidate.
        pooled: which errors share what their spreads have in common, (C,).
        residual: degrees of freedom of the pooled errors together; no comparison of pooled candidates has more.
    """

    candidates: tuple[object, ...]
    means: Array
    errors: Array
    degrees: Array
    seeds: int
    pooled: NDArray[np.bool_]
    residual: float


def estimate(outcome: Mapping[K, Sequence[float]], apart: Collection[K] = (), blocked: bool = False) -> Estimates:
    """Estimate the mean outcomes of a pool with moderated errors.

    Args:
        outcome: values over seeds, by candidate; at least two each.
        apart: candidates whose spread is not pooled with the others', such as the random initialisation, whose spread in
            the published results is up to 75 times the others'.
        blocked: whether the i-th value of every candidate has the same seed; then what a seed adds to all candidates is no
            uncertainty of their differences.

    Raises:
        ValueError: there is no candidate, or one has fewer than two values.

    Source: Smyth, Linear models and empirical Bayes methods for assessing differential expression, Statistical Applications
        in Genetics and Molecular Biology 3, 2004, section 6.2.
    """
    if not outcome:
        raise ValueError("expected the outcome of at least one candidate, but got none")
    keys = sorted(outcome)
    for key in keys:
        if len(outcome[key]) < 2:
            raise ValueError(f"expected the outcome of at least 2 seeds for {named(key)}, but got 1; a single one has no spread")
    samples = [np.asarray(outcome[key], dtype=np.float64) for key in keys]
    counts = np.array([len(sample) for sample in samples], dtype=np.float64)
    groups = [np.stack(samples)] if len(set(counts)) == 1 else [sample[None] for sample in samples]  # all at once where they fit
    means = np.concatenate([group.mean(axis=1) for group in groups])
    variances = np.concatenate([group.var(axis=1, ddof=1) for group in groups])
    pooled = np.array([key not in apart for key in keys])
    if pooled.sum() < LEAST_POOLED:
        pooled[:] = False
    residual = float((counts - 1)[pooled].sum())
    posterior, degrees = _moderated(variances, counts - 1, pooled, residual)
    if blocked and pooled.any():
        residual *= 1 - 1 / pooled.sum()  # (m - 1) (S - 1): the effects of the seeds take S - 1
        posterior, degrees = _moderated(_without_seeds(np.stack(samples), posterior, pooled), counts - 1, pooled, residual)
    return Estimates(tuple(keys), means, np.sqrt(posterior / counts), degrees, int(counts.min()), pooled, residual)


def _without_seeds(values: Array, variances: Array, pooled: NDArray[np.bool_]) -> Array:
    """Return the variances (C,) of values (C, S) after the effects of the seeds are removed.

    The effects are means over the pooled candidates, weighted by precision, but none weighs more than one of median variance: a
    low variance of few seeds may be chance. Removing them takes the share `weight` of a candidate's own variance away.
    """
    weights = np.where(pooled, 1 / np.maximum(variances, np.median(variances[pooled]) + ROUNDING**2), 0.0)
    weights /= weights.sum()
    residuals = values - values.mean(axis=1, keepdims=True)
    residuals = residuals - weights @ residuals
    return (residuals**2).sum(axis=1) / (values.shape[1] - 1) / np.maximum(1 - weights, 0.2)


def _moderated(variances: Array, degrees: Array, pooled: NDArray[np.bool_], residual: float) -> tuple[Array, Array]:
    """Shrink the pooled variances towards what they have in common; return variances and degrees of freedom.

    The prior has at most MOST_PRIOR degrees of freedom: few variances of few seeds cannot show that the true ones are equal.
    """
    if not pooled.any():
        return variances, degrees
    own, count = np.maximum(variances[pooled], _floor(variances[pooled])), degrees[pooled]
    logs = np.log(own) - special.digamma(count / 2) + np.log(count / 2)
    excess = float(logs.var(ddof=1) - _trigamma(count / 2).mean())  # variance of the true log variances
    if excess <= _trigamma(MOST_PRIOR / 2):
        prior, common = MOST_PRIOR, count @ own / count.sum()
    else:
        half = float(optimize.brentq(lambda x: _trigamma(x) - excess, 1e-7, MOST_PRIOR / 2))
        prior, common = 2 * half, np.exp(logs.mean() + special.digamma(half) - np.log(half))
    posterior, freedom = variances.copy(), degrees.copy()
    posterior[pooled] = (prior * common + count * own) / (prior + count)
    freedom[pooled] = np.minimum(prior + count, residual)
    return posterior, freedom


def _trigamma(x: Any) -> Any:
    """Return the second derivative of the logarithm of the gamma function; `special.polygamma` takes five times as long."""
    return special.zeta(2, x)


def _floor(variances: Array) -> float:
    """Return the variance that smaller ones are raised to, since the logarithm of 0 is not finite."""
    return 1e-5 * float(np.median(variances)) + ROUNDING**2


def tis_interval(estimates: Estimates, candidate: object, confidence: float) -> tuple[float, float]:
    """Return the interval of the TIS of a candidate that was chosen without looking at the outcomes.

    TIS is the smallest of the ratios to every candidate. Its lower limit is the smallest of the ratios' own lower limits; the
    upper limit is the smallest of their simultaneous upper limits (Bonferroni), and at most 1. So it covers at least what it
    says, however many candidates are close to the best. The TIS of a negative outcome, such as a kappa, is the largest of the
    ratios: its interval is that of the outcome of the other sign, turned about 0.

    Args:
        estimates: of the pool.
        candidate: the chosen one; None for a uniform draw from all.
        confidence: coverage of the interval.

    Source: Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics
        12, 1984, for ratios.
    """
    count = len(estimates.candidates)
    weights = np.full(count, 1 / count)
    if candidate is not None:
        weights = np.array([float(key == candidate) for key in estimates.candidates])
    sign = -1.0 if weights @ estimates.means < 0 else 1.0
    weights *= sign
    rivals = estimates.means > 0  # a candidate at 0 is not the best, and no ratio to it exists
    means = np.where(rivals, estimates.means, 1.0)
    ratios = weights @ estimates.means / means
    errors, degrees = _errors(estimates, weights, ratios)
    ratios, errors, degrees = ratios[rivals], (errors / means)[rivals], degrees[rivals]
    tail = (1 - confidence) / 2
    lower = ratios - special.stdtrit(degrees, 1 - tail) * errors
    upper = ratios + special.stdtrit(degrees, 1 - tail / max(1, count - 1)) * errors
    low, high = sorted((sign * float(lower.min()), sign * float(upper.min())))
    return min(1.0, low), min(1.0, high)


def confidence_set(estimates: Estimates, confidence: float) -> tuple[object, ...]:
    """Return the candidates that cannot be distinguished from the best.

    A candidate is excluded if any other is better by a one-sided test at level (1 - confidence) / (C - 1), so that the truly
    best is among the rest with about the given probability. Source as for `tis_interval`.
    """
    count = len(estimates.candidates)
    level = (1 - confidence) / max(1, count - 1)
    pairs = np.stack(np.broadcast_arrays(*np.ogrid[:count, :count]), axis=-1)  # (C, C, 2)
    errors, degrees = _satterthwaite(estimates, estimates.errors[pairs] ** 2, pairs)
    ahead = estimates.means - estimates.means[:, None]
    worse = np.any(ahead > np.maximum(ROUNDING, special.stdtrit(degrees, 1 - level) * errors), axis=1)
    return tuple(candidate for candidate, out in zip(estimates.candidates, worse, strict=True) if not out)


def _errors(estimates: Estimates, weights: Array, factors: Array) -> tuple[Array, Array]:
    """Return standard errors and degrees of freedom, each (C,), of `weights @ means - factors * means`."""
    count = len(weights)
    (used,) = np.nonzero(weights)
    if len(used) == 1:  # a row has two candidates, or one; C rows of C candidates would take seconds where there are hundreds
        candidates = np.stack([np.full(count, used[0]), np.arange(count)], axis=-1)  # (C, 2)
        shares = np.stack([np.full(count, weights[used[0]]), -factors], axis=-1)
        shares[used[0]] = weights[used[0]] - factors[used[0]], 0.0
    else:
        candidates, shares = np.arange(count), weights - np.diag(factors)  # (C,), (C, C)
    return _satterthwaite(estimates, (shares * estimates.errors[candidates]) ** 2, candidates)


def _satterthwaite(estimates: Estimates, parts: Array, candidates: NDArray[np.int_]) -> tuple[Array, Array]:
    """Return standard errors and degrees of freedom of sums of variances of candidates, both (..., K), over the last axis.

    Pooled variances are estimated from the same residuals, so that their sum has no more degrees of freedom than these.

    Source: Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
    """
    pooled = estimates.pooled[candidates]
    squares, together = parts**2 / estimates.degrees[candidates], np.where(pooled, parts, 0.0).sum(axis=-1)
    squares = np.maximum(np.where(pooled, squares, 0.0).sum(axis=-1), together**2 / max(1.0, estimates.residual)) + np.where(
        pooled, 0.0, squares
    ).sum(axis=-1)
    total = parts.sum(axis=-1)
    degrees = np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1.0), 1.0)
    return np.sqrt(total), degrees


def probability_best(estimates: Estimates, draws: int, rng: np.random.Generator) -> Array | None:
    """Return how probable it is that each candidate is the best, (C,); None with too few seeds to be calibrated.

    The means are shrunk towards each other as far as their errors explain their differences: the highest of several noisy
    means is too high.

    Source: Morris, Parametric empirical Bayes inference, Journal of the American Statistical Association 78, 1983.
    """
    if estimates.seeds < LEAST_SEEDS:
        return None
    means, variances = estimates.means, estimates.errors**2
    spread = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    true = max(spread - float(variances.mean()), LEAST_TRUE * spread)  # variance of the true means
    kept = np.divide(true, true + variances, out=np.ones_like(means), where=true + variances > 0)
    noise = rng.standard_t(estimates.degrees, size=(draws, len(means)))
    drawn = means.mean() + kept * (means - means.mean()) + np.sqrt(kept * variances) * noise
    best = drawn >= drawn.max(axis=1, keepdims=True) - ROUNDING
    shares = best if best.sum() == draws else best / best.sum(axis=1, keepdims=True)  # nearly always a single one is the best
    return np.asarray(shares.mean(axis=0))


def draw_groups(groups: Sequence[str] | Sequence[int], draws: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Draw how often each image is taken in each draw when whole groups, such as patients, are resampled, (draws, N).

    Args:
        groups: group of each image, (N,); all different where every image is on its own.
        draws: number of draws.
        rng: source of randomness.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    taken = np.empty((draws, len(member)), dtype=np.uint16)  # no draw takes one of G groups anywhere near 65,535 times
    for row in taken:  # one draw at a time: all indices at once would be as large as the result
        row[:] = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[member]
    return taken
