"""The samples that a cell trains on and is validated on: a fold or held-out patients, then a subset of the other images."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medtransfer.data.folds import assign_folds
from medtransfer.data.held_out import hold_out, stand_ins
from medtransfer.data.subsets import count_of, draw, random_order
from medtransfer.data.windows import Windows
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.records import CellName, PreparedTarget
from medtransfer.tasks import TASKS

log = logging.getLogger("medtransfer")


class Portions:
    """Portions of one target; what several cells share is computed once. Files and test samples stay as they are."""

    def __init__(self, target: PreparedTarget, protocol: Protocol) -> None:
        """Take a target as it was prepared, and the recipe."""
        self._target, self._protocol, self._task = target, protocol, TASKS[target.info.task]
        self._folds: dict[int, dict[str, int]] = {}
        self._shown: dict[bool, NDArray[np.bool_]] = {}
        self._made: dict[tuple[object, ...], PreparedTarget] = {}

    def of(self, cell: CellName) -> PreparedTarget:
        """Return the target with the training and validation samples of a cell.

        Raises:
            InputError: the groups (patients) cannot be divided so, or there are too few images.
        """
        seed = self._protocol.subset_seed
        key = (cell.fold, cell.folds, cell.size, cell.size and (cell.seed if seed is None else seed))
        if key not in self._made:
            divided = self._divide(cell)
            self._made[key] = divided if cell.size is None else self._draw(divided, cell.size, (int(key[3] or 0), cell.fold or 0))
        return self._made[key]

    def _divide(self, cell: CellName) -> PreparedTarget:
        """Set validation samples apart."""
        protocol = self._protocol
        if cell.folds is None:
            return hold_out(self._target, protocol.validation, protocol.validation_seed)
        if protocol.validation:
            raise both_validations(protocol.validation)
        whole = replace(self._target, joined=True)
        if cell.folds not in self._folds:
            groups = whole.samples("train")["group"].tolist()
            self._folds[cell.folds] = assign_folds(
                groups, self._classes(True), cell.folds, protocol.validation_seed, stand_ins(whole)
            )  # fmt: skip
        return replace(whole, held_out=frozenset(group for group, fold in self._folds[cell.folds].items() if fold == cell.fold))

    def _draw(self, target: PreparedTarget, size: float, seed: tuple[int, int]) -> PreparedTarget:
        """Draw the training samples."""
        names, sampling = Windows(target, "train").images, self._protocol.sampling
        count = count_of(size, len(names))
        everything = replace(target, held_out=frozenset()).samples("train")["group"]
        shown = self._classes(target.joined)[~everything.isin(target.held_out).to_numpy()]
        equal = sampling == "balanced" and self._task.single_label
        drawn = random_order(names, seed)[:count] if sampling == "random" else draw(names, shown, count, seed, equal=equal)
        self._describe(target, shown[drawn], drawn, seed, len(names))
        return replace(target, drawn=tuple(drawn))

    def _describe(
        self, target: PreparedTarget, shown: NDArray[np.bool_], drawn: Sequence[int], seed: Sequence[int], of: int
    ) -> None:
        """Log the classes of a subset, and which images of it are repeated."""
        names = self._task.weighted(target.info.classes)[-shown.shape[1] :]
        classes = ", ".join(f"{number} {name}" for name, number in zip(names, shown.sum(axis=0).tolist(), strict=True))
        where = f"fold {seed[1]}, " * bool(seed[1])
        log.info("finetune: %s: %d of %d training images (%s), %sseed %d", target.folder, len(drawn), of, classes, where, seed[0])
        different = shown[np.unique(drawn, return_index=True)[1]]
        for name, number, known in zip(names, shown.sum(axis=0), different.sum(axis=0), strict=True):
            if known < number:
                log.warning(
                    "finetune: %s has %d training images of %s for %d of the subset: %d are repeated", target.folder, known, name,
                    number, number - known,
                )  # fmt: skip

    def _classes(self, joined: bool) -> NDArray[np.bool_]:
        """Return which classes each training sample shows before any are set apart, (N, C)."""
        if joined not in self._shown:
            self._shown[joined] = self._task.shown(replace(self._target, joined=joined), "train")
        return self._shown[joined]


def both_validations(validation: float) -> InputError:
    """Return the error of folds beside held-out groups."""
    return InputError(
        f"expected finetune.validation 0 beside folds, whose groups are the validation samples, but got {validation:g}; set it to 0"
    )
