"""Scenarios of transfer: what of a checkpoint a fine-tuning starts from, to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.label_targets import relabel

from medtransfer import study
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.finetune.stage import _prepare, run
from medtransfer.finetune.train import build_model
from medtransfer.predict.model import load_model
from medtransfer.records import CellName, PreparedTarget, read_tensors

pytestmark = pytest.mark.long

CHECKPOINTS, PREPARED = Path("checkpoints"), Path("data/prepared")
Bits = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def inputs(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    """Pretrain U-Net by reconstruction, whose decoder is saved, and by classification."""
    study.prepare(tiny_params())
    for origin in ("reconstruction", "simple"):
        study.pretrain(tiny_params({"pretrain.origin": origin, "pretrain.epochs": 1, "pretrain.checkpoints": []}))
    return shared_workplace


@pytest.fixture
def start(inputs: Path, tiny_params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bits]:
    """Return `start(mode, origin, epoch, seed)`: the weights before the first step."""
    monkeypatch.chdir(inputs)

    def call(mode: str, origin: str = "reconstruction", epoch: int = 1, seed: int = 7, **values: Any) -> Bits:
        section = tiny_params({f"finetune.{name}": value for name, value in values.items()}).finetune
        (tuning,) = _prepare(section, [CellName("sample", "unet", origin, epoch, mode, seed)], CHECKPOINTS, PREPARED)
        return dict(build_model(tuning).state_dict())

    return call


def alike(first: Bits, second: Bits, prefix: str) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items() if name.startswith(prefix))


def test_encoder_and_decoder_start_from_the_checkpoint_and_the_outputs_from_the_seed(start: Callable[..., Bits]) -> None:
    """`seg-enc` is the mode full: both scenarios have the same encoder and the same new layer of the outputs."""
    stored = read_tensors(CHECKPOINTS / "unet-reconstruction/epoch-001.safetensors")
    both, encoder = start("seg-enc-dec"), start("full")
    assert alike(both, encoder, "encoder.") and alike(both, stored, "encoder.")
    assert alike(both, encoder, "decoder.head.") and both["decoder.head.weight"].shape != stored["decoder.head.weight"].shape
    blocks = {name: value for name, value in both.items() if name.startswith("decoder.") and "head" not in name}
    assert blocks and all(torch.equal(value, stored[name]) for name, value in blocks.items())
    assert not alike(blocks, encoder, "decoder.")
    other = start("seg-enc-dec", seed=8)
    assert alike(blocks, other, "decoder.") and not alike(both, other, "decoder.head.")


def test_equal_encoders_start_from_equal_bits_whatever_else_their_checkpoint_holds(start: Callable[..., Bits]) -> None:
    """Epoch 0 of both pretrainings is the same encoder, by the seed; the decoder is new in the mode full."""
    first, second = start("full", "simple", epoch=0), start("full", "reconstruction", epoch=0)
    assert first.keys() == second.keys() and alike(first, second, "")


def test_the_model_is_trained_stored_and_loaded_as_a_whole(
    start: Callable[..., Bits], tiny_params: Callable[..., Params]
) -> None:  # fmt: skip
    before = start("seg-enc-dec")
    cell = CellName("sample", "unet", "reconstruction", 1, "seg-enc-dec", 7)
    run(tiny_params().finetune, [cell], CHECKPOINTS, PREPARED)
    after = load_model(cell.folder(Path("models")), accelerator="cpu").network.state_dict()
    assert after.keys() == before.keys()
    for part in ("encoder.", "decoder."):
        assert not alike(before, after, part)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"origin": "simple"}, "a checkpoint with a decoder, but .* holds encoder, head alone"),
        ({"decoder": "attention"}, "the layers of the decoder attention in .*, but those of its decoder are others"),
    ],
)
def test_a_checkpoint_without_such_a_decoder_is_refused(changed: dict[str, str], message: str, start: Callable[..., Bits]) -> None:
    with pytest.raises(InputError, match=message):
        start("seg-enc-dec", **changed)


def test_a_target_of_labels_has_no_use_for_a_decoder(inputs: Path, tiny_params: Callable[..., Params], start: object) -> None:
    relabel(PreparedTarget.open(PREPARED / "sample"), "binary", PREPARED / "binary")
    with pytest.raises(InputError, match=r"a target with masks for the mode seg-enc-dec, .* is for binary; take the mode full"):
        run(tiny_params().finetune, [CellName("binary", "unet", "reconstruction", 1, "seg-enc-dec", 7)], CHECKPOINTS, PREPARED)
