"""Which results of a store a pool is made of: the described study, usable scores, and test patients, by hand."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.report.test_report import CELL, DICE, FLAT, POOLED, add_dice, add_scores

from medtransfer import progress, tracking
from medtransfer.analysis import patients as patients_of
from medtransfer.analysis.described import Described
from medtransfer.analysis.judge import judge
from medtransfer.analysis.model import Sampling
from medtransfer.analysis.patients import by_patient, resample_patients
from medtransfer.analysis.pools import _preferred, collect
from medtransfer.analysis.summary import analyse
from medtransfer.errors import InputError
from medtransfer.hashing import canonical_json, digest
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.report.data_notes import facts
from medtransfer.report.verdict_text import weaknesses

SETTING = RobustnessSetting("cosine", 0.5, -2, "frozen")
SAMPLING = Sampling(draws=3000, confidence=0.95, seed=0, margin=0.01, least=0.1)


@pytest.mark.parametrize(
    ("described", "differing"),
    [
        (Described("prot1"), ()),
        (Described("prot1", {"moon": "data1"}, {("unet", "simple"): "pre1"}), ()),
        (Described("prot2"), ("protocol",)),
        (Described("prot1", {"moon": "data2", "sun": "data1"}, {("unet", "simple"): "pre2"}), ("data", "pretraining")),
        (Described("prot1", names={"target": ["sun"], "encoder": ["unet"]}), ("target",)),
        (Described("prot1", {"sun": "other"}, {("unet", "advanced"): "other"}), ()),  # unknown: not compared
    ],
)
def test_results_differ_in_the_digests_that_are_known(described: Described, differing: tuple[str, ...]) -> None:
    assert described.differing(CELL) == differing


def test_only_the_described_study_is_judged_and_the_rest_is_counted(workplace: Path) -> None:
    add_dice()
    add_dice(dict.fromkeys(DICE, (0.9, 0.9)), protocol="prot2")
    pools, left = collect(SETTING, described=Described("prot1"))
    assert [pool.digests["protocol"] for pool in pools] == ["prot1"]
    assert left == [
        "8 fine-tunings are not of the study that the parameters describe: they differ in protocol; "
        "--all of `report` and `search` takes them too"
    ]
    both, left = collect(SETTING)
    assert (len(both), left) == (2, [])


def test_the_settings_in_which_other_fine_tunings_differ_are_named(workplace: Path) -> None:
    recipe = {"lr": "0.05", "power": "0.9", "batch_size": "8", "clip_grad": "None", "ema_decay": "None"}
    add_dice(**recipe)
    add_dice(protocol="prot2", **{**recipe, "lr": "0.02"})
    add_dice(protocol="prot3", **dict.fromkeys(recipe, "1"))
    known = {**{name: (value, value) for name, value in recipe.items()}, "optimiser": ("adamw", "sgd")}
    _, (left,) = collect(SETTING, described=Described("prot1", names={"target": ["moon"]}, recipe=known))
    assert "16 fine-tunings" in left and "they differ in protocol (finetune." in left
    assert "finetune.lr 0.02 instead of 0.05, finetune.optimiser sgd instead of adamw" in left  # which a run without it had
    assert "finetune.lr 1 instead of 0.05, finetune.power 1 instead of 0.9, finetune.batch_size 1 instead of 8, 3 more" in left


def test_a_fine_tuning_without_a_finite_outcome_is_left_out_and_named(workplace: Path) -> None:
    add_dice({**DICE, 5: (0.80, math.nan)})
    ((pool,), (left,)) = collect(SETTING)
    assert left.startswith("1 fine-tuning is without a finite value of the primary metric (run ")
    assert left.endswith("); it is made again with `medtransfer finetune --force`")
    assert pool.means == {0: 0.40, 1: 0.50, 5: 0.80, 10: 0.70}  # of the seed that all share
    assert len(pool.missing) == 5 and "no finished fine-tuning of epoch 5, seed 2, so seed 2 is left out" in pool.missing[0]


def test_a_store_of_outcomes_that_are_not_finite_says_so(workplace: Path) -> None:
    add_dice({0: (math.nan,), 1: (math.nan,)})
    with pytest.raises(InputError, match="but 2 fine-tunings are without a finite value of the primary metric .*--force"):
        collect(SETTING)


def test_a_single_fine_tuning_of_another_study_is_counted_in_the_singular(workplace: Path) -> None:
    add_dice()
    add_dice({1: (0.9,)}, protocol="prot2")
    _, (left,) = collect(SETTING, described=Described("prot1"))
    assert left.startswith("1 fine-tuning is not of the study that the parameters describe: it differs in protocol;")


def test_a_store_without_the_described_study_says_so(workplace: Path) -> None:
    add_dice()
    with pytest.raises(
        InputError, match="of the study that the parameters describe, but all of the store differ in protocol.*--all, which"
    ):
        collect(SETTING, described=Described("prot2"))


def test_a_checkpoint_whose_features_are_not_finite_is_passed_over(workplace: Path) -> None:
    """Epoch 10 has the highest robustness, of NaN features that count as equal; without it epoch 0 has."""
    add_dice()
    params = {name: CELL[name] for name in ("pretraining", "data", "encoder", "origin", "target")}
    params |= {"images": "9", "distance": "l2", "margin": "0.5", "level": "-2"}
    with tracking.open_run("score", "score", digest(params, 16), params, {}) as handle:
        curves = {"robustness": {**FLAT, 10: 1.0}, "robustness_pooled": POOLED, "robustness_nonfinite": {0: 0, 1: 0, 5: 0, 10: 3}}
        handle.log_curves(curves)
    ((pool,), _) = collect(SETTING)
    assert (pool.unfit, sorted(pool.robustness)) == ({"robustness": {10: "its features are not finite"}}, [0, 1, 5])
    assert judge(pool, SAMPLING).by_selector["offline"].candidate == 0
    assert pool.missing == ["unet simple → moon, full: no robustness of epoch 10, since its features are not finite"]


def test_a_robustness_that_is_not_finite_is_passed_over_without_a_flag(workplace: Path) -> None:
    add_dice()
    add_scores_of({"robustness": {**FLAT, 0: math.nan}, "robustness_pooled": POOLED})
    ((pool,), _) = collect(SETTING)
    assert pool.robustness == {1: 0.5, 5: 0.6, 10: 0.7}
    assert judge(pool, SAMPLING).by_selector["offline"].candidate == 10
    assert pool.missing == ["unet simple → moon, full: no robustness of epoch 0, since it is not finite"]


def test_without_robustness_the_level_of_the_parameters_counts_too() -> None:
    def run(name: str, **params: str) -> tracking.StoredRun:
        return tracking.StoredRun(name, params, {}, {}, 0)

    preferred = {"distance": "cosine", "margin": "0.5", "level": "-2"}
    deep, default = run("deep", level="-1"), run("default", level="-2")
    assert _preferred([deep, default], preferred) is default and _preferred([deep], preferred) is deep
    robust, other = run("robust", **preferred), run("other", **{**preferred, "margin": "0.1"})
    assert _preferred([default, robust], preferred) is robust
    assert _preferred([other, default], preferred) is other  # the newest, since robustness was measured


def add_scores_of(curves: dict[str, dict[int, float]]) -> None:
    params = {name: CELL[name] for name in ("pretraining", "data", "encoder", "origin", "target")}
    params |= {
        "images": "9",
        "distance": "l2",
        "margin": "0.5",
        "level": "-2",
        "scores": " ".join(n for n in curves if "_" not in n),
    }
    with tracking.open_run("score", "score", digest(params, 16), params, {}) as handle:
        handle.log_curves(curves)


def test_a_score_without_a_source_head_says_so(workplace: Path) -> None:
    add_dice()
    add_scores_of({"leep": {1: -0.5, 5: -0.4, 10: -0.3}, "leep_undefined": {0: 9}, "leep_no_source_head": {0: 9}})
    ((pool,), _) = collect(SETTING)
    assert pool.missing == ["unet simple → moon, full: no LEEP of epoch 0, since there is no softmax head"]


def test_a_study_of_some_checkpoints_does_not_miss_those_that_are_only_scored(workplace: Path) -> None:
    add_dice()
    add_scores_of({"robustness": {**FLAT, 7: 0.9}, "robustness_pooled": {**POOLED, 7: 0.9}})
    ((pool,), _) = collect(SETTING, described=Described("prot1"))
    assert 7 in pool.candidates and not pool.complete
    ((pool,), _) = collect(SETTING, described=Described("prot1", every_epoch=False))
    assert sorted(pool.candidates) == sorted(DICE) and pool.complete and 7 not in pool.robustness


def add_counts(epoch: int, seed: int, counts: dict[str, tuple[int, int, int]], dice: float) -> None:
    """Write a fine-tuning with the TP, FP and FN pixels of one class of two images for each patient."""
    fields = {**CELL, "epoch": epoch, "seed": seed}
    rows = ["image,group,tp_class_1,fp_class_1,fn_class_1,tn_class_1"]
    rows += [f"{group}-{i},{group},{tp // 2},{fp // 2},{fn // 2},50" for group, (tp, fp, fn) in counts.items() for i in range(2)]
    Path("model").mkdir(exist_ok=True)
    Path("model/per_image.csv").write_text("\n".join(rows) + "\n")
    with tracking.open_run("finetune", f"e{epoch}", digest(fields, 16), fields, {}) as handle:
        handle.log_metrics({"dice": dice}, 1)
        handle.log_artifact(Path("model"), "model")


def twice(counts: tuple[int, int, int]) -> float:
    """Return the Dice of a test set that holds one patient twice."""
    tp, fp, fn = (2 * count for count in counts)
    return round((2 * tp + 1) / (2 * tp + fp + fn + 1), 9)


@pytest.mark.parametrize("at_once", [7, 10**6])
def test_patients_are_resampled_together_with_all_their_images(
    at_once: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Two patients: the four equally likely draws are a twice, b twice, and both in either order."""
    monkeypatch.setattr(patients_of, "AT_ONCE", at_once)  # three draws at a time
    good, bad = {"a": (80, 20, 20), "b": (20, 40, 40)}, {"a": (60, 40, 40), "b": (60, 0, 0)}
    dice = {name: (2 * sum(c[0] for c in counts.values()) + 1) / (
        sum(2 * c[0] + c[1] + c[2] for c in counts.values()) + 1) for name, counts in (("good", good), ("bad", bad))}  # fmt: skip
    add_counts(1, 1, good, dice["good"])
    add_counts(5, 1, bad, dice["bad"])
    ((pool,), _) = collect(SETTING)
    result = resample_patients(pool, SAMPLING)
    assert result is not None
    keys, drawn, patients = result
    assert (keys, patients) == ([1, 5], 2)
    alone = {(twice(good[name]), twice(bad[name])) for name in ("a", "b")}
    both = (round(dice["good"], 9), round(dice["bad"], 9))
    assert {tuple(row) for row in drawn.round(9).tolist()} == {*alone, both}
    assert np.mean([tuple(row) == both for row in drawn.round(9).tolist()]) == pytest.approx(0.5, abs=0.05)


