"""Which cells a study has, and what a pretraining that stopped early, or is asked for another epoch, changes about them."""

import os
import signal
import sys
import threading
import time
from itertools import product
from pathlib import Path

import pytest
import yaml

from medtransfer import study, tracking
from medtransfer.analysis.described import Described
from medtransfer.config import load_params
from medtransfer.config.load import DEFINITION
from medtransfer.errors import InputError, TemporaryError
from medtransfer.finetune.protocol import Protocol
from medtransfer.hashing import digest
from medtransfer.pretrain.folder import CheckpointFolder
from medtransfer.rank.targets import open_target
from medtransfer.signals import Stopped, stop_on_sigterm
from medtransfer.study import inputs
from medtransfer.study.inputs import find_missing
from medtransfer.training.state import save_state
from medtransfer.tryouts.validation import open_validated


def save_epochs(folder: Path, *epochs: int) -> None:
    """Put the records of checkpoints into a folder, as far as their names go."""
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in epochs:
        (folder / f"epoch-{epoch:03d}.json").touch()


def test_a_study_has_every_cell_of_its_lists(workplace: Path, tiny_params):
    cells = study.study_cells(tiny_params(), {})
    found = {(cell.epoch, cell.mode, cell.seed) for cell in cells}
    assert found == {(epoch, mode, seed) for epoch in (0, 1, 2, 3) for mode in ("full", "decoder") for seed in (7, 8)}
    assert len(cells) == len(found)


def test_given_lists_replace_those_of_the_study(workplace: Path, tiny_params):
    cells = study.study_cells(tiny_params(), {"epoch": [3], "seed": [9], "mode": ["full"]})
    assert [(cell.epoch, cell.mode, cell.seed) for cell in cells] == [(3, "full", 9)]


def test_a_study_asks_each_origin_for_its_epochs(workplace: Path, tiny_params):
    origin = {"kind": "file", "weights": {90: "a", 300: "b"}, "epoch": None, "source": "imagenet", "pickle": False,
              "allow_partial": False, "prefix": None, "input": None}  # fmt: skip
    params = tiny_params({"pretrain.origins.imported": origin, "study.origins": ["simple", "imported"]})
    cells = study.study_cells(params, {"mode": ["full"], "seed": [7]})
    assert [(cell.origin, cell.epoch) for cell in cells] == [
        *(("simple", epoch) for epoch in (0, 1, 2, 3)), *(("imported", epoch) for epoch in (0, 90, 300))
    ]  # fmt: skip


def test_decoders_are_transferred_where_checkpoints_hold_them(workplace: Path, tiny_params):
    lists = {
        "study.origins": ["simple", "simclr", "conrec"], "study.modes": ["full", "seg-enc-dec"], "study.epochs": "last",
        "study.seeds": [1], "study.random": "once",
    }  # fmt: skip
    names = {(cell.origin, bool(cell.epoch), cell.mode) for cell in study.study_cells(tiny_params(lists), {})}
    assert names == {
        ("simple", False, "full"), ("simple", True, "full"), ("simclr", True, "full"), ("conrec", True, "full"),
        ("conrec", True, "seg-enc-dec"),
    }  # fmt: skip
    each = study.study_cells(tiny_params({**lists, "study.random": "each"}), {})
    assert [cell.epoch > 0 for cell in each if cell.mode == "seg-enc-dec"] == [False, True]
    given = study.study_cells(tiny_params(lists), {"mode": ["seg-enc-dec"]})
    assert {cell.origin for cell in given} == {"simple", "simclr", "conrec"}  # refused with the reason when it is fine-tuned


