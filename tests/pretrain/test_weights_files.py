"""A series of somebody else's checkpoints: epochs from the names of files, and names that are odd."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from medtransfer import study, tracking
from medtransfer.config import Pretrain
from medtransfer.config.schema import SeriesOrigin
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.pretrain.weights_files import list_weights
from medtransfer.records import find_checkpoint, list_checkpoints
from medtransfer.training.checkpoints import load_encoder

TINY = {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32]}
COMMON = {"kind": "series", "source": "imagenet", "pickle": True, "allow_partial": False, "prefix": None, "input": None, "first": 1}


def listed(folder: Path, names: list[str], **changed: Any) -> dict[int, str]:
    """Return the names of files by epoch."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    entry = SeriesOrigin(**COMMON | {"weights": str(folder), "epoch": r"(\d+)"} | changed)
    section = Pretrain.model_construct(origin="theirs", origins={"theirs": entry})
    return {epoch: path.relative_to(folder).as_posix() for epoch, path in list_weights(section).items()}


@pytest.mark.parametrize(
    ("names", "changed", "epochs"),
    [
        (["e10.pth", "e2.pth", "notes.txt", ".e3.pth", "last.pth"], {}, {2: "e2.pth", 10: "e10.pth"}),
        (["checkpoint_0.pt", "checkpoint_9.pt"], {"first": 0}, {1: "checkpoint_0.pt", 10: "checkpoint_9.pt"}),
        (["epoch=03-step=900.ckpt"], {"epoch": r"epoch=(\d+)"}, {3: "epoch=03-step=900.ckpt"}),
        (["20/model.safetensors", "100/model.safetensors"], {}, {20: "20/model.safetensors", 100: "100/model.safetensors"}),
        (["vit_ep100.pth.tar", "optim_ep100.pth.tar"], {"epoch": r"vit_ep(\d+)"}, {100: "vit_ep100.pth.tar"}),
    ],
)
def test_epochs_are_read_from_names(names: list[str], changed: dict[str, Any], epochs: dict[int, str], tmp_path: Path) -> None:
    assert listed(tmp_path / "run7", names, **changed) == epochs  # the number in the folder's own name does not count


def test_a_glob_chooses_files(tmp_path: Path) -> None:
    names = ["a/ep1.pth", "a/ep2.pth", "b/ep1.pth"]
    assert listed(tmp_path, names, weights=f"{tmp_path}/a/*.pth") == {1: "a/ep1.pth", 2: "a/ep2.pth"}
    assert listed(tmp_path, names, weights=f"{tmp_path}/**/ep2.*") == {2: "a/ep2.pth"}


@pytest.mark.parametrize(
    ("names", "changed", "message"),
    [
        (["ep1.pth", "ep01.pt"], {}, "one file per epoch in .*, but ep01.pt and ep1.pth both have 1; make .*weights a glob"),
        (["last.pth"], {}, r"an epoch by '\(\\\\d\+\)', but none of the 1 in .* has, such as last.pth; correct .*theirs.epoch"),
        (["ep0.pth"], {}, "epochs from 1 on in .*, but ep0.pth has 0, which is the random initialisation here; set .*first"),
        (["epx.pth"], {"epoch": "ep(.)"}, "to match a whole number, but got 'x' in epx.pth"),
        (["notes.txt"], {}, r"weights files \(.safetensors, .*\) by .*, but there are none"),
        ([], {}, "the folder of weights .*, which pretrain.origins.theirs names, but it does not exist"),
        (["a.pth"], {"weights": "nowhere/*.pth"}, "by nowhere/.*, but there are none"),
    ],
)
def test_odd_names_are_refused(names: list[str], changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        listed(tmp_path / "run7", names, **changed)


@pytest.mark.parametrize(
    ("epoch", "message"), [("epoch", "must have one group"), (r"(\d)(\d)", "has 2"), ("(", "regular expression")]
)
def test_an_expression_has_one_group(epoch: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=message):
        listed(tmp_path, [], epoch=epoch)


def test_a_series_becomes_one_pretraining(workplace, tiny_params, caplog):
    caplog.set_level(logging.INFO, "medtransfer")
    Path("theirs").mkdir()
    for epoch in range(1, 7):  # more than are kept in memory
        encoder = build_encoder("resnet50", **TINY)
        initialise(encoder, 100 + epoch)
        save_file({f"backbone.{name}": tensor for name, tensor in encoder.state_dict().items()}, f"theirs/ep{epoch}.safetensors")
    Path("theirs/last.safetensors").touch()
    params = tiny_params({
        "pretrain.encoder": "resnet50", "pretrain.encoders.resnet50": {"build": "resnet50", **TINY}, "pretrain.origin": "theirs",
        "pretrain.source_root": "nowhere",
        "pretrain.origins.theirs": COMMON | {"weights": "theirs", "epoch": r"ep(\d+)", "pickle": False},
    })  # fmt: skip
    folder = study.pretrain(params)
    infos = list_checkpoints(folder)
    assert list(infos) == list(range(7)) and len({info.pretraining for info in infos.values()}) == 1
    for epoch in range(1, 7):
        initialise(encoder, 100 + epoch)
        loaded = load_encoder(*find_checkpoint(folder, epoch)).state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in encoder.state_dict().items())
        assert infos[epoch].lineage[-1].startswith(f"ep{epoch}.safetensors ")
        assert infos[epoch].loaded == {"matched": 85, "total": 85}
    assert caplog.text.count("85 of 85 encoder tensors matched") == 6
    assert caplog.text.count(r"left out of theirs: 1 file without an epoch by ep(\d+), such as last.safetensors") == 1
    (run,) = tracking.read_runs("pretrain")
    assert run.params["weights_matched"] == " ".join(["85"] * 6)
    study.pretrain(params)  # is reused
    assert len(tracking.read_runs("pretrain")) == 1
