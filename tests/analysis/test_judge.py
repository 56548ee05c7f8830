"""Pools made by hand: choices, intervals and what cannot be distinguished, with and without stored distances."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtransfer import forks, tracking
from medtransfer.analysis.judge import LEAST_GROUPS, judge, judge_all
from medtransfer.analysis.model import Sampling, Summary
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.robustness_draws import Drawn
from medtransfer.analysis.summary import analyse
from medtransfer.indicators.robustness.pairs import GROUPS, pair_name
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.robustness.triplet import robustness
from medtransfer.records import checkpoint_path
from medtransfer.selectors.selectors import CONTRASTED, EQUAL_COST
from medtransfer.tasks import TASKS

POOLED = RobustnessSetting("cosine", 0.5, -2, "always")
SAMPLING = Sampling(draws=400, confidence=0.95, seed=0, margin=0.01, least=0.1)
DICE = {0: (0.40, 0.42, 0.44), 1: (0.54, 0.50, 0.52), 5: (0.80, 0.84, 0.82), 10: (0.81, 0.79, 0.83)}
ROBUSTNESS = {0: 0.9, 1: 0.5, 5: 0.6, 10: 0.55}


def pool(
    dice: Mapping[Any, tuple[float, ...]] = DICE, scores: Mapping[Any, float] = ROBUSTNESS, name: str = "moon", **changed: Any
) -> Pool:
    fields = {"source": "imagenet", "origin": "simple", "encoder": "unet", "target": name, "mode": "full"}
    outcome = {(candidate, seed): value for candidate, row in dice.items() for seed, value in enumerate(row)}
    digests = {"pretraining": "p", "data": "d", "protocol": "q"}
    changed = {"fields": fields, "scores": {"robustness": dict(scores)}, "candidates": tuple(sorted(dice)), **changed}
    return Pool(digests=digests, outcome=outcome, metric=TASKS["segmentation"].primary, **changed)


def summaries(*pools: Pool) -> dict[str, Summary]:
    return analyse(pools, [], SAMPLING).by_selector


def test_a_best_mean_at_the_limit_is_not_judged_whatever_the_rounding() -> None:
    """The mean of three .1 is 0.10000000000000002, and results up to .1 are not judged."""
    at_limit = pool({0: (0.02, 0.03, 0.04), 1: (0.1, 0.1, 0.1)}, {0: 0.5, 1: 0.6})
    assert at_limit.means[1] > 0.1
    assert "no model learned: the best mean Dice is 0.100, and results up to 0.1" in judge(at_limit, SAMPLING).reason


def test_what_is_within_noise_of_the_best() -> None:
    judged = judge(pool(), SAMPLING)
    assert [one.within_noise for one in judged.candidates] == [False, False, True, True]
    found = judged.by_selector
    assert found["online"].within_noise and not found["offline"].within_noise
    assert found["random"].within_noise is None


def test_the_mean_tis_of_negative_outcomes_is_in_its_interval() -> None:
    """By kappa six pretrainings have random weights below 0."""
    kappa = {0: (-0.2, -0.25, -0.22), 1: (0.3, 0.32, 0.31), 5: (0.5, 0.52, 0.51)}
    pools = [
        replace(pool(kappa, {0: 0.1, 1: 0.5, 5: 0.6}, f"t{number}"), metric=TASKS["ordinal"].primary, digests={
            "pretraining": f"p{number}", "data": "d", "protocol": "q"}) for number in range(8)
    ]  # fmt: skip
    none = summaries(*pools)["none"]
    assert none.interval is not None and none.interval[0] < none.mean_tis <= none.interval[1] < 0


def test_probabilities_of_being_best_add_up() -> None:
    chances = [one.p_best for one in judge(pool(), SAMPLING).candidates]
    assert sum(filter(None, chances)) == pytest.approx(1)
    assert chances[0] == chances[1] == 0
    assert 0.5 < (chances[2] or 0) < 0.9  # .82 against .81, standard error .012 each


def test_intervals_hold_the_values_and_the_best_in_hindsight_has_none() -> None:
    judged = judge(pool(), SAMPLING)
    for one in judged.candidates:
        assert one.interval == pytest.approx(tuple(stats.ttest_1samp(DICE[int(one.key)], 0).confidence_interval(0.95)))
        assert one.robustness_interval is None  # no distances are stored
    found = judged.by_selector
    assert found["oracle"].interval is None
    low, high = found["full"].interval or (0, 0)
    assert low < found["full"].tis < high <= 1
    assert found["full"].regret == pytest.approx(0.01)


@pytest.mark.parametrize(("best", "judged"), [(0.02, False), (0.1, False), (0.11, True)])
def test_models_that_learned_nothing_are_not_judged(best: float, judged: bool) -> None:
    found = judge(pool({0: (0.0, 0.01), 1: (best, best)}), SAMPLING)
    assert bool(found.verdicts) is judged
    assert judged or f"no model learned: the best mean Dice is {best:.3f}" in found.reason


def test_a_single_seed_has_no_intervals() -> None:
    judged = judge(pool({epoch: values[:1] for epoch, values in DICE.items()}), SAMPLING)
    assert all(one.interval is None and one.p_best is None and one.within_noise for one in judged.candidates)
    assert all(verdict.interval is None for verdict in judged.verdicts)
    assert math.isnan(judged.candidates[0].std)


def test_epoch_0_without_a_score_takes_no_part_offline() -> None:
    found = judge(pool(scores={1: 0.5, 5: 0.4, 10: 0.45}), SAMPLING).by_selector
    assert (found["offline"].candidate, found["online"].candidate) == (1, 1)
    lacking = judge(pool(scores={0: 0.5, 5: 0.4, 10: 0.45}), SAMPLING).by_selector
    assert "offline" not in lacking


def test_means_go_over_shared_seeds_unless_every_seed_is_wanted() -> None:
    dice = {**DICE, 5: (0.80, 0.82)}
    shared = judge(pool(dice), SAMPLING)
    assert [one.seeds for one in shared.candidates] == [2, 2, 2, 2]
    every = judge(pool(dice, every_seed=True), SAMPLING)
    assert [one.seeds for one in every.candidates] == [3, 3, 2, 3]


@pytest.fixture
def fetched() -> list[str]:
    """Return the score runs whose files are fetched, in order."""
    return []


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: list[str]) -> Pool:
    """Return a configuration whose per-image distances lie in the store: epoch 5 is barely ahead of epoch 1."""
    rng = np.random.default_rng(0)
    scores = {}
    for epoch, level in {0: 0.5, 1: 0.3, 5: 0.29, 10: 0.6}.items():
        d_pos, d_neg = rng.normal(level, 0.2, (1, 40)).clip(0), np.full((1, 40), 0.5)
        path = checkpoint_path(tmp_path, epoch).with_suffix(".npz")
        arrays = {pair_name(side, "cosine", -2, True): d for side, d in (("pos", d_pos), ("neg", d_neg))}
        flat = {pair_name(side, "cosine", -2, False): d for side, d in (("pos", d_pos + 0.1), ("neg", d_neg))}
        np.savez(path, **arrays, **flat, **{GROUPS: np.repeat(np.arange(10), 4)})
        scores[epoch] = robustness(d_pos, d_neg, [0.5])[0][0]

    @contextmanager
    def folder(run: str, name: str) -> Iterator[Path]:
        assert name == "scores"
        fetched.append(run)
        yield tmp_path

    monkeypatch.setattr(tracking, "artifact_folder", folder)
    return pool(scores=scores, score_run="run", score=POOLED)


def in_both_modes(stored: Pool, **changed: Any) -> list[Pool]:
    """Return it in both modes, of which the frozen encoder has pooled features, by the paper's rule."""
    rule = replace(POOLED, pooling="frozen")
    return [replace(stored, score=rule, fields={**stored.fields, "mode": mode}, **changed) for mode in ("decoder", "full")]


