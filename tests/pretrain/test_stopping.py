"""Online early stopping: the rule by itself, in a pretraining, across interruptions, and against the scores."""

import logging
import shutil
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
from medtransfer.encoders.source_head import NoHead, SourceHead
from medtransfer.errors import InputError, StageError
from medtransfer.indicators.robustness.pairs import read_pair
from medtransfer.indicators.robustness.triplet import standard_error, triplet_losses
from medtransfer.pretrain import stage
from medtransfer.pretrain.origins import ORIGINS
from medtransfer.pretrain.origins.weights_file import WeightsFile
from medtransfer.pretrain.stopping import Stopper
from medtransfer.pretrain.trainer import Trainer
from medtransfer.records import checkpoint_path, find_checkpoint, list_checkpoints, read_kept
from medtransfer.score.options import options_of
from medtransfer.selectors.rules import RULES, Choice, Observation, Rule, find_stopping_rule
from medtransfer.selectors.rules.first_drop import FirstDrop
from medtransfer.selectors.rules.least_rise import LeastRise
from medtransfer.selectors.rules.observation import rise
from medtransfer.selectors.rules.walk import Walk
from medtransfer.study import with_values
from medtransfer.study.stopper import stopper_of
from medtransfer.training.checkpoints import load_encoder

pytestmark = pytest.mark.long

FOLDER = Path("checkpoints/unet-simple")
FALLING = {0: 0.9, 1: 0.5, 2: 0.4, 3: 0.8}
RISING = {0: 0.9, 1: 0.1, 2: 0.2, 3: 0.3}
SINKING = {0: 0.9, 1: 0.5, 2: 0.4, 3: 0.3}
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
        def measure(encoder: Encoder, contract: Mapping[str, Any], head: SourceHead | NoHead) -> Observation:
            epoch = epoch_of[state_hash(encoder)]
            if seen is not None:
                seen.append(epoch)
            return Observation(values[epoch], 0.01)

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


def test_the_reason_names_the_best_that_was_not_reached():
    stopper = Stopper("moon", "id", lambda *_: Observation(0.0), "robustness", True, find_stopping_rule("patience-2", "key"))
    assert [stopper.observe(epoch, value) for epoch, value in ((1, 0.9), (2, 0.8), (5, 0.85))] == [True, True, False]
    assert stopper.explain().startswith("stopped after epoch 5, whose robustness 0.8500 did not rise above the 0.9000 of epoch 1; ")


