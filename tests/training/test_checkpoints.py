"""A checkpoint pair alone rebuilds its encoder; damaged pairs are in tests/malformed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.tiny_encoders import TINIEST
from torch import nn

from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.encoders.source_head import NoHead, SourceHead
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.records import CheckpointInfo, Provenance, find_checkpoint, read_tensors
from medtransfer.training import checkpoints
from medtransfer.training.checkpoints import load_encoder, load_head, save_checkpoint


def saved(folder: Path, name: str = "unet", epoch: int = 5) -> Classifier:
    classifier = Classifier(build_encoder(name, **TINIEST[name]), 3)
    initialise(classifier, 11)
    contract = {"size": 32, "mean": [0.5] * 3, "std": [0.2] * 3, "channels": "RGB"}
    save_checkpoint(folder, classifier, Provenance(
        encoder=f"my-{name}", origin="simple", kind="supervised", epoch=epoch, source="s", source_classes=["a", "b", "c"],
        metrics={"source_accuracy": 0.25}, input=contract, seed=11, pretraining="p",
    ))  # fmt: skip
    return classifier


@pytest.mark.parametrize("name", ENCODERS)
def test_the_pair_alone_rebuilds_the_encoder(name, tmp_path):
    classifier = saved(tmp_path / "made", name)
    (tmp_path / "alone").mkdir()
    for suffix in ("json", "safetensors"):
        shutil.move(tmp_path / "made" / f"epoch-005.{suffix}", tmp_path / "alone")
    path, info = find_checkpoint(tmp_path / "alone", 5)
    encoder = load_encoder(path, info)
    assert state_hash(encoder) == state_hash(classifier.encoder)
    assert encoder.arguments == classifier.encoder.arguments
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for a, b in zip(encoder.eval()(image), classifier.eval().encoder(image), strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_its_source_head_classifies_as_the_model_did(tmp_path):
    classifier, image = saved(tmp_path).eval(), torch.rand(2, 3, 32, 32)
    path, info = find_checkpoint(tmp_path, 5)
    encoder = load_encoder(path, info).eval()
    head = load_head(path, info, encoder)
    assert isinstance(head, SourceHead) and info.head == ""
    assert torch.allclose(head(encoder(image)[-1]).mean((2, 3)), classifier(image), atol=1e-5)


def test_an_imported_head_has_a_file_of_its_own(tmp_path):
    """Records of earlier versions, of the encoder alone, are as before."""
    encoder = build_encoder("resnet50", **TINIEST["resnet50"])
    initialise(encoder, 1)
    contract = {"size": 32, "mean": [0.5] * 3, "std": [0.2] * 3, "channels": "RGB"}
    provenance = Provenance(
        encoder="e", origin="o", kind="file", epoch=7, source="s", source_classes=[], input=contract, seed=1, pretraining="p"
    )
    model = nn.ModuleDict({"encoder": encoder})
    before = save_checkpoint(tmp_path, model, provenance)
    path = tmp_path / "epoch-007.json"
    older = json.loads(path.read_text())
    del older["head"]
    path.write_text(json.dumps(older))
    assert CheckpointInfo.read(path) == before
    assert isinstance(load_head(path, before, encoder), NoHead)
    tensors = {"fc.weight": torch.rand(3, encoder.levels[-1].channels), "fc.bias": torch.rand(3)}
    info = save_checkpoint(tmp_path, model, provenance, tensors)
    file = tmp_path / "head-007.safetensors"
    assert info == replace(before, head=file_sha256(file)) and CheckpointInfo.read(path) == info
    head = load_head(path, info, encoder)
    assert isinstance(head, SourceHead) and torch.equal(head.layers[0].weight, tensors["fc.weight"])
    file.write_bytes(file.read_bytes()[:-4] + bytes(4))
    with pytest.raises(InputError, match="head-007.safetensors, but the file differs"):
        load_head(path, info, encoder)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_record_describes_the_encoder_and_its_weights(name, tmp_path):
    encoder = saved(tmp_path, name).encoder
    info = CheckpointInfo.read(tmp_path / "epoch-005.json")
    assert (info.encoder, info.build, info.parts) == (f"my-{name}", name, ["encoder", "head"])
    assert (info.epoch, info.source_accuracy, info.source_classes) == (5, 0.25, ["a", "b", "c"])
    assert info.weights == file_sha256(tmp_path / "epoch-005.safetensors")
    names = read_tensors(tmp_path / "epoch-005.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"encoder", "head"}
    assert [tuple(level) for level in info.levels] == [(level.stride, level.channels) for level in encoder.levels]
    assert info.multiple == encoder.multiple
    encoder.check_size(64, 32)
    with pytest.raises(InputError, match="33x32"):
        encoder.check_size(33, 32)


def test_a_file_is_hashed_once_and_an_encoder_built_once_per_load(tmp_path, monkeypatch):
    hashed, built = list[Path](), list[str]()
    sha256, build = checkpoints.file_sha256, checkpoints.build_encoder
    monkeypatch.setattr(checkpoints, "file_sha256", lambda path: (hashed.append(path), sha256(path))[1])
    monkeypatch.setattr(checkpoints, "build_encoder", lambda name, **a: (built.append(name), build(name, **a))[1])
    for epoch in (0, 5):
        saved(tmp_path, "unet", epoch)
    loads = [load_encoder(*find_checkpoint(tmp_path, epoch)) for epoch in (0, 5) * 4]
    assert sorted(hashed) == [tmp_path / "epoch-000.safetensors", tmp_path / "epoch-005.safetensors"]
    assert len(built) <= len(loads) + 1  # one more, without memory, tells how large the architecture is
    assert len({id(parameter) for encoder in loads for parameter in encoder.parameters()}) == sum(
        len(list(encoder.parameters())) for encoder in loads
    )  # each is a copy of its own


def test_another_architecture_is_refused(tmp_path):
    saved(tmp_path)
    path, info = find_checkpoint(tmp_path, 5)
    other = CheckpointInfo(**{**vars(info), "arguments": {"width": 8, "depth": 4}})
    with pytest.raises(InputError, match=r"says levels \[\[1, 4\], .* these arguments make \[\[1, 8\]"):
        load_encoder(path, other)
    with pytest.raises(InputError, match="have another shape"):
        load_encoder(path, replace(other, levels=[[1, 8], [2, 16], [4, 32], [8, 64]]))


def test_an_unknown_epoch_names_those_there_are(tmp_path):
    saved(tmp_path, epoch=1)
    saved(tmp_path, epoch=20)
    with pytest.raises(InputError, match=r"epoch 5 in .* holds the epochs 1, 20"):
        find_checkpoint(tmp_path, 5)