def test_both_modes_of_a_score_run_read_it_once_and_are_judged_as_alone(stored: Pool, fetched: list[str]) -> None:
    modes = in_both_modes(stored)
    other = replace(modes[0], score_run="other", scores={"robustness": {0: 0.5, 5: 0.6}})
    together = list(judge_all([*modes, other, pool(name="sun")], SAMPLING))
    assert fetched == ["run", "other"]
    assert together[:3] == [judge(one, SAMPLING) for one in (*modes, other)]
    decoder, full, partly, unscored = ([c.robustness_interval for c in judged.candidates] for judged in together)
    for pooled, flat in zip(decoder, full, strict=True):
        assert pooled and flat and flat[0] < pooled[0] and flat[1] < pooled[1]  # its positives are .1 farther away
    assert [bounds is not None for bounds in partly] == [True, False, True, False]
    assert unscored == [None] * 4


@pytest.mark.parametrize("local", [{"another run"}, {"run", "another run"}, set()])
def test_many_pools_are_judged_by_several_processes_as_by_one(
    stored: Pool, fetched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: set[str]
) -> None:
    """What is not in a local folder is read by this process alone."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores").symlink_to(tmp_path)
    monkeypatch.setattr(forks, "can_fork", lambda: True)
    monkeypatch.setattr(forks, "count_cores", lambda: 2)
    monkeypatch.setattr(tracking, "locate_artifacts", lambda runs: dict.fromkeys(local, tmp_path / "run"))
    runs = ["run", "another run"] * LEAST_GROUPS
    pools = [replace(stored, score_run=run, fields={**stored.fields, "target": f"t{n}"}) for n, run in enumerate(runs)]
    judged = list(judge_all(pools, SAMPLING))
    here = list(fetched)
    assert judged == [judge(one, SAMPLING) for one in pools]
    assert [one.pool for one in judged] == pools
    assert len(here) == (1 + len(pools) // 2 if local == set(runs) else len(pools))


def test_files_that_another_process_cannot_read_are_noted_here(
    stored: Pool, fetched: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every other group is judged in the other process, which cannot read those of the third one."""
    monkeypatch.setattr(forks, "can_fork", lambda: True)
    monkeypatch.setattr(forks, "count_cores", lambda: 2)
    (tmp_path / "scores").symlink_to(tmp_path)
    pools = [replace(stored, score_run=f"run{n}") for n in range(2 * LEAST_GROUPS)]
    folders = {one.score_run: tmp_path if n != 2 else tmp_path / "missing" for n, one in enumerate(pools)}
    monkeypatch.setattr(tracking, "locate_artifacts", lambda runs: folders)
    judged = list(judge_all(pools, SAMPLING))
    assert "run2" in fetched and len(fetched) == len(pools)
    assert all(one.notes == () and one.candidates[1].robustness_interval for one in judged)


