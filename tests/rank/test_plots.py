"""Panels of a ranking show the names of candidates in full, each row as high as its name."""

import re

from medtransfer.rank.plots import FLOOR, LINE, ROW, panel
from medtransfer.rank.ranking import Ranking
from medtransfer.records import Score
from medtransfer.records.ranked import RankedCandidate

NAMES = ["unet-simple e010", "runs/of-somebody/checkpoints/unet-segmentation-best.safetensors@unet", "random@tf_efficientnet_lite0"]


def ranked(name: str, value: float) -> RankedCandidate:
    return RankedCandidate(
        name=name, kind="checkpoint", build="unet", arguments={}, weights="", audit="", input={}, levels=[(8, 64)], level=-1,
        series="", source="", epoch=None, source_accuracy=None, cell="", images=4, groups=4,
        rows=[Score("ridge", {"level": -1}, value)], notes={}, seconds=1.0, forward_seconds=0.5, memory=1.0,
    )  # fmt: skip


def test_long_names_are_wrapped_not_cut() -> None:
    candidates = [ranked(name, value) for name, value in zip(NAMES, (0.9, 0.8, 0.7), strict=True)]
    ranking = Ranking("moon", "full", candidates, "ridge", 0.95, 10, 0, 3)
    svg = panel(ranking, "ridge")
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    for name in NAMES:
        assert name.replace(" ", "") in shown.replace(" ", "")
    assert "…" not in shown
    lines = 1 + 4 + 2  # of at most 20 letters
    assert f'viewBox="0 0 290 {3 * ROW + (lines - 3) * LINE + FLOOR}"' in svg
