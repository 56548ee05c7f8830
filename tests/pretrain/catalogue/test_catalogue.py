"""Every published file, by its names and shapes, is read whole by its entry, by one layout, and by no other kind of entry."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from medtransfer.cli import cli
from medtransfer.encoders.build import build_encoder
from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.weights_file import read_weights
from medtransfer.errors import InputError
from medtransfer.pretrain.catalogue.entries import catalogue
from medtransfer.pretrain.catalogue.translation import translate

from .published import PUBLISHED, numbered

RESNET50 = {"layers": [3, 4, 6, 3], "channels": [64, 128, 256, 512], "stochastic_depth": 0.0}


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    """Build the architectures without memory for their weights."""
    with torch.device("meta"):
        resnet, vit = build_encoder("resnet50", **RESNET50), build_encoder("timm", name="vit_small_patch8_224")
    return {"resnet50": resnet, "vit_small_patch8_224": vit}


def state_of(encoder: Encoder) -> dict[str, Tensor]:
    return numbered({name.removeprefix(encoder.prefix): tensor for name, tensor in encoder.state_dict().items()})


def written(value: Any, folder: Path) -> dict[str, Tensor]:
    """Write a file as it is published, and read it as an import does; expanded tensors take no room."""
    torch.save(value, folder / "published.pth")
    return read_weights(folder / "published.pth", allow_pickle=True)


CASES = [(name, number) for name, makers in PUBLISHED.items() for number in range(len(makers))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_published_file_is_read_whole(name: str, number: int, encoders: dict[str, Encoder], tmp_path: Path):
    entry = catalogue()[name]
    encoder = encoders[entry.architecture]
    state = state_of(encoder)
    found = translate(name, entry, encoder, written(PUBLISHED[name][number](state), tmp_path))
    head = found.keys() - state.keys()
    assert head <= {"fc.weight", "fc.bias"} and state.keys() <= found.keys()
    assert bool(head) == (name == "supervised" or name.startswith("inat2021"))  # classifiers of one label per image
    assert not (head and entry.without_head)
    assert all(found[key].shape == tensor.shape for key, tensor in state.items())
    assert all(found[key].flatten()[0] == tensor.flatten()[0] for key, tensor in state.items())


def test_every_entry_with_a_layout_is_tested_on_each_of_them():
    assert {name: len(entry.layouts) for name, entry in catalogue().items() if entry.layouts} == {
        name: len(makers) for name, makers in PUBLISHED.items()
    }


def test_no_file_is_taken_for_one_of_another_layout(encoders: dict[str, Encoder], tmp_path: Path):
    """Of all layouts that differ, exactly the file's own passes."""
    entries = {name: entry for name, entry in catalogue().items() if entry.layouts and entry.architecture == "resnet50"}
    state = state_of(encoders["resnet50"])
    for name, number in (case for case in CASES if case[0] in entries):
        tensors, own = written(PUBLISHED[name][number](state), tmp_path), entries[name].layouts[number]
        passing = []
        for entry in entries.values():
            for layout in entry.layouts:
                alone = entry.model_copy(update={"layouts": [layout]})
                try:
                    translate(name, alone, encoders["resnet50"], tensors)
                except InputError:
                    continue
                passing.append((layout.strip, layout.rule, layout.kernels))
        assert set(passing) == {(own.strip, own.rule, own.kernels)}, name


def test_a_foreign_file_is_refused_with_what_was_found(encoders: dict[str, Encoder]):
    tensors = {f"net.{name}": tensor for name, tensor in state_of(encoders["resnet50"]).items()}
    with pytest.raises(InputError, match=r"expected the published file of moco-v2 \(https.*0 of 265 encoder tensors .* kind file"):
        translate("moco-v2", catalogue()["moco-v2"], encoders["resnet50"], tensors)


def test_models_of_timm_are_known_to_timm():
    import timm

    assert {name for name, entry in catalogue().items() if not entry.layouts} <= set(timm.list_pretrained())


def test_the_catalogue_is_listed():
    listed = CliRunner().invoke(cli, ["catalogue"]).output
    assert all(f"\n| {name} " in listed for name in catalogue())
    entries = json.loads(CliRunner().invoke(cli, ["catalogue", "--json"]).output)
    assert entries["swav"]["licence"] == "CC-BY-NC-4.0" and entries["simclr-v1"]["normalisation"] == "none"
