"""The streamed distances against a naive computation in float64 of all images at once, on the same views."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.tiny_encoders import TINIEST
from torch import Tensor, nn

from medtransfer.data.views import TwoViews
from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.initialise import initialise
from medtransfer.indicators.contract import Context, Measured, Options, ViewSettings
from medtransfer.indicators.robustness import DISTANCES
from medtransfer.indicators.robustness.measure import Robustness
from medtransfer.indicators.robustness.negatives import negatives
from medtransfer.indicators.robustness.pairs import Pairs
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.streamed_pass import measure
from medtransfer.records import PreparedTarget
from medtransfer.seeds import derive_seed

CONTRACT = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


def tiny(name: str = "unet") -> Encoder:
    encoder = build_encoder(name, **TINIEST[name])
    initialise(encoder, 3)
    return encoder


def settings(**changed: Any) -> ViewSettings:
    plain = {"split": "train", "max_images": None, "seed": 4, "repeats": 1, "negative": "random", "precision": "32-true"}
    return ViewSettings(**{**plain, **changed})


OPTIONS = Options(RobustnessSetting("cosine", 0.5, -1, "frozen"), (0.25, 0.5), 60)


def score(
    encoder: nn.Module, target: PreparedTarget, chosen: ViewSettings, batch_size: int = 4,
    autocast: Callable[[], Any] = nullcontext, indicator: Robustness | None = None,
) -> Measured:  # fmt: skip
    return measure(
        [indicator or Robustness()], encoder, target, chosen, OPTIONS, contract=CONTRACT, batch_size=batch_size,  # type: ignore[arg-type]
        device=torch.device("cpu"), autocast=autocast, label="test",
    )["robustness"]  # fmt: skip


def pairs_of(*arguments: Any, **options: Any) -> Pairs:
    measured = score(*arguments, **options)
    return Pairs.of(measured.images, measured.per_sample)


def by_hand(a: Tensor, b: Tensor, distance: str) -> float:
    """One pair of float64 vectors."""
    if distance in ("cosine", "pearson"):
        if distance == "pearson":
            a, b = a - a.mean(), b - b.mean()
        return float(1 - a @ b / (a.norm() * b.norm()))
    gap = (a - b).square()
    return float(gap.mean() if distance == "l2" else gap.sum().sqrt())


@torch.no_grad()
def naive(encoder: Encoder, target: PreparedTarget, chosen: ViewSettings) -> Pairs:
    """All views of all images at once, every feature map kept, distances pair by pair in float64."""
    encoder = encoder.double().eval()
    views = TwoViews(target, chosen.split, **CONTRACT, seed=chosen.seed, max_images=chosen.max_images)
    count = len(views)
    parts = [("negatives",), *(("negatives", str(repeat)) for repeat in range(1, chosen.repeats))]
    plans = [negatives(views.groups, chosen.negative, derive_seed(chosen.seed, *named)).negative for named in parts]
    d_pos: dict[Any, Any] = {}
    d_neg: dict[Any, Any] = {}
    for repeat, negative in enumerate(plans):
        (batch,) = views.batches(np.arange(count), negative, count, repeat)
        first, second = encoder(batch.queries.double()), encoder(batch.keys.double())
        for number, (queries, keys) in enumerate(zip(first, second, strict=True)):
            for pooled in (False, True):
                q, k = (m.mean((2, 3)) if pooled else m.flatten(1) for m in (queries, keys))
                for distance in DISTANCES:
                    setting = (distance, number - len(first), pooled)
                    for table, others in ((d_pos, range(count)), (d_neg, negative)):
                        row = [by_hand(q[i], k[j], distance) for i, j in enumerate(others)]
                        empty = np.zeros((chosen.repeats, count), np.float32)
                        table.setdefault(setting, empty)[repeat] = row
    return Pairs(d_pos, d_neg, views.ids, np.unique(views.groups, return_inverse=True)[1])


def close(found: Pairs, expected: Pairs, atol: float = 2e-5) -> None:
    assert found.images == expected.images
    assert found.groups.tolist() == expected.groups.tolist()
    assert found.d_pos.keys() == expected.d_pos.keys() == found.d_neg.keys()
    for setting in expected.d_pos:
        scale = max(1.0, float(np.abs(expected.d_neg[setting]).max()))
        np.testing.assert_allclose(found.d_pos[setting], expected.d_pos[setting], atol=atol * scale, err_msg=str(setting))
        np.testing.assert_allclose(found.d_neg[setting], expected.d_neg[setting], atol=atol * scale, err_msg=str(setting))


@pytest.mark.parametrize("name", ENCODERS)
def test_equals_the_naive_computation_at_every_level_and_pooling(name, make_target):
    target, chosen = make_target(7), settings(repeats=2)
    found = pairs_of(tiny(name), target, chosen, batch_size=3)
    levels = len(tiny(name).levels)
    assert found.d_pos.keys() == {(d, -level, p) for d in DISTANCES for level in range(1, levels + 1) for p in (False, True)}
    assert all(values.shape == (2, 7) and values.dtype == np.float32 for values in found.d_pos.values())
    close(found, naive(tiny(name), target, chosen))


@pytest.mark.parametrize(("negative", "count"), [("random", 2), ("random", 7), ("paper", 6), ("paper", 7)])
def test_negatives_of_both_kinds_equal_the_naive_ones(negative, count, make_target):
    target, chosen = make_target(count), settings(negative=negative)
    measured = score(tiny(), target, chosen, batch_size=2)
    close(Pairs.of(measured.images, measured.per_sample), naive(tiny(), target, chosen))
    assert len(measured.notes) == ((negative, count) == ("paper", 7))
    assert all("image 4 would be its own negative" in note for note in measured.notes)


def test_repeats_are_independent_views(make_target):
    target, setting = make_target(5), ("cosine", -2, True)
    once, thrice = pairs_of(tiny(), target, settings()), pairs_of(tiny(), target, settings(repeats=3))
    np.testing.assert_array_equal(thrice.d_pos[setting][:1], once.d_pos[setting])
    assert len({row.tobytes() for row in thrice.d_pos[setting]}) == 3
    assert not np.array_equal(once.d_pos[setting], pairs_of(tiny(), target, settings(seed=2)).d_pos[setting])


class Noting(Robustness):
    """Keeps the context of its measurement."""

    contexts: list[Context] = []

    def begin(self, context: Context) -> Any:
        """Keep the context and begin."""
        self.contexts.append(context)
        return super().begin(context)


def context_of(target: PreparedTarget, chosen: ViewSettings) -> Context:
    score(tiny(), target, chosen, indicator=Noting())
    return Noting.contexts.pop()


def test_negatives_are_of_other_patients_and_others_in_each_repeat(make_target):
    target = make_target(8, "aaabbbcc")
    once, thrice = (context_of(target, settings(repeats=repeats)) for repeats in (1, 3))
    assert thrice.groups == list("aaabbbcc") and len(once.plans) == 1
    for plan in thrice.plans:
        assert all(thrice.groups[image] != thrice.groups[negative] for image, negative in enumerate(plan.negative))
    assert len({plan.negative.tobytes() for plan in thrice.plans}) == 3
    assert np.array_equal(once.plans[0].negative, thrice.plans[0].negative)
    assert len({plan.negative.tobytes() for plan in context_of(target, settings(repeats=2, negative="paper")).plans}) == 1
    close(pairs_of(tiny(), target, settings(repeats=3), batch_size=3), naive(tiny(), target, settings(repeats=3)))


def test_errors_count_patients(make_target):
    measured = score(tiny(), make_target(6, "ababab"), settings(repeats=2))
    pairs = Pairs.of(measured.images, measured.per_sample)
    for row in measured.scores:
        key = (row.setting["distance"], row.setting["level"], row.setting["pooled"])
        losses = np.maximum(0, pairs.d_pos[key].astype(float) - pairs.d_neg[key] + row.setting["margin"]).mean(axis=0)
        halves = [losses[::2].mean(), losses[1::2].mean()]
        assert row.error == pytest.approx(stats.sem(halves), abs=1e-12)


@pytest.mark.parametrize(("patients", "alike"), [("aaaab", 3), ("aaabb", 1), ("aabbc", 0), ("aaaaa", 0)])
def test_negatives_of_the_same_patient_are_told(patients, alike, make_target):
    """Of k slices of one patient among n, at least 2k - n follow another of it; with a single patient there is no choice."""
    notes = score(tiny(), make_target(5, patients), settings(repeats=2)).notes
    images = "1 image is" if alike == 1 else f"{alike} images are"
    assert notes == [f"{images} compared with another one of the same group, since it holds most images"] * (alike > 0)


class Constant(Encoder):
    """Maps every image to one and the same value."""

    name, initialisation = "constant", "he"

    def __init__(self, value: float) -> None:
        super().__init__({}, [Level(1, 2), Level(2, 4)], 2)
        self.value = nn.Parameter(torch.tensor(value))

    def maps(self, x: Tensor) -> list[Tensor]:
        shapes = ((len(x), 2, 32, 32), (len(x), 4, 16, 16))
        ramps = (torch.arange(torch.Size(shape).numel() / len(x)).repeat(len(x)).view(shape) for shape in shapes)
        return [self.value * ramp for ramp in ramps]


def flags(measured: Measured) -> set[tuple[tuple[str, int], ...]]:
    return {tuple(sorted(row.flags.items())) for row in measured.scores}


def test_collapsed_zero_and_non_finite_features_are_defined_and_counted(make_target):
    collapsed = score(Constant(1.0), make_target(6), settings())
    for row in collapsed.scores:
        assert row.value == pytest.approx(1 - row.setting["margin"], abs=1e-6)
        assert row.flags == {}
    last = {"distance": "cosine", "level": -1, "pooled": True, "margin": 0.5}
    zero = score(Constant(0.0), make_target(6), settings(repeats=2))
    pairs = 2 * 2 * 6  # positive and negative pairs, two repeats
    assert flags(zero) == {(("constant", pairs), ("zero", pairs))}
    assert zero.value(last) == 0.5
    broken = score(Constant(float("nan")), make_target(6), settings())
    assert flags(broken) == {(("nonfinite", 2 * 6),)}
    assert broken.value(last) == 0.5


@pytest.mark.parametrize("name", ENCODERS)
def test_half_precision_is_measured_in_float32(name, make_target):
    target, encoder = make_target(6), tiny(name).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    half = pairs_of(encoder, target, settings(), autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    whole = pairs_of(tiny(name), target, settings())
    for distance, level, pooled in whole.d_neg:
        if distance == "cosine":
            np.testing.assert_allclose(half.d_neg[distance, level, pooled], whole.d_neg[distance, level, pooled], atol=0.05)
    assert not any(module.training for module in encoder.modules())
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_other_margins_follow_from_what_was_stored(make_target):
    measured = score(Constant(0.0), make_target(4), settings())
    other = Options(RobustnessSetting("l2", 0.75, -2, "always"), (0.75,), 60)
    again = Robustness().rescore(measured, other)
    assert again is not None
    assert {row.setting["margin"] for row in again.scores} == {0.75} and len(again.scores) == len(measured.scores) / 2
    assert flags(again) == flags(measured) and again.per_sample is measured.per_sample
    assert again.value(Robustness().watched(other, "full")) == 0.25
    assert Robustness().rescore(measured, OPTIONS) is measured
    assert Robustness().rescore(Measured(measured.images, measured.scores), OPTIONS) is None
