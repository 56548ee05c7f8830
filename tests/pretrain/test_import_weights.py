"""Weights files become a series of two checkpoints, audited; what does not fit is refused and writes nothing."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.records import find_checkpoint, list_checkpoints, read_tensors
from medtransfer.training.checkpoints import load_encoder

pytestmark = pytest.mark.long

FOLDER = Path("checkpoints/resnet50-imported")
TINY = {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32]}  # 17 convolutions of one tensor, 17 norms of four: 85
ORIGIN: dict[str, Any] = {
    "kind": "file", "weights": "timm.safetensors", "epoch": 300, "source": "imagenet", "pickle": False, "allow_partial": False,
    "prefix": None,
    "input": None,
}  # fmt: skip
IMPORT: dict[str, Any] = {
    "pretrain.encoder": "resnet50", "pretrain.encoders.resnet50": {"build": "resnet50", **TINY}, "pretrain.origin": "imported",
    "pretrain.source_root": "nowhere",
}  # fmt: skip


def published(seed: int = 1) -> dict[str, Tensor]:
    """Return tensors as timm names them, a classification head among them."""
    encoder = build_encoder("resnet50", **TINY)
    initialise(encoder, seed)
    return {**encoder.state_dict(), "fc.weight": torch.eye(7, 128), "fc.bias": torch.zeros(7)}


@pytest.fixture
def imported(workplace: Path, tiny_params: Callable[..., Params]) -> Callable[..., Path]:
    """Return an import of a weights file in the working folder, with keys of the origin or other params changed."""
    save_file(published(), "timm.safetensors")

    def run(changed: dict[str, Any] | None = None) -> Path:
        others = {key: value for key, value in (changed or {}).items() if "." in key}
        origin = {**ORIGIN, **{key: value for key, value in (changed or {}).items() if "." not in key}}
        return study.pretrain(tiny_params({**IMPORT, "pretrain.origins.imported": origin, **others}))

    return run


def test_an_import_makes_the_initialisation_the_weights_and_the_run(imported, caplog, tmp_path):
    caplog.set_level(logging.INFO, "medtransfer")
    assert imported() == FOLDER
    infos = list_checkpoints(FOLDER)
    assert set(infos) == {0, 300}
    random = build_encoder("resnet50", **TINY)
    initialise(random, 5)
    assert state_hash(load_encoder(*find_checkpoint(FOLDER, 0))) == state_hash(random)
    expected = published()
    for name, tensor in load_encoder(*find_checkpoint(FOLDER, 300)).state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert "timm.safetensors: 85 of 85 encoder tensors matched (names read as direct)" in caplog.text
    assert "2 left out (fc.bias, fc.weight)" in caplog.text
    assert (infos[0].lineage, infos[0].loaded) == ([], None)
    assert infos[300].lineage == [f"timm.safetensors {file_sha256(Path('timm.safetensors'))}"]
    assert infos[300].loaded == {"matched": 85, "total": 85}
    for info in infos.values():
        assert (info.source, info.origin, info.kind, info.metrics, info.seed) == ("imagenet", "imported", "file", {}, 5)
        assert info.source_classes == []
        assert info.input == {"size": 32, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "channels": "RGB"}
    assert infos[0].pretraining == infos[300].pretraining
    assert all(name.startswith("encoder.") for name in read_tensors(FOLDER / "epoch-300.safetensors"))
    (run,) = tracking.read_runs("pretrain")
    assert (run.params["weights_matched"], run.params["weights_total"], run.params["weights_left_out"]) == ("85", "85", "2")
    assert "85 of 85 encoder tensors matched" in run.tags["weights_audit"]
    assert run.tags["saved"] == "0 300"
    assert run.metrics["weights_changed"] > 0.5
    tracking.fetch_artifacts(run.id, "checkpoints", tmp_path / "fetched")
    assert list_checkpoints(tmp_path / "fetched" / "checkpoints") == infos
    assert [info.head for info in infos.values()] == ["", file_sha256(FOLDER / "head-300.safetensors")]
    (FOLDER / "head-300.safetensors").unlink()
    imported()  # is fetched
    assert read_tensors(FOLDER / "head-300.safetensors").keys() == {"fc.weight", "fc.bias"}
    shutil.rmtree(FOLDER)
    imported()  # is reused
    assert list_checkpoints(FOLDER) == infos
    assert len(tracking.read_runs("pretrain")) == 1


def test_a_classifier_of_several_labels_is_no_source_head(imported, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    imported({"source": "chexpert"})
    assert "no source head is kept of timm.safetensors: a classifier of chexpert has several labels per image" in caplog.text
    assert list_checkpoints(FOLDER)[300].head == "" and not (FOLDER / "head-300.safetensors").exists()


@pytest.mark.parametrize("changed", [{"pretrain.seed": 6}, {"epoch": 90, "pretrain.size": 64}, "another file"])
def test_other_settings_move_the_old_checkpoints_aside(imported, changed):
    imported()
    before = list_checkpoints(FOLDER)
    if isinstance(changed, str):
        save_file(published(seed=2), "timm.safetensors")
        changed = {}
    imported(changed)
    (aside,) = FOLDER.parent.glob("resnet50-imported.*")
    assert list_checkpoints(aside) == before
    after = list_checkpoints(FOLDER)
    assert {info.pretraining for info in after.values()}.isdisjoint({info.pretraining for info in before.values()})
    assert len(tracking.read_runs("pretrain")) == 2


def refused(imported: Callable[..., Path], match: str, overrides: dict[str, Any] | None = None) -> None:
    before = sorted(Path().rglob("*"))
    with pytest.raises(InputError, match=match):
        imported(overrides)
    assert [path for path in sorted(Path().rglob("*")) if path.suffix != ".lock"] == before
    assert all(tracking.read_runs("pretrain", status=status) == [] for status in ("FINISHED", "FAILED", "RUNNING"))


def test_what_cannot_be_imported_is_refused(imported):
    refused(imported, "the weights file none.safetensors", {"weights": "none.safetensors"})
    refused(imported, "85 tensors of the encoder resnet50", {"pretrain.encoders.resnet50.channels": [8, 16, 32, 64]})
    save_file(published(seed=5), "timm.safetensors")
    refused(imported, "differ from the initialisation")
    Path("timm.safetensors").write_bytes(Path("timm.safetensors").read_bytes()[:-9])
    refused(imported, "cannot be read")


def test_a_pickle_is_read_only_when_asked_for(imported):
    torch.save({"state_dict": published()}, "timm.pth")
    refused(imported, "pickle: true", {"weights": "timm.pth"})
    imported({"weights": "timm.pth", "pickle": True})
    assert set(list_checkpoints(FOLDER)) == {0, 300}


def test_a_partial_fit_is_refused_unless_allowed_and_then_said(imported, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    save_file({name: tensor for name, tensor in published().items() if name != "conv1.weight"}, "timm.safetensors")
    refused(imported, "set allow_partial: true")
    imported({"allow_partial": True})
    assert "84 of 85 encoder tensors matched" in caplog.text
    assert "1 missing (conv1.weight)" in caplog.text
    assert "only 84 of 85 encoder tensors come from timm.safetensors; the others are random" in caplog.text
    assert list_checkpoints(FOLDER)[300].loaded == {"matched": 84, "total": 85}
    (run,) = tracking.read_runs("pretrain")
    assert (run.params["weights_matched"], run.params["allow_partial"]) == ("84", "True")
    assert tracking.read_curve(run.id, "weights_matched") == {300: pytest.approx(84 / 85)}


def test_imported_checkpoints_are_scored(imported, tiny_params):
    imported()
    params = tiny_params({
        **IMPORT, "pretrain.origins.imported": ORIGIN, "score.encoder": "resnet50", "score.origin": "imported",
    })  # fmt: skip
    study.prepare(params)
    study.score(params)
    (run,) = tracking.read_runs("score")
    assert sorted(tracking.read_curve(run.id, "robustness")) == [0, 300]
    assert tracking.read_curve(run.id, "source_accuracy") == {}


def test_files_of_several_epochs_become_one_series(imported):
    save_file(published(seed=2), "later.safetensors")
    imported({"weights": {300: "later.safetensors", 90: "timm.safetensors"}, "epoch": None})
    infos = list_checkpoints(FOLDER)
    assert list(infos) == [0, 90, 300]
    assert len({info.pretraining for info in infos.values()}) == 1
    assert [info.lineage[-1].split()[0] for info in infos.values() if info.lineage] == ["timm.safetensors", "later.safetensors"]
    for epoch, seed in ((90, 1), (300, 2)):
        state, expected = load_encoder(*find_checkpoint(FOLDER, epoch)).state_dict(), published(seed)
        assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())
    (run,) = tracking.read_runs("pretrain")
    assert run.tags["saved"] == "0 90 300"


def test_weights_carry_an_input_contract_of_their_own(imported):
    contract = {"size": 240, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "channels": "BGR"}
    imported({"input": contract})
    for info in list_checkpoints(FOLDER).values():  # the first convolution is turned to RGB, and the contract with it
        assert info.input == {"size": 240, "mean": [0.3, 0.2, 0.1], "std": [0.7, 0.6, 0.5], "channels": "RGB"}
    weight = load_encoder(*find_checkpoint(FOLDER, 300)).state_dict()["conv1.weight"]
    assert torch.equal(weight, published()["conv1.weight"].flip(1))


def test_our_own_checkpoint_keeps_its_contract_and_lineage(imported):
    contract = {"size": 96, "mean": [0.5] * 3, "std": [0.25] * 3, "channels": "RGB"}
    imported({"input": contract})
    own = FOLDER / "epoch-300.safetensors"
    shutil.copytree(FOLDER, "own")
    imported({"weights": "own/epoch-300.safetensors", "epoch": 7})
    info = list_checkpoints(FOLDER)[7]
    assert info.input == contract
    assert info.loaded == {"matched": 85, "total": 85}
    assert [parent.split()[0] for parent in info.lineage] == ["timm.safetensors", "epoch-300.safetensors"]
    first, second = (read_tensors(file) for file in (Path("own") / own.name, FOLDER / "epoch-007.safetensors"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_teacher_is_imported_when_its_prefix_is_named(imported):
    nested = {
        name: {f"backbone.{key}": tensor for key, tensor in published(seed).items()}
        for name, seed in (("student", 1), ("teacher", 2))
    }
    torch.save({**nested, "epoch": 3}, "dino.pth")
    refused(imported, "set prefix: (student|teacher)", {"weights": "dino.pth", "pickle": True})
    imported({"weights": "dino.pth", "pickle": True, "prefix": "teacher."})
    weight = load_encoder(*find_checkpoint(FOLDER, 300)).state_dict()["conv1.weight"]
    assert torch.equal(weight, published(2)["conv1.weight"])
    (run,) = tracking.read_runs("pretrain")
    assert "after the prefix teacher.backbone." in run.tags["weights_audit"]