@pytest.mark.parametrize(
    ("epochs", "random", "expected"),
    [
        ("all", "once", {"simple": [0, 1, 2, 3], "advanced": [1, 2, 3]}),
        ("last", "each", {"simple": [0, 3], "advanced": [0, 3]}),
        ("last", "once", {"simple": [0, 3], "advanced": [3]}),
        ("last", "none", {"simple": [3], "advanced": [3]}),
        ([0, 2, 50], "once", {"simple": [0, 2], "advanced": [2]}),
        ([2], "each", {"simple": [2], "advanced": [2]}),
    ],
)
def test_a_study_chooses_checkpoints_and_whose_random_weights(epochs, random, expected, workplace: Path, tiny_params):
    lists = {"study.epochs": epochs, "study.random": random, "study.origins": ["simple", "advanced"]}
    params = tiny_params({**lists, "study.encoders": ["unet", "resnet50"], "study.modes": ["full"], "study.seeds": [7]})
    cells = study.study_cells(params, {})
    for encoder in ("unet", "resnet50"):
        found = {origin: [cell.epoch for cell in cells if (cell.encoder, cell.origin) == (encoder, origin)] for origin in expected}
        assert found == expected
    stage = study.study_cells(params, {"origin": ["advanced"]})  # as a stage of DVC asks for one origin
    assert [cell.epoch for cell in stage if cell.encoder == "unet"] == expected["advanced"]


SEEDS = {"study.pretraining_seeds": [1, 2, 1], "study.origins": ["simple", "imported", "fixed"]}


@pytest.fixture
def seeded(tiny_params):
    """Params of a study of an origin that takes seeds, one that is imported and one with a seed of its own."""
    imported = {"kind": "package", "folder": "weights", "epoch": 30}
    fixed = {**dict(tiny_params().pretrain.origins["simple"]), "seed": 9}
    return tiny_params({**SEEDS, "pretrain.origins.imported": imported, "pretrain.origins.fixed": fixed})


def test_a_study_pretrains_once_per_seed_what_takes_one(seeded, tmp_path: Path):
    names = ["simple-s1", "simple-s2", "imported", "fixed"]
    assert study.study_series(seeded, {}) == [("unet", name) for name in names]
    assert list(dict.fromkeys(cell.origin for cell in study.study_cells(seeded, {}))) == names
    assert study.study_series(seeded, {"origin": ["simple", "simple-s2"]}) == [("unet", "simple-s1"), ("unet", "simple-s2")]
    file = tmp_path / "params.yaml"  # as a pretraining on several devices gets it
    file.write_text(yaml.safe_dump(seeded.model_dump(mode="json")))
    assert load_params([file], {}) == seeded


def test_results_of_the_plain_origin_are_not_of_a_study_with_seeds(workplace: Path, seeded):
    described = study.described(seeded)
    assert {"simple", "advanced", "continued", "simclr", "segmentation"} <= described.seeded
    assert not described.seeded & {"imported", "fixed"}
    fields = {"encoder": "unet", "target": "sample", "protocol": described.protocol, "data": "d", "pretraining": "p"}
    assert described.differing({**fields, "origin": "simple"}) == ("pretraining seed",)
    assert described.differing({**fields, "origin": "simple-s1"}) == ()
    assert Described("q").differing({**fields, "protocol": "q", "origin": "simple"}) == ()


def test_a_stage_of_dvc_refuses_pretraining_seeds(workplace: Path, seeded, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "pretrain@unet-simple")
    with pytest.raises(InputError, match="expected study.pretraining_seeds to be empty in a stage of DVC"):
        study.pretrain(seeded)


@pytest.mark.slow
def test_the_report_knows_pretrainings_that_differ_in_their_seed_alone(workplace: Path, tiny_params):
    params = tiny_params(
        {
            "study.pretraining_seeds": [1, 2],
            "study.modes": ["decoder"],
            "finetune.overlays": 0,
            "report.least": 0,
            "report.draws": 100,
        }
    )
    study.study(params)
    assert {path.name for path in (workplace / "checkpoints").glob("*")} >= {"unet-simple-s1", "unet-simple-s2"}
    assert "Between pretraining seeds (2 or more in one configuration) the best Dice" in Path("reports/report.md").read_text()


