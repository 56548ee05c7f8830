"""What a reader finds in the picture of the scores, read back from matplotlib's artists."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from medtransfer.indicators.registry import INDICATORS
from medtransfer.records import Score, Scores
from medtransfer.score.plot import draw_curves

EPOCHS = (0, 5)
Draw = Callable[..., Figure]


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Return a drawer of metrics by name, each of an indicator at a setting, with the indicators that every epoch has."""

    def call(metrics: dict[str, tuple[str, dict[str, int]]], measured: tuple[str, ...] = (), value: float | None = 0.5) -> Figure:
        drawn: list[Figure] = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, path, **options: (drawn.append(figure), Path(path).touch()))
        rows = {name: dict.fromkeys(EPOCHS, Score(key, at, value, 0.1)) for name, (key, at) in metrics.items()}
        record = Scores("moon", "0", "unet", "simple", "", 0, "", "", None, 4, {}, [Score(name, {}, 1.0) for name in measured], {})
        draw_curves(tmp_path / "scores.png", rows, dict.fromkeys(EPOCHS, record), "title")
        return drawn[0]

    return call


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.texts).replace("\n", " ")


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_every_metric_of_an_indicator_is_drawn(count: int, draw: Draw):
    (axes,) = draw({f"depth_{number}": ("depth", {"level": -1}) for number in range(count)}).axes
    assert len(axes.containers) == count
    legend = axes.get_legend()
    names = [text.get_text() for text in legend.get_texts()] if legend else ["depth 0"]
    assert names == [f"depth {number}" for number in range(count)]


def test_all_indicators_fit_a_screen_with_the_names_of_the_field(draw: Draw):
    figure = draw({name: (name, {"level": -2, "pixels": 2000}) for name in INDICATORS})
    width, height = 120 * figure.get_size_inches()
    assert len(figure.axes) == len(INDICATORS) and width <= 1500 and height <= 1800
    titles = {axes.texts[0].get_text() for axes in figure.axes}
    assert {"LogME", "k-NN probe", "Friedman–Rafsky", "CC-FV", "robustness"} <= titles and not any("_" in name for name in titles)


def test_panels_name_settings_that_most_do_not_share(draw: Draw):
    at = {"level": -2, "pixels": 2000}
    figure = draw({"logme": ("logme", at), "alpha": ("alpha", {**at, "alpha_first": 11}), "twonn": ("twonn", at)})
    assert [axes.texts[1].get_text() for axes in figure.axes] == ["", "alpha first 11", "lower is better"]
    assert "Setting, with what a panel adds or unless it names another level: level -2, pixels 2000." in words(figure)


def test_the_caption_names_what_is_not_drawn(draw: Draw):
    figure = draw({"ridge": ("ridge", {"level": -2})}, measured=("ridge", "knn", "logme"))
    assert words(figure).endswith("at the default setting: k-NN probe; LogME.")


def test_a_score_that_is_not_defined_is_said(draw: Draw):
    (axes,) = draw({"leep": ("leep", {"level": -1})}, value=None).axes
    assert "not defined" in [text.get_text() for text in axes.texts]
