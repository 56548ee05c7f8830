"""Own and replayed results are read and joined by key; what cannot be judged is said, and what is missing is named."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from medtransfer import study
from medtransfer.analysis.judge import unjudged
from medtransfer.analysis.pools import Pool, collect
from medtransfer.errors import InputError
from medtransfer.search import results
from medtransfer.search.evaluate import Setting
from medtransfer.search.results import read_results

if TYPE_CHECKING:
    from medtransfer.config import Params


def test_one_target_can_only_be_judged_in_sample(lab: Any):
    lab.add_dice("moon")
    lab.add_dice("moon", mode="decoder")
    lab.add_scores("moon", lab.chosen["moon"])
    text = lab.search()
    assert "With one target only (moon) nothing can be held out" in text
    assert {row["study"] for row in lab.rows()} == {"search"}
    (parent,), _ = lab.family()
    assert parent.metrics["tis_in_sample"] == 1.0
    assert not {"tis_held_out", "optimism"} & parent.metrics.keys()


def test_settings_that_are_all_alike_have_no_plots(lab: Any):
    lab.add_dice("moon")
    lab.add_scores("moon", dict.fromkeys(lab.pairs, 5))
    assert "There are no plots: all trials have the same TIS" in lab.search(trials=4)
    assert not list(Path("search").glob("*.png"))


def test_what_cannot_be_judged_is_said(planted: Any):
    planted.add_dice("comet")
    text = planted.search(trials=2)
    assert "- unet simple → comet, full: left out, no score of epochs 1, 5, 10" in text


def moon(lab: Any, **changed: Any) -> None:
    """Plant one configuration with its scores."""
    lab.add_dice("moon", dice=changed.pop("dice", lab.dice))
    lab.add_scores("moon", {}, **changed)


@pytest.mark.parametrize(
    ("plant", "changed", "said"),
    [
        (lambda lab: None, {}, "expected finished fine-tunings in the tracking store, but there are none"),
        (lambda lab: lab.add_dice("moon"), {}, "none of 1 has them .*no score of epochs 1, 5, 10.*medtransfer score"),
        (lambda lab: moon(lab, dice={5: 0.4, 10: 0.4}), {}, "none of 1 has them .*incomplete"),
        (lambda lab: moon(lab, without=5), {}, "epoch 5, .* scores/epoch-005.npz .* --force"),
        (moon, {"distances": ["pearson"]}, "there are the distances cosine, l2 and"),
        (moon, {"levels": [-3]}, "the levels -1, -2;"),
        (moon, {"storage": "none://x"}, "expected an Optuna storage at none://x"),
    ],
)
def test_inputs_that_cannot_be_searched_on_are_named(lab: Any, plant: Callable[[Any], None], changed: Any, said: str):
    plant(lab)
    with pytest.raises(InputError, match=said):
        lab.search(**changed)


def released(lab: Any, target: str, chosen: Mapping[tuple[str, int], int]) -> tuple[Pool, list[dict[str, Any]]]:
    """Make a replayed configuration and its scores, epoch 0 left out as a copy."""
    fields = {"source": "imagenet", "origin": "simple", "encoder": "unet", "target": target, "mode": "full"}
    dice = {(epoch, seed): value for epoch, value in lab.dice.items() for seed in (1, 2)}
    scores = dict.fromkeys((1, 5, 10), 0.5)
    configuration = Pool(fields, {"data": target}, dice, {"robustness": scores}, tuple(lab.dice), every_seed=True)
    lines = [
        {
            "encoder": "unet", "origin": "simple", "target": target, "distance": distance, "level": level, "pooled": pooled,
            "margin": margin, "epoch": epoch, "robustness": 0.9 if chosen.get((distance, level), 1) == epoch else 0.1,
        }
        for distance, level in lab.pairs for pooled in (False, True) for margin in (0.0, 0.25, 0.5, 1.0) for epoch in (1, 5, 10)
    ]  # fmt: skip
    return configuration, lines


def test_replayed_results_are_searched_on_their_grid(lab: Any, monkeypatch: pytest.MonkeyPatch):
    made = [released(lab, target, chosen) for target, chosen in lab.chosen.items()]
    table = pd.DataFrame([line for _, lines in made for line in lines])
    monkeypatch.setattr(results, "read_released", lambda: None)
    monkeypatch.setattr(results, "replayed_configurations", lambda _: [configuration for configuration, _ in made])
    monkeypatch.setattr(results, "replayed_scores", lambda _: table)
    text = lab.search(results="replay", distances=["cosine", "l2", "euclidean"], poolings=["frozen"], margin=[0.0, 0.6], trials=12)
    assert "- The scores hold no distance euclidean: left out of the space." in text
    whole = lab.rows("search")
    assert {row["margin"] for row in whole} == {"0.0", "0.25", "0.5"}
    assert len({tuple(row.items())[2:6] for row in whole}) == 12, "the whole grid was tried"
    (parent,), _ = lab.family()
    assert parent.metrics["tis_in_sample"] == pytest.approx(0.8)
    assert parent.metrics["tis_held_out"] == pytest.approx(1.6 / 3)
    assert parent.metrics["tis_default"] == pytest.approx(0.4)  # nothing is chosen by it but epoch 1


@pytest.mark.slow
def test_a_real_study_is_searched(workplace: Path, tiny_params: "Callable[[dict[str, Any]], Params]"):
    """The stages themselves fill the store; robustness at the default setting chooses as the report says."""
    params = tiny_params({"search.trials": 20, "study.modes": ["full", "decoder"], "study.seeds": [7]})
    study.score(params)
    study.finetune(params, study.study_cells(params, {}))
    text = study.search(params)
    assert "With one target only (sample) nothing can be held out" in text
    setting = {"distance": "cosine", "margin": 0.5, "level": -2}
    default = Setting(**setting, pooling="frozen")
    judged = [one for one in collect(setting, "frozen")[0] if not unjudged(one)]
    for case, one in zip(read_results(params.search, setting, default).cases, judged, strict=True):
        curves = case.scores[default.key(case.mode)]
        assert {epoch: curve.robustness(0.5) for epoch, curve in curves.items()} == pytest.approx(one.robustness, abs=1e-12)
