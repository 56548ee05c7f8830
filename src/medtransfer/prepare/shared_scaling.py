"""One intensity scale for several 16-bit or float pictures: equal raw values become equal pixels."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from medtransfer.prepare.picture_files import PERCENTILES, read_stored, require_finite, scale_to_window
from medtransfer.progress import track
from medtransfer.seeds import derive_seed

DRAWN, MOST = 10_000, 10**7  # pixels of each picture that the percentiles are computed from, and of all of them


class SharedScaling:
    """Maps the percentiles 0.5 and 99.5 of several pictures together to 0 and 255.

    The pictures are read when the first of them is scaled. Of each up to DRAWN pixels count, drawn by a fixed seed.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Name the pictures, 16-bit or float grey."""
        self._paths = paths

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Raw values that become 0 and 255; one apart where all values are the same."""
        number = min(DRAWN, max(1, MOST // len(self._paths)))
        paths = track(self._paths, "prepare: intensities", len(self._paths), "pictures")
        drawn = np.concatenate([_draw(path, number, index) for index, path in enumerate(paths)])
        low, high = np.percentile(drawn, PERCENTILES)
        return float(low), float(high) if high > low else float(low) + 1

    def __call__(self, values: np.ndarray, path: Path) -> np.ndarray:
        """Scale the intensities of one of the pictures to uint8; `path` is for the message."""
        return scale_to_window(values, *self.limits, path)


def _draw(path: Path, number: int, index: int) -> np.ndarray:
    values = require_finite(read_stored(path), path).ravel()
    if len(values) <= number:
        return values
    return values[np.random.default_rng(derive_seed("intensities", index)).integers(len(values), size=number)]
