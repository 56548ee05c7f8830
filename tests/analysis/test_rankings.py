"""How often pruning by the rankings of a store loses the winner, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evidence.rows import row, weights

from medtransfer import tracking
from medtransfer.analysis.rankings import outcomes_of, pruned_so_far
from medtransfer.hashing import digest

NAMES = "abcd"


def add_ranking(target: str, values: dict[str, float], name: str = "logme", **changed: str | int) -> None:
    """Write the run of each candidate, those of a later call as newer ones."""
    shared = {"target": target, "data": digest(target), "mode": "full", "images": 20, "settings": "s", "stride": 8, **changed}
    records = [
        tracking.RunRecord(
            candidate, digest([shared, candidate, value], 16), {**shared, "weights": weights(candidate)}, {name: value}
        )
        for candidate, value in values.items()
    ]  # fmt: skip
    tracking.write_runs("rank", records, "candidates")


def outcomes(target: str, values: tuple[float, ...], **changed: str) -> list:
    return [row(name, target, value, target=target, **changed) for name, value in zip(NAMES, values, strict=False)]


def test_rankings_are_judged_by_what_fine_tuning_gave(workplace: Path) -> None:
    """Two of four stay: on the moon the winner, a, does not; on the sun b does. Mars: nothing learned; venus: two known."""
    add_ranking("moon", dict(zip(NAMES, (1.0, 2.0, 3.0, 4.0), strict=True)))
    for target in ("sun", "mars", "venus"):
        add_ranking(target, dict(zip(NAMES, (1.0, 4.0, 3.0, 2.0), strict=True)))
    evidence = [
        *outcomes("moon", (0.8, 0.2, 0.6, 0.4)), *outcomes("sun", (0.1, 0.5, 0.4, 0.3)), *outcomes("mars", (0.01, 0.02, 0.03)),
        *outcomes("venus", (0.5, 0.6)), *outcomes("venus", (0.5, 0.6, 0.7, 0.8), mode="decoder"),
    ]  # fmt: skip
    found = pruned_so_far("logme", 3, 0.1, evidence, 0.95)
    assert found is not None and (found.pools, found.lost) == (2, 1)
    assert (found.tis, found.worst, found.blind_loss) == (pytest.approx((0.6 / 0.8 + 1) / 2), pytest.approx(0.75), 0.5)
    assert pruned_so_far("ridge", 3, 0.1, evidence, 0.95) is None
    assert pruned_so_far("logme", 3, 0.1, [], 0.95) is None


def test_the_recipe_of_the_parameters_counts_if_no_other_has_more_candidates():
    a, b, c = outcomes("moon", (0.1, 0.2), protocol="a"), outcomes("moon", (0.3, 0.4), protocol="b"), outcomes("moon", (0.5,) * 3)
    weights, data, mode, metric = [one.weights for one in c], c[0].data, c[0].mode, c[0].metric
    means, seeds, protocol = outcomes_of(weights, data, mode, metric, [*a, *b], "b")
    assert (means[:2].tolist(), seeds, protocol) == ([0.3, 0.4], a[0].seeds, "b") and np.isnan(means[2])
    assert outcomes_of(weights, data, mode, metric, [*b, *a])[2] == "a"
    assert outcomes_of(weights, data, mode, metric, [*a, *b, *c], "b")[2] == c[0].protocol
    assert outcomes_of(weights, data, mode, metric, [])[2] == ""


@pytest.mark.parametrize("other", [{"settings": "other"}, {"images": 10}])
def test_values_by_other_settings_are_other_rankings(other: dict[str, str | int], workplace: Path) -> None:
    """Of the same candidates the newest value counts; those by other settings, such as a level, lose the winner."""
    add_ranking("moon", dict(zip(NAMES, (1.0, 2.0, 3.0, 4.0), strict=True)))
    add_ranking("moon", dict(zip(NAMES, (4.0, 2.0, 3.0, 1.0), strict=True)))
    add_ranking("moon", dict(zip(NAMES, (1.5, 2.0, 3.0, 4.0), strict=True)), **other)
    found = pruned_so_far("logme", 3, 0.1, outcomes("moon", (0.8, 0.2, 0.6, 0.4)), 0.95)
    assert found is not None and (found.pools, found.lost) == (2, 1)


@pytest.mark.parametrize("candidates", ["abcd", "abc", "abcde"])
def test_the_same_values_by_other_settings_are_no_second_ranking(candidates: str, workplace: Path) -> None:
    """As where an earlier version, which did not know of settings, measured them, and a later one again; one has no value."""
    values = dict(zip("abcde", (1.0, 2.0, 3.0, 4.0, 5.0), strict=True))
    for settings in ("earlier", "s"):
        add_ranking("moon", {"f": 1.0}, name="ridge", settings=settings)
    add_ranking("moon", {name: values[name] for name in NAMES}, settings="earlier")
    add_ranking("moon", {name: values[name] for name in candidates})
    evidence = outcomes("moon", (0.8, 0.2, 0.6, 0.4))
    found = pruned_so_far("logme", 3, 0.1, evidence, 0.95)
    assert found is not None and (found.pools, found.lost) == (1, 1)
    add_ranking("moon", {name: values[name] for name in NAMES}, images=10)  # the same by chance: of other images
    found = pruned_so_far("logme", 3, 0.1, evidence, 0.95)
    assert found is not None and (found.pools, found.lost) == (2, 2)


def test_candidates_with_levels_of_other_strides_are_of_one_ranking(workplace: Path) -> None:
    """Encoders have other strides at the level -1."""
    add_ranking("moon", {"a": 1.0, "b": 2.0})
    add_ranking("moon", {"c": 3.0, "d": 4.0}, stride=32)
    found = pruned_so_far("logme", 3, 0.1, outcomes("moon", (0.8, 0.2, 0.6, 0.4)), 0.95)
    assert found is not None and (found.pools, found.lost) == (1, 1)


def test_an_auc_near_chance_is_nothing_learned(workplace: Path) -> None:
    """A tenth of the way from .5 to 1 is .55."""
    add_ranking("moon", dict(zip(NAMES, (1.0, 4.0, 3.0, 2.0), strict=True)))
    for best, pools in ((0.54, 0), (0.56, 1)):
        evidence = [replace(one, task="binary", metric="auc") for one in outcomes("moon", (0.5, best, 0.51, 0.52))]
        found = pruned_so_far("logme", 3, 0.1, evidence, 0.95)
        assert (found.pools if found else 0) == pools