def test_a_broken_target_is_named_and_hinders_no_report(workplace: Path, tiny_params, caplog: pytest.LogCaptureFixture):
    folder = Path("data/prepared/sample")
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{}")
    assert study.described(tiny_params()).data == {}
    assert "results on the target sample are judged whatever its data" in caplog.text


def test_a_closed_folder_of_checkpoints_is_named_and_hinders_no_report(
    workplace: Path, tiny_params, closed_folder, caplog: pytest.LogCaptureFixture
):  # fmt: skip
    folder = Path("checkpoints/unet-simple")
    folder.mkdir(parents=True)
    closed_folder(folder)
    params = tiny_params({"pretrain.stop_on": "sample"})
    assert study.described(params).pretraining == {}
    assert "unet-simple: results of its fine-tunings are judged whatever its weights: expected a readable folder at" in caplog.text
    assert {cell.epoch for cell in study.study_cells(params, {})} == {0, 1, 2, 3}  # as if it had not stopped early
    with pytest.raises(InputError, match="expected a readable folder at checkpoints/unet-simple, but got: Permission denied"):
        find_missing(params, [], [("unet", "simple", None)])


def test_a_study_takes_the_epochs_that_an_early_stop_left(workplace: Path, tiny_params):
    save_epochs(workplace / "checkpoints/unet-simple", 0, 1)
    stopping = tiny_params({"pretrain.stop_on": "sample"})
    assert sorted({cell.epoch for cell in study.study_cells(stopping, {})}) == [0, 1]
    assert sorted({cell.epoch for cell in study.study_cells(tiny_params(), {})}) == [0, 1, 2, 3]


