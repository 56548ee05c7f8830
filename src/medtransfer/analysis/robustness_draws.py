"""Intervals and bootstrap draws of the robustness of scored candidates, from the distances of every image in the store."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medtransfer import tracking
from medtransfer.analysis.model import Interval, Sampling
from medtransfer.analysis.pool import Pool
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.pairs import Groups, read_distances
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.robustness.triplet import bootstrap_robustness, standard_errors, triplet_losses
from medtransfer.metrics.transfer import Key
from medtransfer.metrics.uncertainty import draw_groups
from medtransfer.records import checkpoint_path

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """Per-image losses and bootstrap draws of the scores of C candidates.

    Attributes:
        candidates: keys, ascending.
        losses: (C, N), whose mean over the images is 1 - score.
        groups: group of each image, (N,).
        values: draws (B, C) of the scores.
        lowest: lowest possible score; the highest is 1.
    """

    candidates: Sequence[Key]
    losses: Array
    groups: Groups
    values: Array
    lowest: float = -inf

    @cached_property
    def count(self) -> int:
        """Number of groups."""
        return len(np.unique(self.groups))

    def intervals(self, confidence: float) -> dict[Key, Interval]:
        """Return Student's interval of each candidate's score over groups, cut to the possible range; empty for a single group.

        Source: Student's t with one degree of freedom fewer than groups, as for clusters in Cameron and Miller, A practitioner's
            guide to cluster-robust inference, Journal of Human Resources 50, 2015, section VI.D.
        """
        if self.count < 2:
            return {}
        half = special.stdtrit(self.count - 1, (1 + confidence) / 2) * standard_errors(self.losses, self.groups)
        scores = 1 - self.losses.mean(axis=1)
        low, high = np.maximum(self.lowest, scores - half), np.minimum(1.0, scores + half)
        return dict(zip(self.candidates, zip(low.tolist(), high.tolist(), strict=True), strict=True))

    def rises(self) -> dict[Key, tuple[float, float | None]]:
        """Return the rise of the score from the candidate before, and its standard error over groups; the first has none.

        A single group gives no standard error.
        """
        gains = self.losses[:-1] - self.losses[1:]
        errors = standard_errors(gains, self.groups).tolist() if self.count > 1 else [None] * len(gains)
        return dict(zip(self.candidates[1:], zip(gains.mean(axis=1).tolist(), errors, strict=True), strict=True))


def draw(pools: Sequence[Pool], sampling: Sampling, folder: Path | None = None) -> list[Drawn | InputError | None]:
    """Draw the robustness of pools that have the same score run, such as the modes of one pretraining, whose files are read once.

    Args:
        pools: the pools.
        sampling: how draws are made.
        folder: local folder of the files; None for that of the score run, which is looked up in the store.

    Returns:
        Of each pool the draws, None if it has no scores, or why its distances cannot be read.
    """
    scored = [pool for pool in pools if pool.score_run and pool.robustness]
    drawn = iter(_draw(scored, sampling, folder) if scored else [])
    return [next(drawn) if pool.score_run and pool.robustness else None for pool in pools]


def _draw(pools: Sequence[Pool], sampling: Sampling, folder: Path | None) -> list[Drawn | InputError]:
    setting = pools[0].score  # the score run's
    assert setting is not None  # only pools with scores have losses
    try:
        losses, groups = _losses(pools, setting, folder)
    except InputError as error:
        return [error] if len(pools) == 1 else [each for pool in pools for each in _draw([pool], sampling, folder)]
    taken = _images_taken(tuple(groups.tolist()), sampling)
    return [
        Drawn(sorted(pool.robustness), of_pool, groups, bootstrap_robustness(of_pool, *taken), setting.lowest)
        for pool, of_pool in zip(pools, losses, strict=True)
    ]


@lru_cache(maxsize=2)
def _images_taken(groups: tuple[int, ...], sampling: Sampling) -> tuple[NDArray[np.uint16], NDArray[np.uint64]]:
    """Draw groups of images, and count the images of each draw; the draws are shared by all pools that have these groups."""
    taken = draw_groups(groups, sampling.draws, sampling.generator("images", str(len(groups))))
    return taken, taken.sum(axis=1, keepdims=True, dtype=np.uint64)


def _losses(pools: Sequence[Pool], setting: RobustnessSetting, folder: Path | None) -> tuple[list[Array], Groups]:
    """Read the triplet loss of every scored candidate and image, (C, N) for each pool, and the group of each image."""
    keys = [setting.key(pool.fields["mode"]) for pool in pools]
    rows: list[list[Array]] = [[] for _ in pools]
    groups: list[Groups] = []
    with nullcontext(folder) if folder else tracking.artifact_folder(pools[0].score_run, "scores") as scores:
        for epoch in sorted({epoch for pool in pools for epoch in pool.robustness}):
            scored = [(key, losses) for key, losses, pool in zip(keys, rows, pools, strict=True) if epoch in pool.robustness]
            path = checkpoint_path(scores, int(epoch)).with_suffix(".npz")
            distances, of_images = read_distances(path, dict.fromkeys(key for key, _ in scored))
            groups.append(of_images)
            for key, losses in scored:
                losses.append(triplet_losses(*distances[key], setting.margin))
    return [np.stack(losses) for losses in rows], groups[0]
