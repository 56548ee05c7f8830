"""Plots are drawn where settings differ; where they do not, the text says so."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.evaluate import Case, Table
from medtransfer.search.plots import PLOTS, ExplainedVariance, draw, exhaustive_study, plot_pairs

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
    (panel, _) = plot_pairs(study, ["distance", "margin"], "mean TIS").axes
    (image,) = panel.get_images()
    assert np.allclose(image.get_array(), [[0.0, 0.1], [0.25, 0.35], [0.5, 0.6]]) and image.get_clim() == (0.0, 0.6)
    assert [label.get_text() for label in panel.get_xticklabels()] == ["cosine", "l2"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["0.0", "0.25", "0.5"]


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
    shares = ExplainedVariance().evaluate(study, ["distance", "margin", "level"])
    assert shares == pytest.approx({"distance": 27 / 35, "margin": 8 / 35, "level": 0.0})
