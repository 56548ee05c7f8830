"""Configurations made by hand: choices, intervals and what cannot be told apart, with and without stored distances."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtransfer import tracking
from medtransfer.analysis.judge import Sampling, judge
from medtransfer.analysis.model import Judged, Summary, Verdict
from medtransfer.analysis.pools import Configuration
from medtransfer.analysis.summary import EQUAL_COST, analyse
from medtransfer.indicators.robustness.triplet import robustness
from medtransfer.records import checkpoint_path, pair_name

SAMPLING = Sampling(draws=400, confidence=0.95, seed=0)
DICE = {0: (0.40, 0.42, 0.44), 1: (0.50, 0.52, 0.54), 5: (0.80, 0.82, 0.84), 10: (0.79, 0.81, 0.83)}
ROBUSTNESS = {0: 0.9, 1: 0.5, 5: 0.6, 10: 0.55}


def configuration(
    dice: dict[int, tuple[float, ...]] = DICE, scores: dict[int, float] = ROBUSTNESS, name: str = "moon", **changed: object
) -> Configuration:
    fields = {"source": "imagenet", "origin": "simple", "encoder": "unet", "target": name, "mode": "full"}
    values = {(epoch, seed): value for epoch, row in dice.items() for seed, value in enumerate(row)}
    digests = {"pretraining": "p", "data": "d", "protocol": "q"}
    return Configuration(fields, digests, values, dict(scores), epochs=tuple(sorted(dice)), **changed)  # type: ignore[arg-type]


def by_selector(judged: Judged) -> dict[str, Verdict]:
    return {verdict.selector: verdict for verdict in judged.verdicts}


def summaries(*configurations: Configuration) -> dict[str, Summary]:
    return {one.selector: one for one in analyse(configurations, [], SAMPLING).summaries}


def test_what_is_within_noise_of_the_best() -> None:
    judged = judge(configuration(), SAMPLING)
    assert [one.within_noise for one in judged.checkpoints] == [False, False, True, True]
    found = by_selector(judged)
    assert found["online"].within_noise and not found["offline"].within_noise
    assert found["random"].within_noise is None


def test_probabilities_of_being_best_add_up() -> None:
    chances = [one.p_best for one in judge(configuration(), SAMPLING).checkpoints]
    assert sum(filter(None, chances)) == pytest.approx(1)
    assert chances[0] == chances[1] == 0
    assert 0.5 < (chances[2] or 0) < 1  # .82 against .81, standard error .012 each


def test_intervals_hold_the_values_and_the_best_has_none_to_speak_of() -> None:
    judged = judge(configuration(), SAMPLING)
    for one in judged.checkpoints:
        assert one.dice_interval and one.dice_interval[0] < one.dice < one.dice_interval[1]
        assert one.robustness_interval is None  # no distances are stored
    found = by_selector(judged)
    assert found["oracle"].interval == (1.0, 1.0)
    low, high = found["full"].interval or (0, 0)
    assert low < found["full"].tis < high <= 1
    assert found["full"].regret == pytest.approx(0.01)


def test_a_single_seed_has_no_intervals() -> None:
    judged = judge(configuration({epoch: values[:1] for epoch, values in DICE.items()}), SAMPLING)
    assert all(one.dice_interval is None and one.p_best is None and one.within_noise for one in judged.checkpoints)
    assert all(verdict.interval is None for verdict in judged.verdicts)
    assert math.isnan(judged.checkpoints[0].std)


def test_epoch_0_without_a_score_takes_no_part_offline() -> None:
    found = by_selector(judge(configuration(scores={1: 0.5, 5: 0.4, 10: 0.45}), SAMPLING))
    assert (found["offline"].epoch, found["online"].epoch) == (1, 1)
    lacking = by_selector(judge(configuration(scores={0: 0.5, 5: 0.4, 10: 0.45}), SAMPLING))
    assert "offline" not in lacking


def test_means_go_over_shared_seeds_unless_every_seed_is_wanted() -> None:
    dice = {**DICE, 5: (0.80, 0.82)}
    shared = judge(configuration(dice), SAMPLING)
    assert [one.seeds for one in shared.checkpoints] == [2, 2, 2, 2]
    every = judge(configuration(dice, every_seed=True), SAMPLING)
    assert [one.seeds for one in every.checkpoints] == [3, 3, 2, 3]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    """Give a configuration whose per-image distances lie in the store: epoch 5 is barely ahead of epoch 1."""
    rng = np.random.default_rng(0)
    scores = {}
    for epoch, level in {0: 0.5, 1: 0.3, 5: 0.29, 10: 0.6}.items():
        d_pos, d_neg = rng.normal(level, 0.2, (1, 40)).clip(0), np.full((1, 40), 0.5)
        path = checkpoint_path(tmp_path, epoch).with_suffix(".npz")
        np.savez(path, **{pair_name(side, "cosine", -2, True): d for side, d in (("pos", d_pos), ("neg", d_neg))})
        scores[epoch] = robustness(d_pos, d_neg, 0.5).value

    @contextmanager
    def folder(run: str, name: str) -> Iterator[Path]:
        assert (run, name) == ("run", "scores")
        yield tmp_path

    monkeypatch.setattr(tracking, "artifact_folder", folder)
    score = {"distance": "cosine", "margin": "0.5", "level": "-2", "pooled": True}
    return configuration(scores=scores, score_run="run", score=score)


def test_robustness_has_an_interval_where_distances_are_stored(stored: Configuration) -> None:
    judged = judge(stored, SAMPLING)
    for one in judged.checkpoints:
        assert one.robustness is not None and one.robustness_interval is not None
        assert one.robustness_interval[0] < one.robustness < one.robustness_interval[1]
    assert judged.notes == ()


def test_an_unsure_choice_has_a_wider_interval_than_a_fixed_one(stored: Configuration) -> None:
    found = by_selector(judge(stored, SAMPLING))
    assert found["offline"].epoch in {1, 5}
    unsure, fixed = found["offline"].interval, found[f"fixed-{found['offline'].epoch}"].interval
    assert unsure and fixed and unsure[1] - unsure[0] > fixed[1] - fixed[0] + 0.1  # images decide between .52 and .82


def test_distances_that_are_gone_are_named(workplace: Path) -> None:
    score = {"distance": "cosine", "margin": "0.5", "level": "-2", "pooled": True}
    with tracking.open_run("score", "s", "cell", {}, {}) as handle:
        pass
    one = configuration(score_run=handle.id, score=score)
    analysis = analyse([one], ["something else"], SAMPLING)
    assert analysis.left[0] == "something else"
    assert "unet simple → moon, full: robustness has no interval: expected the artifacts 'scores'" in analysis.left[1]
    assert all(point.robustness_interval is None for point in analysis.judged[0].checkpoints)


def test_the_cost_of_an_early_stop_is_weighed_against_fixed_lengths() -> None:
    """Online stops at epoch 10 or at 5 and spends that much; between the fixed lengths TIS is interpolated."""
    first, second = configuration(), configuration(scores={0: 0.9, 1: 0.7, 5: 0.6, 10: 0.8}, name="sun")
    online = summaries(first, second)["online"]
    assert online.mean_epochs == (10 + 5) / 2
    assert online.fixed_at_cost == pytest.approx((0.82 + 0.81) / 2 / 0.82)  # halfway from 5 to 10, on both
    assert online.mean_tis == pytest.approx((0.82 + 0.52) / 2 / 0.82)
    assert online.within_noise == 0.5
    contrast = next(
        one for one in analyse([first, second], [], SAMPLING).contrasts if (one.first, one.second) == ("online", EQUAL_COST)
    )
    assert contrast.difference == pytest.approx(online.mean_tis - online.fixed_at_cost)
    assert (contrast.wins, contrast.losses, contrast.configurations) == (1, 1, 2)


def test_contrasts_are_corrected_together() -> None:
    analysis = analyse([configuration(name=f"m{n}") for n in range(9)], [], SAMPLING)
    for one in analysis.contrasts:
        assert one.p_value <= one.p_holm <= 1
    assert {one.first for one in analysis.contrasts} == {"offline", "online"}


@given(st.randoms(use_true_random=False), st.integers(0, 10**6))
def test_the_order_of_rows_and_configurations_changes_nothing(random: object, seed: int) -> None:
    shuffle = random.shuffle  # type: ignore[attr-defined]
    ones = [configuration(name="moon"), configuration(scores={0: 0.9, 1: 0.7, 5: 0.6, 10: 0.8}, name="sun")]
    before = analyse(ones, [], Sampling(100, 0.9, seed))
    for one in ones:
        dice, scores = list(one.dice.items()), list(one.robustness.items())
        shuffle(dice), shuffle(scores)
        one.dice, one.robustness = dict(dice), dict(scores)
    after = analyse(ones[::-1], [], Sampling(100, 0.9, seed))
    assert before.summaries == after.summaries
    assert before.contrasts == after.contrasts
    assert before.judged == after.judged[::-1]
