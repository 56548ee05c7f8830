"""Choices are those of the selection rules; pooling follows the mode."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.evaluate import JUDGED, Case, Measured, Table, Values, tabulate
from medtransfer.tasks import TASKS


class Line:
    """A checkpoint whose robustness falls with the margin."""

    def __init__(self, value: float, slope: float = 0.0) -> None:
        self.value, self.slope = value, slope

    def robustness(self, margins: Values) -> Values:
        return self.value - self.slope * margins


def make(**curves: dict[int, float]) -> Case:
    """Make a case from robustness by epoch at the keys flat and pooled of cosine, level -1."""
    scores = {
        ("cosine", -1, name == "pooled"): {epoch: Line(value) for epoch, value in values.items()} for name, values in curves.items()
    }
    measured, dice = Measured(frozenset({("cosine", -1)})), TASKS["segmentation"].primary
    return Case("c", "unet", "moon", "full", "imagenet unet", {0: 0.2, 1: 0.5, 5: 1.0, 10: 0.8}, scores, measured, dice)


FLAT, POOLED = {0: 0.9, 1: 0.5, 5: 0.6, 10: 0.7}, {1: 0.8, 5: 0.7, 10: 0.95}


@pytest.mark.parametrize(
    ("pooling", "mode", "best", "first_drop"),
    [
        ("frozen", "full", 0.2, 0.8), ("frozen", "decoder", 0.8, 0.5), ("never", "decoder", 0.2, 0.8),
        ("always", "full", 0.8, 0.5), ("never", "full", 0.2, 0.8), ("always", "decoder", 0.8, 0.5),
    ],
)  # fmt: skip
def test_the_choice_follows_pooling_and_mode(pooling: str, mode: str, best: float, first_drop: float):
    """Flat, epoch 0 is the highest and the walk rises to the end; pooled, 10 is the highest and the walk keeps 1."""
    case = replace(make(flat=FLAT, pooled=POOLED), mode=mode)
    table = tabulate([case], [RobustnessSetting("cosine", 0.5, -1, pooling)])
    assert (table.tis["best"].tolist(), table.tis["first-drop"].tolist()) == ([[best]], [[first_drop]])


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_choices_are_those_of_the_rules(values: list[float], slopes: list[float]):
    epochs, margins = (0, 1, 5, 10), np.array([0.0, 0.3, 1.0])
    case = make(flat=dict.fromkeys(epochs, 0.0))
    curves = {epoch: Line(value, slope) for epoch, value, slope in zip(epochs, values, slopes, strict=True)}
    chosen = replace(case, scores={("cosine", -1, False): curves}).judge(("cosine", -1, False), margins)
    for row, margin in enumerate(margins):
        scores = {epoch: float(curve.robustness(margin)) for epoch, curve in curves.items()}
        for name, rule in JUDGED.items():
            assert chosen[name][row] == case.tis[rule.choose(scores).candidate]


def test_baselines():
    case = make(flat=FLAT)
    assert (case.full, case.none) == (0.8, 0.2)
    assert replace(case, tis={1: 1.0}).none is None


def test_a_table_has_every_setting_in_order_and_averages_over_cases():
    settings = [RobustnessSetting("cosine", margin, -1, pooling) for margin in (0.5, 0.1) for pooling in ("never", "always")]
    falling = {epoch: Line(value, slope) for epoch, value, slope in ((0, 0.1, 0), (1, 0.7, 1), (5, 0.5, 0))}  # 5 from .2 on
    first = replace(make(flat=FLAT), scores={("cosine", -1, False): falling, ("cosine", -1, True): {1: Line(0.5)}})
    second = replace(make(flat=POOLED, pooled=FLAT), target="sun")
    table = tabulate([first, second], settings)
    assert table.settings == tuple(settings)
    assert table.tis["best"].tolist() == [[1.0, 0.8], [0.5, 0.2], [0.5, 0.8], [0.5, 0.2]]
    assert table.mean((0, 1)).tolist() == [0.9, 0.35, 0.65, 0.35]
    assert table.mean((1,), "first-drop").tolist() == [0.5, 0.8, 0.5, 0.8]
    assert table.cases_by_target() == {"moon": [0], "sun": [1]}


def test_means_are_added_in_order():
    tis = np.array([[0.1, 0.2, 0.3, 0.7]])
    assert Table((), (), {"best": tis}).mean((0, 1, 2, 3)).tolist() == [(0.1 + 0.2 + 0.3 + 0.7) / 4]


def test_a_setting_reads_well():
    assert str(RobustnessSetting("cosine", 0.123456, -2, "frozen")) == "cosine, margin 0.1235, level -2, pooling frozen"
