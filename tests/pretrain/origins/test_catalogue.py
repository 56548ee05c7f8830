"""An entry of the catalogue becomes checkpoints from the file that the user put in place; what is missing is named."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pretrain.catalogue.published import prefixed

from medtransfer import study
from medtransfer.config import Params
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.initialise import initialise
from medtransfer.errors import InputError
from medtransfer.records import CheckpointInfo

SMALL = {"build": "resnet50", "layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stochastic_depth": 0.0}


def origin(**changed: Any) -> dict[str, Any]:
    return {"kind": "catalogue", "id": "swav", "folder": "weights", "epoch": None, "pickle": True, **changed}


@pytest.fixture
def catalogue_params(tiny_params: Callable[..., Params]) -> Callable[..., Params]:
    def make(**changed: Any) -> Params:
        return tiny_params({
            "pretrain.encoders.small": SMALL, "pretrain.encoder": "small", "pretrain.origin": "swav",
            "pretrain.origins.swav": origin(**changed),
        })  # fmt: skip

    return make


@pytest.fixture
def published(workplace: Path) -> Path:
    """Put a file of SwAV's names, for a small ResNet, where the origin looks."""
    encoder = build_encoder(SMALL["build"], **{key: value for key, value in SMALL.items() if key != "build"})
    initialise(encoder, 77)
    state = {name.removeprefix(encoder.prefix): tensor for name, tensor in encoder.state_dict().items()}
    (workplace / "weights").mkdir()
    torch.save(prefixed("module.", "module.prototypes.weight")(state), workplace / "weights" / "swav.pth.tar")
    return workplace / "weights" / "swav.pth.tar"


def test_a_published_file_becomes_checkpoints_with_its_contract_and_licence(
    published: Path, catalogue_params: Callable[..., Params]
):
    folder = study.pretrain(catalogue_params())
    info = CheckpointInfo.read(folder / "epoch-800.json")
    assert (info.kind, info.source, info.licence, info.input["mean"]) == (
        "catalogue",
        "imagenet",
        "CC-BY-NC-4.0",
        [0.485, 0.456, 0.406],
    )
    assert re.match(r"swav\.pth\.tar [0-9a-f]{64}", info.lineage[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"id": "moon"}, "expected the id of a published initialisation, one of supervised, .*, but got 'moon'"),
        ({"id": "moco-v2"}, r"weights/moco-v2\.pth .*but got none; moco-v2 is published at https://.*, licence: CC-BY-NC-4\.0"),
        ({"pickle": False}, r"swav\.pth\.tar is a pickle, which is read only on request"),
        ({"id": "byol", "folder": "other"}, r"expected the published file of byol .*but got one of which 0 of 85 encoder tensors"),
    ],
)
def test_what_is_missing_is_named(
    published: Path, catalogue_params: Callable[..., Params], changed: dict[str, Any], message: str, workplace: Path
):
    (workplace / "other").mkdir()
    (workplace / "other" / "byol.pth").write_bytes(published.read_bytes())
    with pytest.raises(InputError, match=message):
        study.pretrain(catalogue_params(**changed))


def test_two_files_of_an_entry_are_refused(published: Path, catalogue_params: Callable[..., Params]):
    (published.parent / "swav").mkdir()
    (published.parent / "swav" / "again.pth").write_bytes(published.read_bytes())
    with pytest.raises(InputError, match=r"expected one weights file .*, but got 2 files \(weights/swav\.pth\.tar, "):
        study.pretrain(catalogue_params())
