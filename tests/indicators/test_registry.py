"""What every indicator keeps, whichever there are: its contract, the same bits in any company, and order among encoders."""

import json
import math
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.source_head import SourceHead
from medtransfer.errors import InputError
from medtransfer.indicators.alpha import AlphaOptions
from medtransfer.indicators.ccfv import CCFVOptions
from medtransfer.indicators.contract import NEEDS, Indicator, Measured, Options, ViewSettings
from medtransfer.indicators.lbtc import LBTCOptions
from medtransfer.indicators.registry import INDICATORS, find_indicators
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.streamed_pass import measure
from medtransfer.modes import MODES
from medtransfer.records import PreparedTarget

pytestmark = pytest.mark.long

VIEWS = ViewSettings("train", None, 4, 2, "random", "32-true")
OWN = {
    "alpha": AlphaOptions(first=1, last=6),  # there are six channels
    "ccfv": CCFVOptions(levels=3, class_pixels=50, class_images=30),
    "lbtc": LBTCOptions(window=3, anchors=50),
}
OPTIONS = Options(RobustnessSetting("cosine", 0.5, -1, "frozen"), (0.0, 0.5), 60, own=OWN)
CONTRACT = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


class Patches(Encoder):
    """Two levels of average colours and a fixed mix of them, after two convolutions that change nothing."""

    name, initialisation = "patches", "he"

    def __init__(self) -> None:
        super().__init__({}, [Level(4, 6), Level(8, 6)], 8)
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False))
        for layer in self.layers:
            nn.init.dirac_(layer.weight)
        self.passed = 0

    def maps(self, x: Tensor) -> list[Tensor]:
        self.passed += len(x)
        fine = nn.functional.avg_pool2d(self.layers(x), 4)
        fine = torch.cat([fine, fine.roll(1, 1) * fine], 1)  # (N, 6, H / 4, W / 4)
        return [fine, nn.functional.avg_pool2d(fine, 2)]


class Flat(Patches):
    """Maps every image to ones."""

    def maps(self, x: Tensor) -> list[Tensor]:
        return [torch.ones_like(features) for features in super().maps(x)]


class Broken(Patches):
    """Maps images with a dark corner to NaN."""

    def maps(self, x: Tensor) -> list[Tensor]:
        dark = x[:, :1, :1, :1] < 0.3
        return [features.masked_fill(dark, torch.nan) for features in super().maps(x)]


def head() -> SourceHead:
    linear = nn.Linear(6, 4)
    with torch.no_grad():
        linear.weight.copy_(torch.linspace(-2, 2, 24).sin().view(4, 6) * 3)
        linear.bias.copy_(torch.linspace(-1, 1, 4))
    return SourceHead(linear)


def score(
    indicators: list[Indicator], encoder: Encoder, target: PreparedTarget, batch_size: int = 4, views: ViewSettings = VIEWS,
    options: Options = OPTIONS,
) -> dict[str, Measured]:  # fmt: skip
    return measure(
        indicators, encoder, target, views, options, contract=CONTRACT, batch_size=batch_size, device=torch.device("cpu"),
        autocast=nullcontext, label="test", head=head(),
    )  # fmt: skip


def same(first: Measured, second: Measured) -> None:
    assert first.scores == second.scores and first.images == second.images and first.notes == second.notes
    assert first.per_sample.keys() == second.per_sample.keys()
    assert all(np.array_equal(values, second.per_sample[name]) for name, values in first.per_sample.items())


@pytest.fixture(params=INDICATORS)
def indicator(request: pytest.FixtureRequest) -> Indicator:
    return INDICATORS[request.param]


def test_it_is_found_by_its_name_and_says_what_it_needs(indicator):
    assert INDICATORS[indicator.name] is indicator
    assert indicator.needs and indicator.needs <= set(NEEDS)
    metrics = indicator.metrics(OPTIONS)
    assert next(iter(metrics)) == indicator.name
    assert all(indicator.watched(OPTIONS, mode) in metrics.values() for mode in MODES)


def test_settings_of_one_name_have_one_value():
    """They share the params of a run; `pooled` is told by the metric's name."""
    settings = [setting for indicator in INDICATORS.values() for setting in indicator.metrics(OPTIONS).values()]
    params = {(name, value) for setting in settings for name, value in setting.items() if name != "pooled"}
    names = [name for name, _ in params]
    assert len(names) == len(set(names))
    assert not set(names) & {*vars(VIEWS), "target", "data", "encoder", "origin", "source", "pretraining", "images", "scores"}