def test_patients_of_a_target_with_regions_are_judged_by_them(tmp_path: Path) -> None:
    counts = {"a": [(8, 2, 2), (20, 5, 1)], "b": [(4, 4, 0), (9, 0, 3)]}  # TP, FP, FN of two regions
    names = [
        f"{cell}_{part}" for part in ("class_1", "class_2", "class_3", "region_1", "region_2") for cell in ("tp", "fp", "fn", "tn")
    ]
    rows = [f"{group}-1,{group}," + "1,1,1,1," * 3 + ",".join(f"{tp},{fp},{fn},50" for tp, fp, fn in regions)
            for group, regions in counts.items()]  # fmt: skip
    path = tmp_path / "per_image.csv"
    path.write_text("\n".join([f"image,group,{','.join(names)}", *rows]) + "\n")
    (value,) = by_patient(path, "dice").values(np.array([[1, 1]]))
    assert value == pytest.approx(((2 * 12 + 1) / (2 * 12 + 6 + 2 + 1) + (2 * 29 + 1) / (2 * 29 + 5 + 4 + 1)) / 2)


def test_fine_tunings_on_other_patients_are_refused(workplace: Path) -> None:
    add_counts(1, 1, {"a": (80, 20, 20), "b": (20, 40, 40)}, 0.6)
    add_counts(5, 1, {"a": (80, 20, 20), "c": (20, 40, 40)}, 0.6)
    ((pool,), _) = collect(SETTING)
    with pytest.raises(InputError, match="same test patients in every fine-tuning of unet simple → moon, full"):
        resample_patients(pool, SAMPLING)


