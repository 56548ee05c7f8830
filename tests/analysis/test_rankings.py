"""How often pruning by the rankings of a store loses the winner, by hand."""

from pathlib import Path

import pytest
from tests.evidence.rows import row, weights

from medtransfer import tracking
from medtransfer.analysis.rankings import pruned_so_far
from medtransfer.hashing import digest

NAMES = "abcd"


def add_ranking(target: str, values: dict[str, float], stride: int = 8, mode: str = "full", name: str = "logme") -> None:
    """Write the run of each candidate, those of a later call as newer ones."""
    shared = {"target": target, "data": digest(target), "mode": mode, "images": 20, "stride": stride}
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


def test_values_on_other_grids_are_other_rankings(workplace: Path) -> None:
    """Of the same candidates the newest value counts; those at another stride lose the winner."""
    add_ranking("moon", dict(zip(NAMES, (1.0, 2.0, 3.0, 4.0), strict=True)))
    add_ranking("moon", dict(zip(NAMES, (4.0, 2.0, 3.0, 1.0), strict=True)))
    add_ranking("moon", dict(zip(NAMES, (1.5, 2.0, 3.0, 4.0), strict=True)), stride=4)
    found = pruned_so_far("logme", 3, 0.1, outcomes("moon", (0.8, 0.2, 0.6, 0.4)), 0.95)
    assert found is not None and (found.pools, found.lost) == (2, 1)
