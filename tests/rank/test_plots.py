"""Panels of a ranking show the names of candidates in full, each row as high as its name."""

import re

import numpy as np

from medtransfer.rank.page import render
from medtransfer.rank.plots import FLOOR, LINE, ROW, panel
from medtransfer.rank.ranking import Ranking
from medtransfer.records import Score
from medtransfer.records.feature_map import FeatureMap
from medtransfer.records.ranked import RankedCandidate
from medtransfer.report.feature_maps import show

CONTRACT = {"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "RGB"}
NAMES = ["unet-simple e010", "runs/of-somebody/checkpoints/unet-segmentation-best.safetensors@unet", "random@tf_efficientnet_lite0"]


def ranked(name: str, value: float) -> RankedCandidate:
    return RankedCandidate(
        name=name, kind="checkpoint", build="unet", arguments={}, weights="", audit="", input=CONTRACT, levels=[(8, 64)], level=-1,
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


def test_of_a_thousand_candidates_the_first_are_drawn() -> None:
    """All of them would be a picture of 17,000 px for each indicator, and a page of 21 MB."""
    candidates = [ranked(f"net-{number}", number / 1000) for number in range(1000)]
    ranking = Ranking("moon", "full", candidates, "ridge", 0.95, 10, 0, 3)
    svg = panel(ranking, "ridge")
    drawn = re.findall(r"<text[^>]*>(net-[^<]*)</text>", svg)
    assert drawn == [f"net-{number}" for number in range(940, 1000)]  # the best is the last, at the top
    assert "Drawn are the first 60 of 1,000 candidates; ranking.csv has all." in render(ranking)
    assert "Drawn are" not in render(Ranking("moon", "full", candidates[:60], "ridge", 0.95, 10, 0, 3))


def test_of_many_maps_the_first_are_shown() -> None:
    maps = {f"net-{number}": FeatureMap(np.zeros((2, 2)), ["a", "b"]) for number in range(61)}
    page = show(maps)
    assert page.count("<figure") == 60 and "The first 60 of 61 candidates." in page and "Features of net-60" not in page
    del maps["net-60"]
    assert show(maps).count("<figure") == 60 and "The first" not in show(maps)