def test_a_single_scored_candidate_has_an_interval_and_no_rise(stored: Pool) -> None:
    judged = judge(replace(stored, scores={"robustness": {10: stored.scores["robustness"][10]}}), SAMPLING)
    assert [candidate.robustness_interval is not None for candidate in judged.candidates] == [False, False, False, True]
    assert judged.notes == ()


def test_a_mode_without_scores_leaves_those_of_the_other(stored: Pool, fetched: list[str]) -> None:
    without, scored = in_both_modes(stored)
    modes = [replace(without, scores={}, score=None), scored]
    alone, other = judge_all(modes, SAMPLING)
    assert fetched == ["run"] and [candidate.robustness_interval for candidate in alone.candidates] == [None] * 4
    assert other == judge(scored, SAMPLING) and all(candidate.robustness_interval for candidate in other.candidates)


def test_distances_that_one_mode_lacks_are_read_for_the_other(stored: Pool, tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, 5).with_suffix(".npz")
    with np.load(path) as file:
        kept = {name: file[name] for name in file if "flat" not in name}
    np.savez(path, **kept)
    decoder, full = judge_all(in_both_modes(stored), SAMPLING)
    assert decoder.notes == () and all(candidate.robustness_interval for candidate in decoder.candidates)
    (note,) = full.notes
    assert "robustness has no interval: expected the per-image distances cosine, level -2, flattened in" in note
    assert all(candidate.robustness_interval is None for candidate in full.candidates)


