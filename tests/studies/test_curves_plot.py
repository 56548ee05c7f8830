"""Figure of the curves of scenarios, read back from matplotlib's artists."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from medtransfer.studies.curves_plot import Scenario, draw_curves

CURVES = ({10: 0.1, 20: 0.4, 30: 0.5}, {10: 0.3, 20: 0.6})
Draw = Callable[..., Figure]


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    def call(scenarios: list[Scenario], level: float | None = None) -> Figure:
        drawn: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: (drawn.append(figure), Path(path).touch()))
        draw_curves(tmp_path / "curves.png", scenarios, level, "moon, 5% of the training images", "test Dice")
        return drawn[0]

    return call


def test_the_mean_is_drawn_where_all_runs_have_a_value(draw: Draw) -> None:
    figure = draw([Scenario("unet simple", 0, 0, CURVES)])
    (line,) = figure.axes[0].lines
    assert list(line.get_xdata()) == [10, 20] and line.get_ydata() == pytest.approx([0.2, 0.5])
    words = [text.get_text() for text in figure.texts]
    assert words == ["moon, 5% of the training images", "test Dice, mean of 2 runs as far as all go"]
    assert figure.axes[0].get_xlabel() == "optimiser steps"


def test_the_level_is_a_line_with_its_meaning(draw: Draw) -> None:
    figure = draw([Scenario("unet simple", 0, 0, CURVES[:1])], level=0.475)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["unet simple", "95 % of the way from chance to the best final mean: 0.475"]
    assert list(figure.axes[0].lines[-1].get_ydata()) == [0.475, 0.475]
    assert figure.texts[1].get_text() == "test Dice"


def test_twelve_lines_differ_and_their_legend_covers_nothing(draw: Draw) -> None:
    names = [f"dippel-unet conrec-flowers102-{start}, epoch 2700, seg-enc-dec" for start in range(6)]
    figure = draw([Scenario(f"{names[start]} {mode}", start, mode, CURVES) for start, mode in product(range(6), range(2))])
    axes = figure.axes[0]
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}) == 12
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.y1 <= axes.get_tightbbox().y0 and legend.x1 <= figure.bbox.x1 and legend.y0 >= 0


def test_more_initialisations_than_colours_have_other_markers(draw: Draw) -> None:
    lines = draw([Scenario(str(start), start, 0, CURVES) for start in range(20)]).axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 20
