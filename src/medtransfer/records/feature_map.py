"""The file of a map of a candidate's features in the plane: a row per image with `x`, `y` and its `class`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtransfer.records.atomic import write_text
from medtransfer.records.tables import as_csv, read_table

MAP_SUFFIX = ".map.csv"


@dataclass(frozen=True)
class FeatureMap:
    """A map of the features of images.

    Attributes:
        positions: float (N, 2).
        classes: name of the class of each image.
    """

    positions: np.ndarray
    classes: list[str]

    def write(self, path: Path) -> None:
        """Write the map."""
        pairs = zip(self.positions.tolist(), self.classes, strict=True)
        write_text(path, as_csv([{"x": f"{x:.4f}", "y": f"{y:.4f}", "class": name} for (x, y), name in pairs]))

    @classmethod
    def read(cls, path: Path) -> "FeatureMap | None":
        """Read a map; None if there is none.

        Raises:
            InputError: the file is broken.
        """
        if not path.is_file():
            return None
        rows = read_table(path, "rank again with another `out`").rows
        return cls(np.array([[float(x), float(y)] for x, y, _ in rows]), [name for *_, name in rows])
