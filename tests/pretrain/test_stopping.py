"""Online early stopping: the rule by itself, in a pretraining, across interruptions, and against the scores."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from medtransfer import study, tracking
from medtransfer.config import Params, Pretrain
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.pretrain import stage
from medtransfer.pretrain.origins import ORIGINS
from medtransfer.pretrain.origins.weights_file import WeightsFile
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.trainer import Trainer
from medtransfer.records import find_checkpoint, list_checkpoints
from medtransfer.selectors.rules import RULES, Choice, FirstDrop, Rule
from medtransfer.training.checkpoints import load_encoder

FOLDER = Path("checkpoints/unet-simple")
FALLING = {0: 0.9, 1: 0.5, 2: 0.4, 3: 0.8}
RISING = {0: 0.9, 1: 0.1, 2: 0.2, 3: 0.3}
STOPPING = {name: rule for name, rule in RULES.items() if rule.needs_epochs}


@pytest.fixture(scope="module")
def finished(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Return the folder of a pretraining that nothing stopped."""
    return shared_workplace / study.pretrain(tiny_params())


@pytest.fixture(scope="module")
def epoch_of(finished: Path) -> dict[str, int]:
    """Return the epoch of every encoder by its hash: the same seed gives the same bits in every pretraining below."""
    return {state_hash(load_encoder(*find_checkpoint(finished, epoch))): epoch for epoch in list_checkpoints(finished)}


@pytest.fixture
def stopper(epoch_of: dict[str, int]) -> Callable[..., Stopper]:
    """Return a maker of stoppers whose robustness is given by epoch; `seen` of its measure lists what was measured."""

    def make(
        values: Mapping[int, float], identity: str = "fake", seen: list[int] | None = None,
        rule: type[Rule[int]] = FirstDrop,
    ) -> Stopper:  # fmt: skip
        def measure(encoder: Encoder, contract: Mapping[str, Any]) -> float:
            epoch = epoch_of[state_hash(encoder)]
            if seen is not None:
                seen.append(epoch)
            return values[epoch]

        return Stopper("moon", identity, measure, "robustness", True, rule)

    return make


def weights(folder: Path = FOLDER) -> dict[int, str]:
    return {epoch: info.weights for epoch, info in list_checkpoints(folder).items()}


def newest() -> tracking.StoredRun:
    return tracking.read_runs("pretrain")[0]


def interrupted(params: Params, stopper: Stopper | None, at: int) -> None:
    """Pretrain and be interrupted after the numbers of an epoch were logged, before the epoch counts as done."""
    log = tracking.Run.log_metrics

    def log_and_raise(run: tracking.Run, metrics: Mapping[str, float], step: int = 0) -> None:
        log(run, metrics, step)
        if step == at:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracking.Run, "log_metrics", log_and_raise)
        stage.run(params.pretrain, stopper)


