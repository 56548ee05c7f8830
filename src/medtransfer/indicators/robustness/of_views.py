"""Robustness of features at hand: `medtransfer.robustness`."""

import operator
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from medtransfer.config import default_params
from medtransfer.data.passed_arrays import group_numbers, to_tensor
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.distances import pair_distances
from medtransfer.indicators.robustness.negatives import NEGATIVES, negatives
from medtransfer.indicators.robustness.pairs import NAME
from medtransfer.indicators.robustness.triplet import standard_error, triplet_losses, without_each_group
from medtransfer.records import Score


def robustness(
    first: Any, second: Any, *, groups: Any = None, distance: str | None = None, margin: float | None = None,
    negative: str | None = None, seed: int | None = None,
) -> Score:  # fmt: skip
    """Compute the robustness of an encoder to the jitter between two views of the same images.

    ```python
    score = medtransfer.robustness(encoder(jitter(images)), encoder(jitter(images)))
    print(score.value, score.error)
    ```

    Args:
        first: features of one view of each image: an array of real numbers, tensor, data frame or list (N, D), or maps
            (N, C, H, W), which are flattened; N >= 2.
        second: features of another view of each image, of the same shape, in the same order.
        groups: group of each image, such as its patient: N numbers or names in a list, an array, a tensor or a pandas Series.
            Negatives are of other groups, and the error is one over groups. None: each image is on its own.
        distance: distance of features: `cosine`, `pearson`, `l2` or `euclidean`. For all that follow, and for this one, None
            is the packaged default, the key of this name in the section `score` of params.yaml.
        margin: the paper's epsilon, >= 0, in units of the distance.
        negative: the other image of each triplet: `random`, or `paper`, the pairing of the released code.
        seed: seed of random negatives; the same groups and seed give the same negatives.

    Returns:
        The score: `value`, at most 1, higher is better; `error`, its standard error over groups, None for a single one;
        `flags`, how many pairs have features that are not finite, zero or constant; `replicates`, the values without each
        group, for paired comparisons of encoders. `StoppingRule.update` takes it as it is.

    Raises:
        ValueError: the features are not two arrays of real numbers of one shape, on one device and of two images at least, the
            groups are not one scalar per image, or there is no such distance, margin, kind of negatives or seed.

    Source: Eq. 3 of arXiv:2410.18677.
    """
    default = default_params().score
    distance, margin = distance or default.distance, default.margin if margin is None else margin
    negative, seed = negative or default.negative, default.seed if seed is None else seed
    for name, value, known in (("distance", distance, DISTANCES), ("kind of negatives", negative, NEGATIVES)):
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"expected a {name} out of {', '.join(known)}, but got {value!r}")
    if not isinstance(margin, SupportsFloat) or np.ndim(margin) > 0:
        raise ValueError(f"expected a finite margin >= 0, but got {margin!r}")
    if not isinstance(seed, SupportsIndex) or operator.index(seed) < 0:
        raise ValueError(f"expected a seed as a whole number of at least 0, but got {seed!r}")
    queries, keys = _rows(first, "first"), _rows(second, "second")
    if queries.device != keys.device:
        raise ValueError(f"expected both views on one device, but got {queries.device} and {keys.device}; move one of them")
    members = np.arange(len(queries)) if groups is None else group_numbers(groups, len(queries))
    plan = negatives([str(member) for member in members], negative, operator.index(seed))
    d_pos, flags = pair_distances(queries, keys)
    d_neg, more = pair_distances(queries, keys[torch.from_numpy(plan.negative)])
    losses = triplet_losses(d_pos[distance].cpu().double(), d_neg[distance].cpu().double(), float(margin))
    error = standard_error(losses, members)
    counts = {name: flags[name] + more[name] for name in flags} | {"same_group": plan.alike}
    return Score(
        NAME, {"distance": distance, "margin": float(margin)}, float(1 - losses.mean()), None if np.isnan(error) else error,
        {name: count for name, count in counts.items() if count}, (1 - without_each_group(losses, members)).tolist(),
    )  # fmt: skip


def _rows(features: Any, name: str) -> Tensor:
    """Return features (N, D) of a view, maps flattened."""
    expected = f"features (N, D) or (N, C, H, W) of the {name} view as an array of real numbers"
    values = to_tensor(features, expected)
    if values.ndim < 2:
        raise ValueError(f"expected {expected}, but got the shape {tuple(values.shape)}; pass one row per image")
    return values.flatten(1)
