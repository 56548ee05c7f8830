"""Configurations made by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from medtransfer.analysis.pool import Pool
from medtransfer.explain.cases import Case
from medtransfer.explain.quantities import ROBUSTNESS
from medtransfer.tasks import TASKS

MakeCase = Callable[..., Case]


@pytest.fixture(scope="session")
def make_case() -> MakeCase:
    """Return a maker of cases from the Dice of every seed by epoch, and values by (quantity, level) and epoch."""

    def make(
        dice: Mapping[int, tuple[float, ...]], values: Mapping[tuple[str, int], Mapping[int, float]], encoder: str = "unet",
        target: str = "moon", mode: str = "full", **changed: Any,
    ) -> Case:  # fmt: skip
        fields = {"source": "imagenet", "origin": "simple", "encoder": encoder, "target": target, "mode": mode}
        outcome = {(epoch, seed): value for epoch, row in dice.items() for seed, value in enumerate(row)}
        scores = {ROBUSTNESS: dict(values.get((ROBUSTNESS, -2), {}))}
        digests = {"pretraining": f"p-{encoder}", "data": f"d-{target}", "protocol": "q"}
        pool = Pool(fields, digests, outcome, scores, tuple(dice), TASKS["segmentation"].primary)
        return Case(pool, values, **changed)

    return make
