"""A checkpoint pair alone rebuilds its encoder; a pair that was tampered with is refused."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.tiny_encoders import TINIEST

from medtransfer.encoders.build import ENCODERS, build_encoder
from medtransfer.encoders.classifier import Classifier
from medtransfer.encoders.freezing import state_hash
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.records import CheckpointInfo, read_tensors, write_tensors
from medtransfer.training.checkpoints import find_checkpoint, load_encoder, save_checkpoint


def saved(folder: Path, name: str = "unet", epoch: int = 5) -> Classifier:
    classifier = Classifier(build_encoder(name, **TINIEST[name]), 3)
    initialise(classifier, 11)
    contract = {"size": 32, "mean": [0.5] * 3, "std": [0.2] * 3, "channels": "RGB"}
    save_checkpoint(folder, classifier, {
        "encoder": name, "build": name, "arguments": classifier.encoder.arguments, "epoch": epoch, "source": "s",
        "source_classes": ["a", "b", "c"], "origin": "simple", "source_accuracy": 0.25, "input": contract, "seed": 11,
        "pretraining": "p", "parent": None, "git_revision": "none",
    })  # fmt: skip
    return classifier


@pytest.mark.parametrize("name", ENCODERS)
def test_the_pair_alone_rebuilds_the_encoder(name: str, tmp_path: Path):
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


def test_the_record_describes_the_weights(tmp_path: Path):
    saved(tmp_path)
    info = CheckpointInfo.read(tmp_path / "epoch-005.json")
    assert (info.epoch, info.source_accuracy, info.source_classes) == (5, 0.25, ["a", "b", "c"])
    assert info.weights == file_sha256(tmp_path / "epoch-005.safetensors")
    names = read_tensors(tmp_path / "epoch-005.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"encoder", "head"}


def test_tampered_weights_are_refused(tmp_path: Path):
    saved(tmp_path)
    weights = tmp_path / "epoch-005.safetensors"
    tensors = read_tensors(weights)
    tensors["encoder.stem.0.weight"][0] += 1e-3
    write_tensors(weights, tensors)
    with pytest.raises(InputError, match=r"epoch-005\.safetensors, but the file differs"):
        load_encoder(*find_checkpoint(tmp_path, 5))


@pytest.mark.parametrize("kept", [0, 50, -8])
def test_truncated_weights_are_refused(kept: int, tmp_path: Path):
    saved(tmp_path)
    weights = tmp_path / "epoch-005.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(InputError, match="cannot be read"):
        load_encoder(*find_checkpoint(tmp_path, 5))


def test_missing_weights_are_refused(tmp_path: Path):
    saved(tmp_path)
    (tmp_path / "epoch-005.safetensors").unlink()
    with pytest.raises(InputError, match=r"epoch-005\.safetensors"):
        load_encoder(*find_checkpoint(tmp_path, 5))


def test_another_architecture_is_refused(tmp_path: Path):
    saved(tmp_path)
    path, info = find_checkpoint(tmp_path, 5)
    other = CheckpointInfo(**{**vars(info), "arguments": {"width": 8, "depth": 3}})
    with pytest.raises(InputError, match="have another shape"):
        load_encoder(path, other)


def test_an_unknown_epoch_names_those_there_are(tmp_path: Path):
    saved(tmp_path, epoch=1)
    saved(tmp_path, epoch=20)
    with pytest.raises(InputError, match=r"epoch 5 in .* holds the epochs 1, 20"):
        find_checkpoint(tmp_path, 5)


def test_a_folder_without_checkpoints_is_an_input_error(tmp_path: Path):
    with pytest.raises(InputError, match="there are none"):
        find_checkpoint(tmp_path / "nowhere", 0)
