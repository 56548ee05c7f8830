"""Plots are drawn where settings differ; where they do not, the text says so."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.evaluate import Case, Table
from medtransfer.search.plots import PLOTS, draw, exhaustive_study, explained_variance, plot_importance, plot_pairs, plot_slice

DISTANCES, MARGINS = ("cosine", "l2"), (0.0, 0.25, 0.5)


@pytest.fixture
def make_table(make_case: Callable[..., Case]) -> Callable[..., Table]:
    """Return a maker of tables of one case whose TIS is a function of distance and margin."""

    def make(tis: Callable[[str, float], float], margins: tuple[float, ...] = MARGINS) -> Table:
        settings = tuple(RobustnessSetting(*pair, -1, "frozen") for pair in product(DISTANCES, margins))
        values = np.array([[tis(setting.distance, setting.margin)] for setting in settings])
        return Table((make_case("moon", {}),), settings, {"best": values})

    return make


def test_every_plot_is_drawn_and_closed(tmp_path: Path, make_table: Callable[..., Table]):
    style = {name: matplotlib.rcParams[name] for name in ("axes.facecolor", "axes.grid", "font.size")}
    names, notes = draw(tmp_path, "-unet", make_table(lambda distance, margin: margin + 0.1 * (distance == "l2")))
    assert names == [f"{name}-unet.png" for name in PLOTS]
    assert notes == []
    assert all(Image.open(tmp_path / name).width > 400 for name in names)
    assert pyplot.get_fignums() == []
    assert {name: matplotlib.rcParams[name] for name in style} == style


@pytest.mark.parametrize(
    ("tis", "margins", "message"),
    [
        (lambda distance, margin: 0.5, MARGINS, "There are no plots: all settings have the same TIS, so none is of importance."),
        (lambda distance, margin: 0.1 * (distance == "l2"), (0.3,),
         "There are no plots: fewer than two parameters were varied, so none is of importance."),
    ],
)  # fmt: skip
def test_the_reason_for_no_plots_is_given(
    tmp_path: Path, make_table: Callable[..., Table], tis: Callable[[str, float], float], margins: tuple[float, ...], message: str
):
    assert draw(tmp_path, "", make_table(tis, margins)) == ([], [message])
    assert list(tmp_path.iterdir()) == []


def test_pairs_show_the_mean_of_each_two_choices(make_table: Callable[..., Table]):
    study = exhaustive_study(make_table(lambda distance, margin: margin + 0.1 * (distance == "l2")))
    (panel, _) = plot_pairs(study, ["distance", "margin"]).axes
    (image,) = panel.get_images()
    assert np.allclose(image.get_array(), [[0.0, 0.1], [0.25, 0.35], [0.5, 0.6]]) and image.get_clim() == (0.0, 0.6)
    assert [label.get_text() for label in panel.get_xticklabels()] == ["cosine", "l2"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["0.0", "0.25", "0.5"]


def test_choices_have_one_order_in_all_pictures(make_table: Callable[..., Table]):
    """That of the params; numbers with fractions ascend."""
    table = make_table(lambda distance, margin: margin + 0.1 * (distance == "l2"))
    study = exhaustive_study(replace(table, settings=table.settings[::-1], tis={"best": table.tis["best"][::-1]}))
    (panel, _) = plot_pairs(study, ["distance", "margin"]).axes
    slices = plot_slice(study, ["distance", "margin"]).axes
    names = [[label.get_text() for label in axes.get_xticklabels()] for axes in (panel, slices[0])]
    assert names == [["l2", "cosine"]] * 2
    (image,) = panel.get_images()
    assert np.allclose(image.get_array(), [[0.1, 0.0], [0.35, 0.25], [0.6, 0.5]])


def test_every_plot_says_what_it_shows_of_how_many(make_table: Callable[..., Table]):
    study = exhaustive_study(make_table(lambda distance, margin: margin + 0.1 * (distance == "l2")))
    for plot in PLOTS.values():
        figure = plot(study, ["distance", "margin"])
        assert figure.get_suptitle().endswith(": 6 settings on 1 configuration")
        words = {axes.get_xlabel() for axes in figure.axes} | {axes.get_ylabel() for axes in figure.axes}
        words |= {label.get_text() for axes in figure.axes for label in axes.get_yticklabels()}
        assert {"distance between features", "margin of the triplet loss"} <= words


def test_bars_are_shares_of_the_variance_the_largest_on_top(make_table: Callable[..., Table]):
    """Of 35/12 the distance explains 27/35 and the margin 8/35, as below."""
    study = exhaustive_study(make_table(lambda distance, margin: 4 * margin + 3 * (distance == "l2")))
    (axes,) = plot_importance(study, ["distance", "margin"]).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([800 / 35, 2700 / 35])
    assert [text.get_text() for text in axes.texts] == ["23 %", "77 %"]


def test_choices_are_summed_up_by_mean_middle_half_and_range(make_table: Callable[..., Table]):
    """Cosine has 0.1, 0.2 and 0.6: mean 0.3, quartiles 0.15 and 0.4; every margin has two values, l2's higher by 0.3."""
    values = {0.0: 0.1, 0.25: 0.2, 0.5: 0.6}
    study = exhaustive_study(make_table(lambda distance, margin: values[margin] + 0.3 * (distance == "l2")))
    by_distance, by_margin = plot_slice(study, ["distance", "margin"]).axes
    assert by_distance.lines[0].get_ydata() == pytest.approx([0.3, 0.6])
    full, half = ([segment[:, 1].tolist() for segment in bars.get_segments()] for bars in by_distance.collections)
    assert np.allclose(full, [[0.1, 0.6], [0.4, 0.9]]) and np.allclose(half, [[0.15, 0.4], [0.45, 0.7]])
    assert by_margin.lines[0].get_ydata() == pytest.approx([0.25, 0.35, 0.75])


def test_many_margins_are_a_curve_in_a_band(make_table: Callable[..., Table]):
    margins = tuple(number / 10 for number in range(11))
    study = exhaustive_study(make_table(lambda distance, margin: margin + 0.2 * (distance == "l2"), margins))
    axes = plot_slice(study, ["distance", "margin"]).axes[1]
    assert axes.lines[0].get_xdata() == pytest.approx(margins)
    assert axes.lines[0].get_ydata() == pytest.approx([margin + 0.1 for margin in margins])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(0) and band.max() == pytest.approx(1.2)


def test_noise_in_the_last_digits_is_no_difference(tmp_path: Path, make_table: Callable[..., Table]):
    names, (message,) = draw(tmp_path, "", make_table(lambda distance, margin: 1.0 - 1e-14 * margin))
    assert names == [] and "all settings have the same TIS" in message


def test_the_study_holds_every_setting_as_a_finished_trial(make_table: Callable[..., Table]):
    table = make_table(lambda distance, margin: margin)
    trials = exhaustive_study(table).trials
    assert [(trial.number, RobustnessSetting(**trial.params)) for trial in trials] == list(enumerate(table.settings))
    assert [trial.value for trial in trials] == [0.0, 0.25, 0.5] * 2


def test_importance_is_the_variance_that_a_parameter_explains(make_table: Callable[..., Table]):
    """Values 0 1 2 / 3 4 5: variance 35/12, of the two distances' means 9/4, of the three margins' means 2/3."""
    study = exhaustive_study(make_table(lambda distance, margin: 4 * margin + 3 * (distance == "l2")))
    shares = explained_variance(study, ["distance", "margin", "level"])
    assert shares == pytest.approx({"distance": 27 / 35, "margin": 8 / 35, "level": 0.0})