def test_a_rule_stops_at_the_first_fall_is_reused_and_left_out(workplace, finished, tiny_params, stopper, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    section = tiny_params().pretrain
    stage.run(section, stopper(FALLING))
    assert weights() == {epoch: sha for epoch, sha in weights(finished).items() if epoch <= 2}
    assert newest().tags["saved"] == "0 1 2"
    assert newest().tags["stopped"] == (
        "stopped after epoch 2, whose robustness 0.4000 did not rise; the online rule keeps epoch 1 (robustness 0.5000 on moon)"
        "; 1 of 3 epochs were not trained"
    )
    assert newest().tags["stopped"] in caplog.text
    assert caplog.messages[-1].endswith("`medtransfer guard --target moon --encoder unet --origin simple --epoch 1`")
    assert newest().tags["kept"] == "1" and read_kept(FOLDER) == 1
    assert tracking.read_curve(newest().id, "robustness") == {0: 0.9, 1: 0.5, 2: 0.4}
    stage.run(section, stopper(FALLING))
    assert len(tracking.read_runs("pretrain")) == 1
    stage.run(section, None)
    assert weights() == weights(finished)
    assert newest().tags["stopped"] == "reached the last epoch, 3" and read_kept(FOLDER) is None
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


@pytest.mark.parametrize("rule", ["patience-1", *(pytest.param(rule, marks=pytest.mark.slow) for rule in STOPPING)])
def test_an_interrupted_pretraining_of_any_rule_stops_as_one_without_interruption(
    workplace, tiny_params, stopper, monkeypatch, rule
):
    kind, params = find_stopping_rule(rule, "a rule"), tiny_params()
    stage.run(params.pretrain, stopper(SINKING, rule=kind))
    whole = newest().tags["stopped"], weights(), tracking.read_curve(newest().id, "robustness")
    shutil.rmtree("checkpoints")
    interrupted(params, stopper(SINKING, "again", rule=kind), 2)
    stage.run(params.pretrain, stopper(SINKING, "again", rule=kind))
    assert (newest().tags["stopped"], weights(), tracking.read_curve(newest().id, "robustness")) == whole


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


@pytest.mark.slow
def test_an_interrupted_pretraining_measures_the_same_bits(workplace, tiny_params):
    """The scores of saved checkpoints, from which the rule decides again, are those of the models in training."""
    params = tiny_params({"pretrain.stop_on": "sample", "pretrain.stop_rule": "least-rise-0.5"})
    study.prepare(params)
    interrupted(params, stopper_of(params), 1)
    study.pretrain(params)
    resumed = newest().tags["stopped"], tracking.read_curve(newest().id, "robustness")
    study.pretrain(params, force=True)
    assert (newest().tags["stopped"], tracking.read_curve(newest().id, "robustness")) == resumed
    assert len(resumed[1]) >= 3


def test_the_error_of_a_rise_is_that_of_the_report(workplace, tiny_params):
    """Paired over the patients of the target, from the distances of the images."""
    params = tiny_params({"pretrain.stop_on": "sample", "pretrain.stop_rule": "least-rise-1", "pretrain.epochs": 2})
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LeastRise, "observe", lambda self, epoch, observation: seen.setdefault(epoch, observation) is not None)
        patch.setattr(LeastRise, "choice", property(lambda self: Choice(1)))
        study.pretrain(params)
    scores = study.score(params)
    setting = options_of(params.score).robustness
    losses = []
    for epoch in (1, 2):
        d_pos, d_neg, groups = read_pair(checkpoint_path(scores, epoch).with_suffix(".npz"), *setting.key("full"))
        losses.append(triplet_losses(d_pos, d_neg, setting.margin))
    gain = losses[0] - losses[1]
    assert rise(seen[1], seen[2]) == pytest.approx((gain.mean(), standard_error(gain, groups)), rel=1e-4)
    assert seen[1].error == pytest.approx(standard_error(losses[0], groups), rel=1e-4)


def test_a_rule_that_needs_errors_asks_for_them_before_the_training(workplace, tiny_params):
    params = tiny_params({"pretrain.stop_on": "sample", "pretrain.stop_by": "logme", "pretrain.stop_rule": "least-rise-1"})
    with pytest.raises(StageError, match="standard error of logme on sample for pretrain.stop_rule least-rise-1.*score.blocks"):
        study.pretrain(params)
    assert set(weights()) == {0}
    study.pretrain(with_values(params, "score", blocks=3))
    assert newest().tags["stopped"].count("logme") == 2


def test_any_kind_of_origin_that_trains_may_stop_early(workplace, tiny_params, monkeypatch):
    """It names the input contract of its encoder, by which the target's images are normalised."""
    measured = []

    class Trained(WeightsFile):
        trains = True

        def run(self, section: Pretrain, stopper: Stopper | None, force: bool) -> Path:
            encoder = build_encoder("unet", width=4, depth=3)
            initialise(encoder, 1)
            contracts = [{"mean": [mean] * 3, "std": [0.25] * 3} for mean in (0.5, 0.5, 0.1)]
            measured.extend(stopper.measure(encoder, contract, NoHead("none")) for contract in contracts)
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


class TwoFailures(Walk):
    """Stops at the second checkpoint in a row that is not better than the best, which it keeps."""

    title = "the patient rule"

    def stops(self) -> bool:
        return len(self.scores) - self.keeps() > 2

    def keeps(self) -> int:
        return self.scores.index(max(self.scores))


