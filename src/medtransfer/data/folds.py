"""Divide the training groups (patients) of a target into folds that are alike in their classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medtransfer.errors import InputError
from medtransfer.seeds import derive_seed


def assign_folds(
    groups: Sequence[str], shown: NDArray[np.bool_], folds: int, seed: int, together: Mapping[str, str]
) -> dict[str, int]:  # fmt: skip
    """Return the fold of each group, from 1.

    Groups go one after another, those with most of a rare class first, to the fold that has least of what they bring: samples,
    and samples of each class.

    Args:
        groups: group of each sample, (N,).
        shown: which classes each sample shows, (N, C).
        folds: number of folds.
        seed: seed of the order of groups that are alike.
        together: for groups that share images, the group that stands for all of them: a fold has all or none.

    Raises:
        InputError: there are fewer such sets of groups than folds.
    """
    units = [together.get(group, group) for group in groups]
    names = sorted(set(units))
    if len(names) < folds:
        raise InputError(
            f"expected at least {folds} training groups (patients) without a shared image for finetune.folds {folds}, but there "
            f"are {len(names)}; take fewer folds"
        )
    position = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), shown.shape[1] + 1))  # (U, C + 1)
    np.add.at(counts, [position[unit] for unit in units], np.column_stack([np.ones(len(units)), shown]))
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    order = sorted(range(len(names)), key=lambda unit: (-shares[unit].max(), derive_seed(seed, "fold", names[unit])))
    held, fold_of = np.zeros((folds, counts.shape[1])), dict[str, int]()
    for unit in order:
        fold = int(np.argmin(held @ shares[unit]))
        held[fold] += shares[unit]
        fold_of[names[unit]] = fold + 1
    return {group: fold_of[unit] for group, unit in zip(groups, units, strict=True)}
