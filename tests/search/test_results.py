"""Own results are read and joined by key; what cannot be judged is said, and what is missing is named."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medtransfer import study
from medtransfer.analysis.judge import unjudged
from medtransfer.analysis.pools import collect
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.results import read_own

if TYPE_CHECKING:
    from medtransfer.config import Params


def test_one_target_can_only_be_judged_in_sample(lab: Any, no_pictures: None):
    lab.add_dice("moon")
    lab.add_dice("moon", mode="decoder")
    lab.add_scores("moon", lab.chosen["moon"])
    text = lab.search()
    assert "With one target only (moon) nothing can be held out" in text
    assert "search-without" not in text
    (parent,), _ = lab.family()
    assert parent.metrics["tis_in_sample"] == 1.0
    assert not {"tis_held_out", "optimism"} & parent.metrics.keys()


def test_settings_that_are_all_alike_have_no_plots(lab: Any):
    lab.add_dice("moon")
    lab.add_scores("moon", dict.fromkeys(lab.pairs, 5))
    assert "There are no plots: all settings have the same TIS" in lab.search()
    assert not list(Path("search").glob("*.png"))


def test_what_cannot_be_judged_is_said(planted: Any):
    planted.add_dice("comet")
    text = planted.search(levels=[-1], margins={"low": 0.5, "high": 0.5, "step": 1}, poolings=["frozen"])
    assert "- unet simple → comet, full: left out, no score of epochs 1, 5, 10" in text


def moon(lab: Any, **changed: Any) -> None:
    """Plant one configuration with its scores."""
    lab.add_dice("moon", dice=changed.pop("dice", lab.dice))
    lab.add_scores("moon", {}, **changed)


@pytest.mark.parametrize(
    ("plant", "changed", "message"),
    [
        (lambda lab: None, {}, "expected finished fine-tunings in the tracking store sqlite:"),
        (lambda lab: lab.add_dice("moon"), {}, "none of 1 has them .*no score of epochs 1, 5, 10.*`medtransfer grid`$"),
        (lambda lab: moon(lab, dice={5: 0.4, 10: 0.4}), {}, "none of 1 has them .*incomplete"),
        (
            lambda lab: moon(lab, dice={0: 0.01, 1: 0.02, 5: 0.1, 10: 0.05}),
            {},
            "no model learned: the best mean Dice is 0.100.*the labels.$",
        ),
        (lambda lab: moon(lab, without=5), {}, "epoch 5, .* scores/epoch-005.npz .* --force"),
        (moon, {"distances": ["pearson"]}, "there are the distances cosine, l2 and"),
        (moon, {"levels": [-3]}, "the levels -1, -2;"),
    ],
)
def test_inputs_that_cannot_be_searched_on_are_named(lab: Any, plant: Callable[[Any], None], changed: Any, message: str):
    plant(lab)
    with pytest.raises(InputError, match=message):
        lab.search(**changed)


@pytest.mark.slow
def test_a_real_study_is_searched(workplace: Path, no_pictures: None, tiny_params: "Callable[[dict[str, Any]], Params]"):
    """The stages themselves fill the store; robustness at the default setting chooses as the report says."""
    params = tiny_params({"search.margins": {"low": 0.0, "high": 1.0, "step": 0.1}, "study.seeds": [7], "report.least": 0})
    study.score(params)
    study.finetune(params, study.study_cells(params, {}))
    text = study.search(params)
    assert "With one target only (sample) nothing can be held out" in text and "section `study`" not in text
    more = tiny_params({"search.margins": {"low": 0.0, "high": 1.0, "step": 0.1}, "study.seeds": [7, 8], "report.least": 0})
    cells = study.study_cells(more, {})
    assert f"- {len(cells) // 2} of the {len(cells)} fine-tunings that the section `study` plans are not in the" in study.search(
        more
    )
    assert "section `study`" not in study.search(more, everything=True)
    default = RobustnessSetting("cosine", 0.5, -2, "frozen")
    pairs = set(product(params.search.distances, params.search.levels))
    judged = [configuration for configuration in collect(default)[0] if not unjudged(configuration, params.report.least)]
    for case, configuration in zip(read_own(default, pairs).cases, judged, strict=True):
        curves = case.scores[default.key(case.mode)]
        at_default = {epoch: curve.robustness(np.array([0.5]))[0] for epoch, curve in curves.items()}
        assert at_default == pytest.approx(dict(configuration.robustness), abs=1e-12)