def test_robustness_has_an_interval_where_distances_are_stored(stored: Pool) -> None:
    judged = judge(stored, SAMPLING)
    for one in judged.candidates:
        assert one.robustness is not None and one.robustness_interval is not None
        assert one.robustness_interval[0] < one.robustness < one.robustness_interval[1]
    assert judged.notes == ()
    first, *later = judged.candidates
    assert first.rise is None
    for before, one in pairwise(judged.candidates):
        assert one.rise and before.robustness is not None and one.robustness is not None
        assert one.rise[0] == pytest.approx(one.robustness - before.robustness)
    assert later


def test_the_interval_of_robustness_is_students_over_the_means_of_the_groups(stored: Pool, tmp_path: Path) -> None:
    """Ten groups of four images."""
    with np.load(checkpoint_path(tmp_path, 1).with_suffix(".npz")) as file:
        gaps = [file[pair_name(side, "cosine", -2, True)].astype(float)[0] for side in ("pos", "neg")]
    scores = 1 - np.maximum(gaps[0] - gaps[1] + 0.5, 0).reshape(10, 4).mean(axis=1)
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert judge(stored, SAMPLING).candidates[1].robustness_interval == pytest.approx(tuple(expected))


@pytest.mark.filterwarnings("error")
def test_a_single_group_has_no_interval_no_error_of_a_rise_and_no_stability(stored: Pool, tmp_path: Path) -> None:
    for path in tmp_path.rglob("*.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **arrays | {GROUPS: np.zeros(40, int)})
    judged = judge(stored, SAMPLING)
    assert judged.notes == ()
    assert [candidate.robustness_interval for candidate in judged.candidates] == [None] * 4
    assert [candidate.rise and candidate.rise[1] for candidate in judged.candidates] == [None] * 4
    assert judged.candidates[1].rise and judged.candidates[1].rise[0] == pytest.approx(stored.robustness[1] - stored.robustness[0])
    assert judged.by_selector["offline"].candidate in {1, 5} and judged.by_selector["offline"].stability is None


@pytest.mark.parametrize(("distance", "lowest"), [("cosine", -1.5), ("pearson", -1.5), ("l2", -math.inf)])
def test_the_interval_of_robustness_is_cut_to_what_is_possible(distance: str, lowest: float) -> None:
    """Cosine distances are from 0 to 2, so that a loss is at most 2.5 with a margin of .5."""
    setting = replace(POOLED, distance=distance)
    losses, groups = np.array([[2.4, 2.0, 2.4, 1.6], [0.1, 0.0, 0.1, 0.4]]), np.array([0, 0, 1, 1])
    drawn = Drawn([1, 5], losses, groups, np.empty((0, 2)), setting.lowest)
    (low, high), (low_of_5, high_of_5) = drawn.intervals(0.95).values()
    means = stats.ttest_1samp([-1.2, -1.0], 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((max(lowest, means.low), means.high))
    assert low_of_5 == pytest.approx(0.85 - stats.t.ppf(0.975, 1) * 0.1) and high_of_5 == 1.0


def test_the_error_of_a_rise_is_that_of_the_means_of_the_groups(stored: Pool, tmp_path: Path) -> None:
    """Ten groups of four images: the standard error of ten means of differences."""
    losses = {}
    for epoch in (1, 5):
        with np.load(checkpoint_path(tmp_path, epoch).with_suffix(".npz")) as file:
            gaps = [file[pair_name(side, "cosine", -2, True)].astype(float)[0] for side in ("pos", "neg")]
        losses[epoch] = np.maximum(gaps[0] - gaps[1] + 0.5, 0)
    expected = stats.sem((losses[1] - losses[5]).reshape(10, 4).mean(axis=1))
    rise = judge(stored, SAMPLING).candidates[2].rise
    assert rise is not None and rise[1] == pytest.approx(expected)


def test_the_stability_of_a_choice_is_told_and_its_tis_is_that_of_the_choice_made(stored: Pool) -> None:
    found = judge(stored, SAMPLING).by_selector
    assert found["offline"].candidate in {1, 5}
    assert found["offline"].interval == found[f"fixed-{found['offline'].candidate}"].interval
    assert 0.5 < (found["offline"].stability or 0) < 1  # images decide between epochs 1 and 5
    assert found["full"].stability is None


def test_distances_that_are_gone_are_named(workplace: Path) -> None:
    with tracking.open_run("score", "s", "cell", {}, {}) as handle:
        pass
    one = pool(score_run=handle.id, score=POOLED)
    analysis = analyse([one], ["something else"], SAMPLING)
    assert analysis.left[0] == "something else"
    assert "unet simple → moon, full: robustness has no interval: expected the artifacts 'scores'" in analysis.left[1]
    assert all(point.robustness_interval is None for point in analysis.judged[0].candidates)


def test_the_cost_of_an_early_stop_is_weighed_against_fixed_lengths() -> None:
    """Online stops at epoch 10 or at 5 and spends that much; between the fixed lengths TIS is interpolated."""
    first, second = pool(), pool(scores={0: 0.9, 1: 0.7, 5: 0.6, 10: 0.8}, name="sun")
    online = summaries(first, second)["online"]
    assert online.mean_epochs == (10 + 5) / 2
    assert online.fixed_at_cost == pytest.approx((0.82 + 0.81) / 2 / 0.82)  # halfway from 5 to 10, on both
    assert online.mean_tis == pytest.approx((0.82 + 0.52) / 2 / 0.82)
    assert online.within_noise == 0.5
    contrast = analyse([first, second], [], SAMPLING).contrast("online", EQUAL_COST.name)
    assert contrast is not None
    assert contrast.difference == pytest.approx(online.mean_tis - online.fixed_at_cost)
    assert (contrast.wins, contrast.losses, contrast.pools) == (1, 1, 2)


def six(scores: Mapping[Any, float] = ROBUSTNESS, **changed: Any) -> list[Pool]:
    """Return pools of six encoders, whose Dice differ a little."""
    pools = []
    for number in range(6):
        dice = {epoch: tuple(value + 0.001 * number for value in values) for epoch, values in DICE.items()}
        one = pool(dice, scores, **changed)
        pools.append(replace(one, fields={**one.fields, "encoder": f"e{number}"}))
    return pools


def test_contrasts_are_tested_over_pretrainings_and_corrected_together() -> None:
    analysis = analyse(six(), [], SAMPLING)
    for one in analysis.contrasts:
        assert one.clusters == 6 and one.p_value is not None and one.p_holm is not None
        assert one.p_value <= one.p_holm <= 1
    assert {one.first for one in analysis.contrasts} == set(CONTRASTED)
    against = analysis.contrast("offline", "full")  # offline takes epoch 0
    assert against is not None
    gaps = [(one.means[0] - one.means[10]) / max(one.means.values()) for one in six()]
    assert against.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)
    assert against.interval == pytest.approx(tuple(stats.ttest_1samp(gaps, 0).confidence_interval(0.95)))
    assert against.outcome == "worse"


def test_offline_and_fixed_lengths_of_its_cost_are_compared_once() -> None:
    """The rule that sees every checkpoint costs as much as the last one, which it is compared with."""
    seconds = [one.second for one in analyse(six(), [], SAMPLING).contrasts if one.first.name == "offline"]
    assert EQUAL_COST not in seconds and len(seconds) == len(set(seconds))


def test_two_configurations_decide_nothing() -> None:
    analysis = analyse([pool(), pool(name="sun")], [], SAMPLING)
    assert all(one.interval is None and one.p_value is None and one.outcome == "undecided" for one in analysis.contrasts)
    assert all(summary.interval is None for summary in analysis.summaries)


def test_a_shared_pretraining_runs_to_the_longest_stop() -> None:
    """Online stops at epoch 10 on one target and at 5 on the other: 7.5 epochs each, but 10 where one pretraining serves both."""
    online = summaries(pool(), pool(scores={0: 0.9, 1: 0.7, 5: 0.6, 10: 0.8}, name="sun"))["online"]
    assert (online.mean_epochs, online.shared_epochs) == (7.5, 10)
    assert online.fixed_at_shared == pytest.approx(0.81 / 0.82)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 10**6))
