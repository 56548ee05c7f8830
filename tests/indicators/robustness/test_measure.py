"""The streamed distances against a naive computation in float64 of all images at once, on the same views."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.tiny_encoders import TINIEST
from torch import Tensor, nn

from medtransfer.data.views import TwoViews, ViewBatch
from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.contract import Encoder, Level
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.distances import DISTANCES
from medtransfer.indicators.robustness.measure import Pairs, ViewSettings, measure_pairs, pairs_of
from medtransfer.indicators.robustness.negatives import negatives
from medtransfer.indicators.robustness.streamed import Reading
from medtransfer.records import INDEX_COLUMNS, PreparedTarget, TargetInfo
from medtransfer.seeds import derive_seed

CONTRACT = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


@pytest.fixture
def make_target(tmp_path: Path) -> Callable[[int], PreparedTarget]:
    """Give a maker of targets of so many colour images of 32 pixels."""

    def make(count: int) -> PreparedTarget:
        images = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        np.save(tmp_path / "images.npy", images)
        np.save(tmp_path / "masks.npy", np.zeros(images.shape[:3], np.uint8))
        lines = [(i, i, "train", f"p{i}", f"{i}.png", 0, 0, 0, 32, 32) for i in range(count)]
        pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(tmp_path / "index.csv", index=False)
        TargetInfo(
            target="made", reader="made", task="segmentation", citation="none", classes=["one"], channels=3,
        input=[32, 32], augmentation="rotate-flip",
            scaling="none", counts={"train": count}, expected={}, subset=False, sources={}, arrays={}, settings={},
        ).write(tmp_path / "dataset.json")  # fmt: skip
        return PreparedTarget.open(tmp_path)

    return make


def tiny(name: str = "unet") -> Encoder:
    encoder = build_encoder(name, **TINIEST[name])
    initialise(encoder, 3)
    return encoder


def settings(**changed: Any) -> ViewSettings:
    return ViewSettings(**{"split": "train", "max_images": None, "seed": 4, "repeats": 1, "negative": "random", **changed})


def measure(encoder: nn.Module, target: PreparedTarget, chosen: ViewSettings, batch_size: int = 4) -> Pairs:
    device = torch.device("cpu")
    return measure_pairs(encoder, target, chosen, CONTRACT, batch_size, device, nullcontext, "test")  # type: ignore[arg-type]


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
    negative = negatives(count, chosen.negative, derive_seed(chosen.seed, "negatives")).negative
    pairs = Pairs({}, {}, views.ids)
    for repeat in range(chosen.repeats):
        (batch,) = views.batches(np.arange(count), negative, count, repeat)
        first, second = encoder(batch.queries.double()), encoder(batch.keys.double())
        for number, (queries, keys) in enumerate(zip(first, second, strict=True)):
            for pooled in (False, True):
                q, k = (m.mean((2, 3)) if pooled else m.flatten(1) for m in (queries, keys))
                for distance in DISTANCES:
                    setting = (distance, number - len(first), pooled)
                    for table, others in ((pairs.d_pos, range(count)), (pairs.d_neg, negative)):
                        row = [by_hand(q[i], k[j], distance) for i, j in enumerate(others)]
                        empty = np.zeros((chosen.repeats, count), np.float32)
                        table.setdefault(setting, empty)[repeat] = row
    return pairs


def close(found: Pairs, expected: Pairs, atol: float = 2e-5) -> None:
    assert found.images == expected.images
    assert found.d_pos.keys() == expected.d_pos.keys() == found.d_neg.keys()
    for setting in expected.d_pos:
        scale = max(1.0, float(np.abs(expected.d_neg[setting]).max()))
        np.testing.assert_allclose(found.d_pos[setting], expected.d_pos[setting], atol=atol * scale, err_msg=str(setting))
        np.testing.assert_allclose(found.d_neg[setting], expected.d_neg[setting], atol=atol * scale, err_msg=str(setting))


@pytest.mark.parametrize("name", ENCODERS)
def test_equals_the_naive_computation_at_every_level_and_pooling(name: str, make_target: Callable[[int], PreparedTarget]):
    target, chosen = make_target(7), settings(repeats=2)
    found = measure(tiny(name), target, chosen, batch_size=3)
    levels = len(tiny(name).levels)
    assert found.d_pos.keys() == {(d, -level, p) for d in DISTANCES for level in range(1, levels + 1) for p in (False, True)}
    assert all(values.shape == (2, 7) and values.dtype == np.float32 for values in found.d_pos.values())
    close(found, naive(tiny(name), target, chosen))


@pytest.mark.parametrize("negative", ["random", "paper"])
@pytest.mark.parametrize("count", [2, 6, 7])
def test_negatives_of_both_kinds_equal_the_naive_ones(negative: str, count: int, make_target: Callable[[int], PreparedTarget]):
    target, chosen = make_target(count), settings(negative=negative)
    close(measure(tiny(), target, chosen, batch_size=2), naive(tiny(), target, chosen))


def test_does_not_depend_on_the_batch_size(make_target: Callable[[int], PreparedTarget]):
    target = make_target(7)
    whole = measure(tiny(), target, settings(), batch_size=7)
    for batch_size in (1, 2, 3, 100):
        close(measure(tiny(), target, settings(), batch_size), whole, atol=1e-6)


def test_repeats_are_independent_views_and_the_first_stays_the_same(make_target: Callable[[int], PreparedTarget]):
    target = make_target(5)
    once, thrice = measure(tiny(), target, settings()), measure(tiny(), target, settings(repeats=3))
    setting = ("cosine", -2, True)
    np.testing.assert_array_equal(thrice.d_pos[setting][:1], once.d_pos[setting])
    assert len({row.tobytes() for row in thrice.d_pos[setting]}) == 3


def test_the_seed_decides(make_target: Callable[[int], PreparedTarget]):
    target, setting = make_target(6), ("cosine", -1, False)
    a, b = (measure(tiny(), target, settings(seed=seed)).d_pos[setting] for seed in (1, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, measure(tiny(), target, settings(seed=2)).d_pos[setting])


def test_paper_negatives_of_an_odd_list_are_noted(make_target: Callable[[int], PreparedTarget]):
    target = make_target(7)
    assert "image 4 would be its own negative" in measure(tiny(), target, settings(negative="paper")).notes[0]
    assert measure(tiny(), target, settings(negative="paper", max_images=6)).notes == []


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


def test_a_collapsed_encoder_has_one_minus_the_margin(make_target: Callable[[int], PreparedTarget]):
    pairs = measure(Constant(1.0), make_target(6), settings())
    for distance, level, pooled in pairs.d_pos:
        assert pairs.robustness(distance, level, pooled, 0.25) == pytest.approx(0.75, abs=1e-6)
    assert all(count == {"nonfinite": 0, "zero": 0, "constant": 0} for count in pairs.counts.values())


def test_zero_and_non_finite_features_are_counted_and_defined(make_target: Callable[[int], PreparedTarget]):
    zero = measure(Constant(0.0), make_target(6), settings(repeats=2))
    assert {count["zero"] for count in zero.counts.values()} == {2 * 2 * 6}  # positive and negative pairs, two repeats
    assert zero.robustness("cosine", -1, True, 0.5) == 0.5
    broken = measure(Constant(float("nan")), make_target(6), settings())
    assert {count["nonfinite"] for count in broken.counts.values()} == {2 * 6}
    assert broken.robustness("cosine", -1, True, 0.5) == 0.5


@pytest.mark.parametrize("name", ENCODERS)
def test_the_encoder_is_left_in_eval_mode_and_untouched(name: str, make_target: Callable[[int], PreparedTarget]):
    encoder = tiny(name).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    measure(encoder, make_target(5), settings())
    assert not any(module.training for module in encoder.modules())
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_features_are_not_kept(make_target: Callable[[int], PreparedTarget]):
    """Count the feature maps that are alive at once: those of the current batch, however many images there are."""
    import weakref

    alive: set[int] = set()
    highest = 0

    class Watched(Constant):
        def maps(self, x: Tensor) -> list[Tensor]:
            nonlocal highest
            maps = super().maps(x)
            for features in maps:
                alive.add(id(features))
                weakref.finalize(features, alive.discard, id(features))
            highest = max(highest, len(alive))
            return maps

    measure(Watched(1.0), make_target(24), settings(), batch_size=2)
    assert highest <= 2 * 2  # two levels, of this batch and at most the one before


def test_robustness_of_a_setting_that_was_not_measured_names_those_there_are(make_target: Callable[[int], PreparedTarget]):
    pairs = measure(tiny(), make_target(4), settings())
    with pytest.raises(ValueError, match=r"level out of \[-4, -3, -2, -1\]"):
        pairs.robustness("cosine", -5, True, 0.5)


def test_one_image_has_no_negative(make_target: Callable[[int], PreparedTarget]):
    with pytest.raises(InputError, match="at least 2 images"):
        measure(tiny(), make_target(1), settings())


def test_the_next_views_are_made_before_a_batch_is_waited_for_and_maps_are_let_go(monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []

    class Noted(Reading):
        def __init__(self, *maps: Any) -> None:
            events.append("read")
            super().__init__(*maps)

        def collect(self) -> Any:
            events.append("collect")
            return super().collect()

    def batches() -> Iterator[ViewBatch]:
        for start in (0, 2):
            events.append("views")
            images = torch.rand(2, 3, 32, 32)
            yield ViewBatch(images, images + 0.1, torch.tensor([1, 0]), torch.arange(start, start + 2))

    monkeypatch.setattr("medtransfer.indicators.robustness.measure.Reading", Noted)
    pairs = pairs_of(tiny().eval(), [batches()], 1, list("abcd"), nullcontext)
    assert events == ["views", "read", "views", "collect", "read", "collect"]
    assert pairs.images == list("abcd") and not any(np.isnan(values).any() for values in pairs.d_neg.values())


@pytest.mark.parametrize("name", ENCODERS)
def test_half_precision_forward_passes_are_measured_in_float32(name: str, make_target: Callable[[int], PreparedTarget]):
    target, device = make_target(6), torch.device("cpu")
    half = measure_pairs(
        tiny(name), target, settings(), CONTRACT, 4, device, lambda: torch.autocast("cpu", torch.bfloat16), "test"
    )  # fmt: skip
    whole = measure(tiny(name), target, settings())
    for distance, level, pooled in whole.d_neg:
        if distance == "cosine":
            np.testing.assert_allclose(half.d_neg[distance, level, pooled], whole.d_neg[distance, level, pooled], atol=0.05)