@pytest.mark.parametrize("curve", [FALLING, RISING, {0: 0.1, 1: 0.5, 2: 0.5}, {1: 0.2, 5: 0.4, 20: 0.7, 50: 0.6, 100: 0.9}])
@pytest.mark.parametrize("rule", STOPPING.values(), ids=STOPPING)
def test_every_rule_decides_while_running_as_over_stored_scores(rule: type[Rule[int]], curve: dict[int, float]):
    choice = rule.choose({epoch: Observation(score, 0.01, 0.3) for epoch, score in curve.items()})
    stopper = Stopper("moon", "fake", lambda *_: 0.0, "robustness", True, rule)
    seen = next((epoch for epoch, score in curve.items() if not stopper.observe(epoch, Observation(score, 0.01), 0.3)), None)
    assert (seen, stopper.rule.choice) == (choice.stopped_at, choice)
    end = f"{rule.title} keeps epoch {choice.candidate} (robustness {curve[choice.candidate]:.4f} on moon)"
    assert stopper.explain().endswith(end)
    assert stopper.explain().startswith("the robustness" if seen is None else f"stopped after epoch {seen}, whose")


def test_a_rule_sees_errors_and_accuracy_and_lower_values_may_be_better():
    """The rise of .02 is below the two standard errors of the first pair, .028, and above those of replicates that agree."""
    rule = find_stopping_rule("least-rise-2", "a rule")
    for replicates, stopped in (([], True), ([[-0.5, -0.51], [-0.52, -0.53]], False)):
        stopper = Stopper("moon", "fake", lambda *_: 0.0, "energy", False, rule)
        pair = [Observation(-value, 0.01, None, left) for value, left in zip((0.5, 0.52), replicates or ([], []), strict=True)]
        assert stopper.observe(1, pair[0]) and stopper.observe(2, pair[1]) is not stopped
    stopper = Stopper("moon", "fake", lambda *_: 0.0, "robustness", True, RULES["with-accuracy"])
    assert [stopper.observe(*seen) for seen in ((1, 0.5, 0.1), (2, 0.4, 0.3), (3, 0.3, 0.31))] == [True, True, False]


def test_the_sentence_claims_only_what_was_seen():
    rule = Stopper("moon", "fake", lambda *_: 0.0, "robustness", True, TwoFailures)
    assert rule.observe(1, 0.5) and rule.observe(2, 0.3)
    kept = "the patient rule keeps epoch 1 (robustness 0.5000 on moon)"
    assert rule.explain() == f"the robustness on moon stopped nothing; {kept}"
    assert not rule.observe(3, 0.4)
    said = "stopped after epoch 3, whose robustness 0.4000 did not rise above the 0.5000 of epoch 1"
    assert rule.explain() == f"{said}; {kept}"


@pytest.mark.parametrize("rule", STOPPING.values(), ids=STOPPING)
def test_every_rule_stops_a_pretraining(
    workplace: Path, tiny_params: Callable[..., Params], stopper: Callable[..., Stopper], rule: type[Rule[int]]
):
    stage.run(tiny_params().pretrain, stopper(SINKING, rule=rule))
    accuracies = tracking.read_curve(newest().id, "source_accuracy")
    seen = {epoch: Observation(value, 0.01, accuracies.get(epoch, 1.0)) for epoch, value in SINKING.items()}
    choice = rule.choose(seen)
    assert max(weights()) == (choice.stopped_at or 3)
    assert f"{rule.title} keeps epoch {choice.candidate} (" in newest().tags["stopped"]


def test_another_rule_is_another_run_and_an_unknown_one_is_refused(workplace: Path, tiny_params: Callable[..., Params]):
    for rule in 2 * ("keep-stop", "patience-1", "patience-2"):
        study.pretrain(tiny_params({"pretrain.stop_on": "sample", "pretrain.stop_rule": rule}))
    assert len(tracking.read_runs("pretrain")) == 3
    for rule in ("best", "nonsense"):  # the first never stops
        with pytest.raises(InputError, match=f"expected pretrain.stop_rule out of {', '.join(STOPPING)}, but got '{rule}'"):
            study.pretrain(tiny_params({"pretrain.stop_on": "sample", "pretrain.stop_rule": rule}))