def test_fine_tunings_without_counts_are_not_resampled(workplace: Path) -> None:
    add_dice()
    add_scores()
    ((pool,), _) = collect(SETTING)
    with pytest.raises(InputError, match="per_image.csv"):
        resample_patients(pool, SAMPLING)


def test_weights_that_were_loaded_in_part_are_named(workplace: Path) -> None:
    add_dice()
    params = {"pretraining": "pre1", "weights_matched": "200 81", "weights_total": "200 200"}
    with tracking.open_run("pretrain", "imported", "cell", params, {}):
        pass
    ((pool,), _) = collect(SETTING)
    assert pool.loaded == "81 of 200 tensors"
    assert any("81 of 200 tensors" in line for line in facts(judge(pool, SAMPLING)))
    assert "Some weights were loaded in part only, and the rest is random: 81 of 200 tensors." in weaknesses(
        analyse([pool], [], SAMPLING)
    )


def test_models_that_predict_no_foreground_are_not_judged(workplace: Path) -> None:
    """A class that the test images lack counts as 1, so that their Dice may be high."""
    for epoch in (1, 5):
        fields = {**CELL, "epoch": epoch, "seed": 1}
        with tracking.open_run("finetune", f"e{epoch}", digest(fields, 16), fields, {}) as handle:
            handle.log_metrics({"dice": 0.33 + epoch / 100, "test_images": 5, "test_images_predicted_empty": 5}, 1)
    ((pool,), _) = collect(SETTING)
    judged = judge(pool, SAMPLING)
    assert "none predicts any foreground in any test image" in judged.reason and judged.verdicts == ()