def test_a_rule_stops_at_the_first_fall_is_reused_and_left_out(workplace, finished, tiny_params, stopper, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    section = tiny_params().pretrain
    stage.run(section, stopper(FALLING))
    assert weights() == {epoch: sha for epoch, sha in weights(finished).items() if epoch <= 2}
    assert newest().tags["saved"] == "0 1 2"
    assert newest().tags["stopped"] == (
        "stopped after epoch 2, whose robustness 0.4000 did not rise; the online rule keeps epoch 1 (robustness 0.5000 on moon)"
        ", which spared 1 of 3 epochs"
    )
    assert newest().tags["stopped"] in caplog.text
    assert tracking.read_curve(newest().id, "robustness") == {0: 0.9, 1: 0.5, 2: 0.4}
    stage.run(section, stopper(FALLING))
    assert len(tracking.read_runs("pretrain")) == 1
    stage.run(section, None)
    assert weights() == weights(finished)
    assert newest().tags["stopped"] == "reached the last epoch, 3"
    assert sorted(tracking.read_curve(newest().id, "train_loss")) == [1, 2, 3]
    assert tracking.read_curve(newest().id, "robustness") == {}
    stage.run(section, stopper(FALLING))
    assert len(tracking.read_runs("pretrain")) == 2


def test_a_rise_to_the_end_trains_to_the_end_whatever_another_target_said(workplace, finished, tiny_params, stopper):
    section = tiny_params().pretrain
    stage.run(section, stopper(FALLING, "moon"))
    stage.run(section, stopper(RISING, "sun"))
    assert weights() == weights(finished)
    assert newest().tags["stopped"] == (
        "the robustness on moon rose to the end; the online rule keeps epoch 3 (robustness 0.3000 on moon)"
    )
    assert tracking.read_curve(newest().id, "robustness") == RISING


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupted_rule_decides_the_same(workplace, tiny_params, stopper, at):
    section = tiny_params()
    interrupted(section, stopper(FALLING), at)
    stage.run(section.pretrain, stopper(FALLING))
    assert set(weights()) == {0, 1, 2}
    assert tracking.read_curve(newest().id, "robustness") == {0: 0.9, 1: 0.5, 2: 0.4}
    assert len(tracking.read_runs("pretrain")) == 1


def test_a_rule_that_comes_later_sees_the_earlier_checkpoints(workplace, tiny_params, stopper):
    params, seen = tiny_params(), list[int]()
    interrupted(params, None, at=2)
    stage.run(params.pretrain, stopper(FALLING, seen=seen))
    assert seen == [0, 1, 2]
    assert newest().tags["saved"] == "0 1 2"


def test_a_rule_observes_a_complete_pretraining(workplace, tiny_params, stopper, tmp_path):
    section = tiny_params().pretrain
    stage.run(section, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train", lambda *_: pytest.fail("trained again"))
        stage.run(section, stopper(FALLING))
    assert newest().tags["stopped"].startswith("stopped after epoch 2")
    assert set(weights()) == {0, 1, 2, 3}
    stage.run(section, stopper(FALLING), force=True)
    tracking.fetch_artifacts(newest().id, "checkpoints", tmp_path / "fetched")
    assert set(weights(tmp_path / "fetched" / "checkpoints")) == {0, 1, 2}


@pytest.mark.parametrize(
    ("mode", "metric"), [("full", "robustness"), pytest.param("decoder", "robustness_pooled", marks=pytest.mark.slow)]
)
def test_stop_on_measures_what_score_measures(workplace, tiny_params, mode, metric):
    params = tiny_params({"pretrain.stop_on": "sample", "finetune.mode": mode, "pretrain.epochs": 2})
    study.pretrain(params)
    measured = tracking.read_curve(newest().id, "robustness")
    study.score(params)
    scored = tracking.read_curve(tracking.read_runs("score")[0].id, metric)
    assert measured == pytest.approx(scored, rel=1e-6)  # weights lie channels last in training, which rounds otherwise
    assert len(measured) >= 3


def test_any_kind_of_origin_that_trains_may_stop_early(workplace, tiny_params, monkeypatch):
    """It names the input contract of its encoder, by which the target's images are normalised."""
    measured = []

    class Trained(WeightsFile):
        trains = True

        def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
            encoder = build_encoder("unet", width=4, depth=3)
            initialise(encoder, 1)
            measured.extend(stopper.measure(encoder, {"mean": [mean] * 3, "std": [0.25] * 3}) for mean in (0.5, 0.5, 0.1))
            return Path("checkpoints")

    monkeypatch.setitem(ORIGINS, "file", Trained())
    entry = {
        "kind": "file",
        "weights": "no.pth",
        "epoch": 1,
        "source": "none",
        "pickle": False,
        "allow_partial": False,
        "prefix": None,
        "input": None,
    }
    study.pretrain(tiny_params({"pretrain.stop_on": "sample", "pretrain.origins.simple": entry}))
    assert measured[0] == measured[1] != measured[2]


def test_the_rule_by_hand():
    rule = Stopper("moon", "fake", lambda *_: 0.0, "robustness", True, FirstDrop)
    assert rule.explain() == "no checkpoint was measured on moon"
    assert rule.observe(0, 0.9)  # takes no part
    assert rule.explain() == "no checkpoint was measured on moon"
    assert [rule.observe(epoch, value) for epoch, value in ((1, 0.1), (5, 0.2), (20, 0.2))] == [True, True, False]
    assert "keeps epoch 5" in rule.explain()
    rule = Stopper("moon", "fake", lambda *_: 0.0, "energy", False, FirstDrop)
    assert rule.observe(1, 0.5) and rule.observe(5, 0.4)
    assert rule.explain() == "the energy on moon fell to the end; the online rule keeps epoch 5 (energy 0.4000 on moon)"
    assert not rule.observe(20, 0.6)
    assert rule.explain().startswith("stopped after epoch 20, whose energy 0.6000 did not fall")


class TwoFailures(FirstDrop):
    """Stops at the second checkpoint in a row that is not better than the best, which it keeps."""

    title = "the patient rule"

    def __init__(self) -> None:
        self.scores: dict[int, float] = {}

    def observe(self, candidate: int, score: float) -> bool:
        self.scores[candidate] = score
        return self.choice.stopped_at is None

    @property
    def choice(self) -> Choice[int]:
        best = max(self.scores, key=self.scores.__getitem__)
        waited = [epoch for epoch in self.scores if epoch > best]
        return Choice(best, stopped_at=waited[1] if len(waited) > 1 else None)


@pytest.mark.parametrize("curve", [FALLING, RISING, {0: 0.1, 1: 0.5, 2: 0.5}, {1: 0.2, 5: 0.4, 20: 0.7, 50: 0.6, 100: 0.9}])
@pytest.mark.parametrize("rule", STOPPING.values(), ids=STOPPING)
def test_every_rule_decides_while_running_as_over_stored_scores(rule: type[Rule[int]], curve: dict[int, float]):
    choice = rule.choose(curve)
    stopper = Stopper("moon", "fake", lambda *_: 0.0, "robustness", True, rule)
    seen = next((epoch for epoch, score in curve.items() if not stopper.observe(epoch, score)), None)
    assert (seen, stopper.rule.choice) == (choice.stopped_at, choice)
    end = f"{rule.title} keeps epoch {choice.candidate} (robustness {curve[choice.candidate]:.4f} on moon)"
    assert stopper.explain().endswith(end)
    assert stopper.explain().startswith("the robustness" if seen is None else f"stopped after epoch {seen}, whose")


def test_the_sentence_claims_only_what_was_seen():
    rule = Stopper("moon", "fake", lambda *_: 0.0, "robustness", True, TwoFailures)
    assert rule.observe(1, 0.5) and rule.observe(2, 0.3)
    kept = "the patient rule keeps epoch 1 (robustness 0.5000 on moon)"
    assert rule.explain() == f"the robustness on moon stopped nothing; {kept}"
    assert not rule.observe(3, 0.4)
    assert rule.explain() == f"stopped after epoch 3 (robustness 0.4000); {kept}"


@pytest.mark.parametrize("rule", STOPPING.values(), ids=STOPPING)
def test_every_rule_stops_a_pretraining(
    workplace: Path, tiny_params: Callable[..., Params], stopper: Callable[..., Stopper], rule: type[Rule[int]]
):
    stage.run(tiny_params().pretrain, stopper(FALLING, rule=rule))
    choice = rule.choose(FALLING)
    assert max(weights()) == choice.stopped_at
    assert f"{rule.title} keeps epoch {choice.candidate} (" in newest().tags["stopped"]


def test_another_rule_is_another_run_and_an_unknown_one_is_refused(workplace: Path, tiny_params: Callable[..., Params]):
    for rule in (*STOPPING, *STOPPING):
        study.pretrain(tiny_params({"pretrain.stop_on": "sample", "pretrain.stop_rule": rule}))
    assert len(tracking.read_runs("pretrain")) == len(STOPPING)
    for rule in ("best", "nonsense"):  # the first never stops
        with pytest.raises(InputError, match=f"expected pretrain.stop_rule out of {', '.join(STOPPING)}, but got '{rule}'"):
            study.pretrain(tiny_params({"pretrain.stop_on": "sample", "pretrain.stop_rule": rule}))
