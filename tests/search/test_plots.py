"""Plots are drawn where trials differ; where they do not, the text says so."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot
from PIL import Image

from medtransfer.search.evaluate import Setting
from medtransfer.search.plots import PLOTS, draw
from medtransfer.search.space import Space
from medtransfer.search.study import Trial

SPACE = Space(("cosine", "l2"), (0.0, 1.0), (), (-1, -2), ("frozen",))


def trials(
    value: Callable[[int], float], margin: Callable[[int], float], distance: Callable[[int], str], count: int
) -> list[Trial]:
    return [Trial(i, Setting(distance(i), margin(i), -1, "frozen"), value(i)) for i in range(count)]


@pytest.mark.parametrize("count", [2, 12])
def test_every_plot_is_drawn_and_closed(tmp_path: Path, count: int):
    style = {name: matplotlib.rcParams[name] for name in ("axes.facecolor", "axes.grid", "font.size")}
    names, notes = draw(
        tmp_path, "-unet", SPACE, trials(lambda i: i / 20, lambda i: i / 12, lambda i: SPACE.distances[i % 2], count)
    )
    assert names == [f"{name}-unet.png" for name in PLOTS]
    assert notes == []
    assert all(Image.open(tmp_path / name).width > 400 for name in names)
    assert pyplot.get_fignums() == []
    assert {name: matplotlib.rcParams[name] for name in style} == style


@pytest.mark.parametrize(
    ("value", "margin", "said"),
    [
        (lambda i: 0.5, lambda i: i / 10, "There are no plots: all trials have the same TIS, so none is of importance."),
        (lambda i: i / 10, lambda i: 0.3, "There are no plots: fewer than two parameters were varied, so none is of importance."),
    ],
)
def test_nothing_to_draw_is_said(tmp_path: Path, value: Callable[[int], float], margin: Callable[[int], float], said: str):
    varied = trials(value, margin, lambda i: SPACE.distances[i % 2], 6)
    assert draw(tmp_path, "", SPACE, varied) == ([], [said])
    assert list(tmp_path.iterdir()) == []