def test_a_pretraining_restarts_for_an_epoch_that_it_has_passed(tmp_path: Path, monkeypatch):
    import torch

    model = torch.nn.Linear(2, 2)
    monkeypatch.setattr(CheckpointFolder, "saved", (0, 2))
    passed = CheckpointFolder(tmp_path, "p", (0, 1, 2, 4))
    save_state(
        passed.state,
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        {"pretraining": "p", "epoch": 2, "curves": {}, "precision": {}},
    )
    assert passed.progress is None
    ahead = CheckpointFolder(tmp_path, "p", (0, 2, 3, 4))
    assert ahead.progress is not None and ahead.progress["epoch"] == 2


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shell script take the place of the command that a pretraining on several devices is."""
    path = folder / "command.sh"
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


@pytest.mark.parametrize(("code", "error"), [("exit 2", InputError), ("exit 1", TemporaryError), ("kill -9 $$", TemporaryError)])
def test_a_pretraining_apart_says_how_it_ended(code: str, error: type, workplace: Path, tiny_params, monkeypatch):
    stand_in(workplace, code, monkeypatch)
    with pytest.raises(error, match="the pretraining of unet, simple ended with exit code (1|2|-9); its output says why"):
        study.pretrain_apart(tiny_params({"pretrain.devices": 2}))


def test_a_pretraining_apart_is_no_rank_of_the_command(workplace: Path, tiny_params, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    stand_in(workplace, 'echo "rank $SLURM_PROCID" > told.txt', monkeypatch)
    study.pretrain_apart(tiny_params({"pretrain.devices": 2}))
    assert Path("told.txt").read_text() == "rank \n"


def test_a_stop_reaches_the_pretraining_apart(workplace: Path, tiny_params, monkeypatch):
    """It has the time to close its run, which a killed process has not."""
    stand_in(workplace, "trap 'touch closed; exit 143' TERM; touch begun; while :; do sleep 0.05; done", monkeypatch)

    def stop() -> None:
        while not Path("begun").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stop_on_sigterm()
    threading.Thread(target=stop, daemon=True).start()
    try:
        with pytest.raises(Stopped):
            study.pretrain_apart(tiny_params({"pretrain.devices": 2}))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert Path("closed").exists()


def test_a_target_is_prepared_where_its_settings_are_those_of_the_params(workplace: Path, tiny_params):
    params = tiny_params()
    assert not study.is_prepared(params, "sample")
    study.prepare(params)
    assert study.is_prepared(params, "sample")
    assert not study.is_prepared(tiny_params({"prepare.targets.sample.size": [48, 48]}), "sample")


USES = {
    "score, finetune, pretrain": lambda params: find_missing(params, ["sample"]),
    "rank, cka": lambda params: open_target(study.with_values(params, "rank", target="sample")),
    "race, guard": lambda params: open_validated(params, "sample", 0.2),
}


@pytest.mark.parametrize("use", USES)
def test_a_target_of_other_settings_is_used_as_it_is_and_said_once(use, workplace: Path, tiny_params, caplog, monkeypatch):
    monkeypatch.setattr(inputs, "_NAMED", set())
    caplog.set_level("WARNING", "medtransfer")  # an earlier test may have left a lower one
    study.prepare(tiny_params())
    USES[use](tiny_params())
    assert not caplog.records
    for _ in range(2):
        USES[use](tiny_params({"prepare.targets.sample.size": [48, 48]}))
    (record,) = caplog.records
    assert "was prepared by other settings than those of prepare.targets.sample" in record.getMessage()
    assert "(size [32, 32], now [48, 48]): prepare it again with `medtransfer prepare --target sample`" in record.getMessage()


def store_results(params, epochs, seeds):
    for epoch, seed, mode in product(epochs, seeds, params.study.modes):
        fields = {
            "source": "sample", "origin": "simple", "encoder": "unet", "target": "sample", "mode": mode, "pretraining": "p",
            "data": "d", "protocol": Protocol.of(params.finetune).key, "epoch": epoch, "seed": seed, "primary": "dice",
        }  # fmt: skip
        record = tracking.RunRecord("cell", digest(fields, 16), fields, {"dice": 0.5 + 0.01 * epoch + 0.001 * seed})
        tracking.write_runs("finetune", [record], "runs")


def test_a_report_says_what_of_the_study_is_not_done_and_is_made_again_for_another_study(workplace: Path, tiny_params):
    params = tiny_params({"study.modes": ["full"]})
    epochs = study.study_epochs(params, "simple")
    store_results(params, epochs[:-1], params.study.seeds)
    study.report(params)
    text = (workplace / "reports/report.md").read_text()
    assert "## Beside the section study\n\n- 2 of the" in text and "plans are not in the store, such as" in text
    assert "“Beside the section study”" in study.report(params)
    study.report(tiny_params({"study.modes": ["full"], "study.seeds": params.study.seeds[:1], "study.epochs": epochs[:-1]}))
    text = (workplace / "reports/report.md").read_text()
    assert f"not plan: seed {params.study.seeds[1]}" in text and "plans are not" not in text
    study.report(params, everything=True)
    assert "Beside the section study" not in (workplace / "reports/report.md").read_text()


def test_a_pretraining_that_may_have_stopped_elsewhere_lacks_no_epoch(workplace: Path, tiny_params):
    """Of a shared store only results are here; those of an origin that nobody pretrained are missing."""
    params = tiny_params({"study.modes": ["full"], "study.origins": ["simple", "advanced"], "pretrain.stop_on": "sample"})
    epochs = study.study_epochs(params, "simple")
    store_results(params, epochs[:-1], params.study.seeds)
    study.report(params)
    planned, seeds = 2 * len(epochs), len(params.study.seeds)
    text = (workplace / "reports/report.md").read_text()
    assert f"- {len(epochs) * seeds} of the {planned * seeds} fine-tunings that" in text and "unet-advanced → sample" in text
    assert "does not plan" not in text


def test_a_look_at_a_target_does_not_write_its_definition(workplace: Path, tiny_params):
    params = tiny_params()
    study.prepare(params, keep_definition=True)
    path = Path(params.prepare.out) / "sample" / DEFINITION
    before = path.stat().st_mtime_ns, path.stat().st_ino
    with tracking.looking_up():
        study.prepare(params)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    study.prepare(params)
    assert path.stat().st_ino != before[1]