def test_its_scores_can_be_stored_and_hold_every_metric(indicator, make_target):
    """Two views of 9 images, two repeats, in one batch: 36 forward passes; the images themselves: 9, with gradients again."""
    encoder = Patches()
    measured = score([indicator], encoder, make_target(9), batch_size=9)[indicator.name]
    assert encoder.passed == 36 * ("views" in indicator.needs) + 9 * len({"features", "images"} & indicator.needs)
    assert len(measured.images) == 9
    assert all(name.startswith(f"{indicator.name}/") and values.shape[-1] == 9 for name, values in measured.per_sample.items())
    for row in measured.scores:
        assert row.indicator == indicator.name and math.isfinite(row.number)
        assert json.loads(json.dumps(asdict(row), allow_nan=False)) == asdict(row)
    assert all(math.isfinite(measured.value(setting)) for setting in indicator.metrics(OPTIONS).values())
    again = indicator.rescore(measured, OPTIONS)
    assert again is not None
    same(again, measured)


def test_other_indicators_repetition_and_batch_size_change_nothing(indicator, make_target):
    target = make_target(7)
    alone = score([indicator], Patches(), target)[indicator.name]
    same(score([indicator], Patches(), target)[indicator.name], alone)
    same(score(list(INDICATORS.values()), Patches(), target)[indicator.name], alone)
    cut = score([indicator], Patches(), target, 3)[indicator.name]
    for first, second in zip(alone.scores, cut.scores, strict=True):
        assert first.setting == second.setting and first.value == pytest.approx(second.number, abs=1e-5)


def test_a_constant_encoder_is_not_preferred(indicator, make_target):
    """Its score is lower, or not defined."""
    target = make_target(9)
    value, constant = (
        score([indicator], encoder, target)[indicator.name].value(indicator.watched(OPTIONS, "full"))
        for encoder in (Patches(), Flat())
    )
    assert math.isnan(constant) or (value > constant if indicator.higher_is_better else value < constant)


def test_images_without_finite_features_are_counted(indicator, make_target):
    for row in score([indicator], Broken(), make_target(9))[indicator.name].scores:
        assert row.flags and math.isfinite(row.number)


def test_an_indicator_without_views_needs_no_second_image(make_target):
    chosen = [one for one in INDICATORS.values() if "views" not in one.needs]
    target, views = make_target(3), replace(VIEWS, max_images=1)
    assert score(chosen, Patches(), target, views=views).keys() == {one.name for one in chosen}
    with pytest.raises(InputError, match="at least 2 images"):
        score([INDICATORS["robustness"]], Patches(), target, views=views)


def test_maps_are_not_kept(make_target):
    """Count the maps that are alive at once: those of one batch, however many images there are."""
    import weakref

    alive: set[int] = set()
    highest: list[int] = []

    class Watched(Patches):
        def maps(self, x: Tensor) -> list[Tensor]:
            maps = super().maps(x)
            for features in maps:
                alive.add(id(features))
                weakref.finalize(features, alive.discard, id(features))
            highest.append(len(alive))
            return maps

    score(list(INDICATORS.values()), Watched(), make_target(24), batch_size=2)
    assert max(highest) <= 2 * 4  # two levels; queries, keys, the images themselves, and one of these for gradients


def test_the_next_images_are_read_before_maps_are_waited_for(make_target):
    from medtransfer.indicators.contract import Batch, Context
    from medtransfer.indicators.streamed_pass import Inputs, feed

    events: list[str] = []

    class Noting(Indicator):
        name, needs = "noting", frozenset({"features"})

        def begin(self, context: Context) -> Any:
            return self

        def metrics(self, options: Options) -> dict[str, Any]:
            return {}

        def update(self, batch: Batch) -> None:
            events.append(f"update {batch.positions[0]}")

        def compute(self) -> Measured:
            return Measured([], [])

    def inputs() -> Any:
        for number in (0, 1):
            events.append(f"read {number}")
            yield Inputs(np.array([number]), 0, None, torch.rand(1, 3, 32, 32), None)

    feed([Noting()], Context(["a", "b"], ["p", "q"], 1, 0, 1, (), OPTIONS), Patches(), inputs(), nullcontext)
    assert events == ["read 0", "read 1", "update 0", "update 1"]


def test_unknown_names_are_refused_with_those_there_are():
    assert find_indicators(["robustness", "robustness"], "key") == [INDICATORS["robustness"]]
    assert find_indicators(["logme", "all"], "key") == [INDICATORS[name] for name in INDICATORS]
    with pytest.raises(InputError, match=f"expected key out of {', '.join(INDICATORS)}, all, but got 'moon'"):
        find_indicators(["robustness", "moon"], "key")
    with pytest.raises(InputError, match="but got none"):
        find_indicators([], "key")