def test_the_order_of_rows_and_pools_changes_nothing(random: Any, seed: int) -> None:
    def shuffled(values: Mapping[Any, float]) -> dict[Any, float]:
        items = list(values.items())
        random.shuffle(items)
        return dict(items)

    pools = [pool(name="moon"), pool(scores={0: 0.9, 1: 0.7, 5: 0.6, 10: 0.8}, name="sun")]
    before = analyse(pools, [], Sampling(100, 0.9, seed, 0.01, 0.1))
    mixed = [replace(p, outcome=shuffled(p.outcome), scores={"robustness": shuffled(p.robustness)}) for p in pools]
    after = analyse(mixed[::-1], [], Sampling(100, 0.9, seed, 0.01, 0.1))
    assert before.summaries == after.summaries
    assert before.contrasts == after.contrasts
    assert before.judged == after.judged[::-1]


ENCODERS = {"convnext": (0.50, 0.52, 0.54), "swin": (0.84, 0.80, 0.82), "vit": (0.79, 0.83, 0.81)}
LIKED = {"convnext": 0.5, "swin": 0.6, "vit": 0.7}


def test_a_pool_of_different_encoders_is_judged_without_epochs() -> None:
    judged = judge(pool(ENCODERS, LIKED, fields={"target": "moon", "mode": "full"}), SAMPLING)
    assert judged.name == "3 candidates → moon, full"
    assert judged.reason == ""
    found = judged.by_selector
    tried = {"one-each", "two-seeds"}
    assert found.keys() == {"offline", "random", "oracle", *tried}
    assert (found["offline"].candidate, found["oracle"].candidate, found["random"].candidate) == ("vit", "swin", None)
    assert found["offline"].tis == pytest.approx(0.81 / 0.82)
    assert found["offline"].regret == pytest.approx(0.01)
    assert found["random"].tis == pytest.approx((0.52 + 0.82 + 0.81) / 3 / 0.82)
    assert all(verdict.spent == 0 for verdict in judged.verdicts)
    assert all(verdict.interval for name, verdict in found.items() if name not in {"oracle", *tried})
    assert [candidate.within_noise for candidate in judged.candidates] == [False, True, True]
    assert sum(candidate.p_best or 0 for candidate in judged.candidates) == pytest.approx(1)
    assert judged.candidates[0].p_best == 0