@pytest.mark.parametrize(("constant", "poor"), [(0.39, True), (0.37, False), (1.0, False), (None, False)])
def test_what_the_same_label_everywhere_reaches_is_read(constant: float | None, poor: bool, workplace: Path) -> None:
    """Of a checkpoint that was fine-tuned by an earlier version it is not known."""
    for epoch in (1, 5):
        fields = {**CELL, "epoch": epoch, "seed": 1}
        known = {} if constant is None or epoch == 1 else {"test_constant_dice": constant}
        with tracking.open_run("finetune", f"e{epoch}", digest(fields, 16), fields, {}) as handle:
            handle.log_metrics({"dice": 0.33 + epoch / 100, **known}, 1)
    ((pool,), _) = collect(SETTING)
    assert (pool.constant, pool.is_poor) == (-math.inf if constant is None else constant, poor)
    said = [text for text in weaknesses(analyse([pool], [], SAMPLING)) if "the same label in every pixel" in text]
    assert len(said) == poor and all("such as 0.380 against 0.390" in text for text in said)


def test_a_study_of_some_checkpoints_needs_no_scores(workplace: Path) -> None:
    add_dice()
    ((pool,), _) = collect(SETTING, described=Described("prot1", every_epoch=False))
    assert pool.scores == {} and pool.score_run == ""


def test_a_pool_knows_what_its_weights_continue_from(workplace: Path) -> None:
    add_dice()
    parent = {"encoder": "unet", "origin": "old", "kind": "file", "source": "imagenet", "epoch": 9, "weights": "ab"}
    params = {"lr": "0.1", "seed": "1", "pretraining": CELL["pretraining"], "chain": "old>new", "parents": canonical_json([parent])}
    with tracking.open_run("pretrain", "continued", "cell", params, {}):
        pass
    ((pool,), _) = collect(SETTING)
    assert (pool.chain, pool.parents, pool.fields["origin"]) == ("old>new", (parent,), CELL["origin"])
    assert pool.name.startswith(f"{CELL['encoder']} old>new → {CELL['target']}, ")


@pytest.mark.parametrize(("former", "later"), [("True", "{'ops': 2, 'magnitude': 9, 'scale': 30}"), ("False", "None")])
def test_a_seed_that_an_earlier_version_pretrained_is_of_the_recipe_that_a_later_one_has(
    former: str, later: str, workplace: Path
) -> None:  # fmt: skip
    """An option that was added since, and does now what was done then, makes no other recipe; one that does not makes one."""
    now = {"randaugment": later, "resampling": "pillow", "optimiser": "adamw", "options": "{}"}
    of_seed = {"1": {"randaugment": former}, "2": now, "3": {**now, "resampling": "torch"}}
    for seed, added in of_seed.items():
        for epoch in (1, 5):
            fields = {**CELL, "epoch": epoch, "seed": 1, "pretraining": f"pre{seed}", "origin": f"simple-s{seed}"}
            with tracking.open_run("finetune", f"e{epoch}", digest(fields, 16), fields, {}) as handle:
                handle.log_metrics({"dice": 0.5 + epoch / 100}, 1)
        params = {"lr": "0.1", "seed": seed, "pretraining": f"pre{seed}", "origin": f"simple-s{seed}", **added}
        with tracking.open_run("pretrain", seed, seed, params, {}):
            pass
    first, second, third = (pool.recipe for pool in collect(SETTING)[0])
    assert first == second != third


def test_resampling_of_patients_shows_progress(workplace: Path, terminal: Callable[[], str]) -> None:
    add_counts(1, 1, {"a": (80, 20, 20), "b": (20, 40, 40)}, 0.6)
    add_counts(5, 1, {"a": (60, 40, 40), "b": (60, 0, 0)}, 0.7)
    pools, _ = collect(SETTING)
    terminal()
    assert analyse(pools, [], replace(SAMPLING, patients=2)).evidence.patients is not None
    shown = terminal()
    assert shown.index("report:") < shown.index("report: resampling patients")


def test_resampling_counts_fine_tunings(workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A single configuration may have many, of many thousand images each."""
    for seed in (1, 2, 3):
        add_counts(1, seed, {"a": (80, 20, 20), "b": (20, 40, 40)}, 0.6)
        add_counts(5, seed, {"a": (60, 40, 40), "b": (60, 0, 0)}, 0.7)
    pools, _ = collect(SETTING)
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.append(now[-1] + 10) or now[-1])
    caplog.set_level("INFO", "medtransfer")
    assert analyse(pools, [], replace(SAMPLING, patients=6)).evidence.patients is not None
    lines = [message for message in caplog.messages if message.startswith("report: resampling patients: ")]
    assert lines and all("/6 fine-tunings, " in line and line.endswith(" left") for line in lines)
