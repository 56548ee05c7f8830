"""The picture of a race: names in full, and bars of standard errors that end at the range of the metric."""

import re
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from medtransfer.race import plots
from medtransfer.race.plots import rungs
from medtransfer.tasks import TASKS

NAMES = ["unet-simple e010", "checkpoints/unet-segmentation-of-fundus-photographs e200"]


@pytest.fixture
def race() -> SimpleNamespace:
    """Return a race of one rung, whose entrants have a Dice of 0.98 ± 0.05 and 0.03 ± 0.05."""
    heat = SimpleNamespace(entrants=[0, 1], epochs=5, stay=[0, 1], seats=2)
    return SimpleNamespace(
        heats=[heat], last=heat, winner=0, rivals=[], metric=TASKS["segmentation"].primary,
        entrants=[SimpleNamespace(name=name, is_random=False) for name in NAMES],
        value=lambda heat, index: (0.98, 0.03)[index], error=lambda heat, index: 0.05,
    )  # fmt: skip


def test_names_are_wrapped_not_cut(race: SimpleNamespace) -> None:
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", rungs(race)))  # type: ignore[arg-type]
    assert all(name.replace(" ", "") in shown.replace(" ", "") for name in NAMES) and "…" not in shown


def test_bars_end_at_the_range_of_the_metric(race: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "to_svg", lambda figure, title: drawn.append(figure))
    rungs(race)  # type: ignore[arg-type]
    bars = [tuple(line.get_ydata()) for line in drawn[0].axes[0].lines if tuple(line.get_xdata()) == (0, 0)]
    assert sorted(bars) == [(0, pytest.approx(0.08)), (pytest.approx(0.93), 1)]