def test_pools_of_encoders_and_series_are_summed_up_together() -> None:
    both = [pool(ENCODERS, LIKED, fields={"target": "sun", "mode": "full"}), pool()]
    found = summaries(*both)
    assert found["offline"].pools == found["random"].pools == 2
    assert found["online"].pools == found["full"].pools == 1
    assert found["offline"].fixed_at_cost is None  # no length of pretraining to compare with in one of them


def test_a_lacking_fine_tuning_of_an_encoder_is_named() -> None:
    fields = {"target": "moon", "mode": "full"}
    lacking = pool({**ENCODERS, "vit": (0.79, 0.81)}, LIKED, fields=fields)
    assert lacking.missing == [
        "3 candidates → moon, full: no finished fine-tuning of vit, seed 2, so seed 2 is left out where candidates are judged"
    ]
    assert lacking.complete and lacking.common_seeds == (0, 1)


def test_means_that_differ_by_rounding_alone_are_tied() -> None:
    """Epochs 0, 1 and 5 have 1.91 / 3, summed in other orders."""
    tied = {0: (0.6, 0.61, 0.7), 1: (0.61, 0.7, 0.6), 5: (0.7, 0.6, 0.61)}
    oracle = judge(pool({**tied, 10: (0.5, 0.5, 0.6)}), SAMPLING).by_selector["oracle"]
    assert (oracle.candidate, oracle.tied, oracle.tis) == (0, (1, 5), 1)
    assert "all checkpoints have the same mean Dice, 0.637" in judge(pool(tied), SAMPLING).reason


def test_a_share_within_noise_is_over_configurations_with_several_seeds() -> None:
    """With a single seed nothing can be distinguished; of the two seeds, epoch 0, which offline takes, is worse than the best."""
    single = pool({epoch: values[:1] for epoch, values in DICE.items()}, name="sun")
    found = summaries(pool(), single)["offline"]
    assert (found.pools, found.within_noise) == (2, 0)
    assert summaries(single)["offline"].within_noise is None
