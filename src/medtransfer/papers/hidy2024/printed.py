"""The paper's printed tables, transcribed into printed.csv, and the measure of each of their rows."""

from dataclasses import dataclass
from importlib.resources import files

import pandas as pd


@dataclass(frozen=True)
class Row:
    """Measure of a row of a printed table.

    Attributes:
        kind: `best` Dice, `ratio` of worst to best Dice, or the TIS of choosing by `offline`, `online`, `accuracy` or `none`.
        block: name of the rows that were computed together and so share an alignment.
        distance: distance of the robustness.
        margin: margin of the robustness.
        level: level of the robustness.
        pooled: whether features are pooled; None for the paper's rule (pooled if only the decoder is trained).
    """

    kind: str
    block: str
    distance: str = "cosine"
    margin: float = 0.5
    level: int = -2
    pooled: bool | None = None


def _scored(block: str, **setting: object) -> Row:
    return Row("offline", block, **setting)  # type: ignore[arg-type]


ROWS = {
    "best Dice": Row("best", "Dice"),
    "worst / best": Row("ratio", "Dice"),
    "robustness (offline)": Row("offline", "robustness"),
    "robustness (online)": Row("online", "robustness"),
    "ImageNet accuracy": Row("accuracy", "baselines"),
    "no pretraining": Row("none", "baselines"),
    "level -1, pooled": _scored("level and pooling", level=-1, pooled=True),
    "level -1, flattened": _scored("level and pooling", level=-1, pooled=False),
    "level -2, pooled": _scored("level and pooling", pooled=True),
    "level -2, flattened": _scored("level and pooling", pooled=False),
    "pearson, margin 0.50": _scored("distance and margin", distance="pearson"),
    "l2, margin 0.50": _scored("distance and margin", distance="l2"),
    "cosine, margin 0.25": _scored("distance and margin", margin=0.25),
    "cosine, margin 0.50": _scored("final"),
    "cosine, margin 0.75": _scored("distance and margin", margin=0.75),
    "cosine, margin 1.00": _scored("distance and margin", margin=1.0),
}


@dataclass(frozen=True)
class Printed:
    """One printed cell; an empty field means that the cell is over all values of the field.

    Attributes:
        table: `1` to `6` with `3a` and `3b`, `B.1` to `B.3`.
        row: key of ROWS.
        dataset: acdc, covid-qu, idrid or empty.
        scheme: simple, advanced or empty.
        encoder: unet, resnet50, swin or empty.
        mode: full or decoder.
        printed: the number as printed, three decimals.
    """

    table: str
    row: str
    dataset: str
    scheme: str
    encoder: str
    mode: str
    printed: float

    @property
    def block(self) -> str:
        """Block of the cell; only the appendix prints the final setting among its variants."""
        block = ROWS[self.row].block
        return "distance and margin" if block == "final" and not self.table.startswith("B") else block

    def covers(self, encoder: str, target: str, mode: str, scheme: str) -> bool:
        """Return whether a configuration belongs to the cell."""
        pairs = zip((self.encoder, self.dataset, self.mode, self.scheme), (encoder, target, mode, scheme), strict=True)
        return all(printed in ("", value) for printed, value in pairs)


def printed_cells() -> list[Printed]:
    """Read the printed tables 1 to 6 and B.1 to B.3 of arXiv:2410.18677."""
    with files("medtransfer.papers.hidy2024").joinpath("printed.csv").open(encoding="utf-8") as handle:
        table = pd.read_csv(handle, dtype=str, keep_default_na=False)
    return [Printed(**{**row, "printed": float(row["printed"])}) for row in table.to_dict("records")]
