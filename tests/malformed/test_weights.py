"""An origin with a broken or hostile weights file is refused in one sentence, and nothing in the file is executed."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tests.malformed.damage import OBJECTS, Canary, Row, apply, saved

pytestmark = pytest.mark.long

NAMES = ("weights.safetensors", "weights.pt", "weights.pth")
ANY = ("empty", "half", "head", "last byte", "zeros", "noise", "text", "folder", "loop", "pipe")


class Shell:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return eval, ("__import__('os').system('touch canary')",)


def good(path: Path) -> dict[str, torch.Tensor]:
    """Return the encoder's tensors of the stock's checkpoint."""
    found = load_file(path.parent / "checkpoints/unet-simple/epoch-001.safetensors")
    return {name.removeprefix("encoder."): one for name, one in found.items() if name.startswith("encoder.")}


def write(path: Path) -> None:
    """Write good weights in the form that the name says."""
    save_file(good(path), path) if path.suffix == ".safetensors" else torch.save(good(path), path)


def damaged(kind: str) -> Callable[[Path], object]:
    return lambda path: (write(path), apply(kind, path))


def packed(value: Callable[[Path], Any], **options: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(value(path), path, **options)


def zipped() -> bytes:
    np.savez(held := io.BytesIO(), allow_pickle=True, a=OBJECTS)
    return held.getvalue()


def with_tensors(**more: Any) -> Callable[[Path], Any]:
    return lambda path: {**good(path), **more}


def bomb(path: Path) -> None:
    """Write an archive of PyTorch's form whose storage unpacks to 1 GB."""
    torch.save({"stem": torch.zeros(2)}, held := io.BytesIO())
    with zipfile.ZipFile(held) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            if not member.filename.endswith("data/0"):
                new.writestr(member.filename, old.read(member))
            else:
                with new.open(member.filename, "w") as file:
                    for _ in range(16):
                        file.write(bytes(2**22))


def stretched(path: Path) -> dict[str, torch.Tensor]:
    """Return tensors that claim 4 TB by repeating one number."""
    return {name: torch.zeros(1).expand(2**20, 2**20) for name in good(path)}


SPARSE, META = torch.eye(3).to_sparse(), torch.empty(3, device="meta")
FORMAT_ROWS: list[Row] = [
    *((f"{name}: {kind}", name, damaged(kind), name) for name in NAMES[:2] for kind in ANY),
    ("a pickle in a .safetensors", NAMES[0], pickle.dumps(Canary()), NAMES[0]),
    ("an archive of PyTorch in a .safetensors", NAMES[0], packed(with_tensors(hidden=Canary())), NAMES[0]),
    ("an array of objects in a .safetensors", NAMES[0], saved(OBJECTS), NAMES[0]),
    ("an array of objects in a .npy", "weights.npy", saved(OBJECTS), "weights.npy"),
    ("objects in a .npz", "weights.npz", zipped(), "weights.npz"),
    ("a pickle in a .pkl", "weights.pkl", pickle.dumps(Canary()), "weights.pkl"),
    ("a pickle without a suffix", "weights", pickle.dumps(Canary()), "weights"),
    ("another model's tensors", NAMES[0], lambda path: save_file({"stem.0.weight": torch.zeros(5)}, path), NAMES[0]),
    ("a file that is not there", "none.safetensors", lambda path: None, "none.safetensors"),
    ("no tensor of the encoder", NAMES[0], lambda path: save_file({"what": torch.zeros(5)}, path), NAMES[0]),
    ("a tensor too many", NAMES[0], lambda path: save_file(with_tensors(more=torch.zeros(5))(path), path), NAMES[0], "more"),
    ("weights of zeros and NaN", NAMES[0], lambda path: save_file({k: v * np.nan if v.is_floating_point() else v
                                                                  for k, v in good(path).items()}, path), NAMES[0], "NaN"),
]  # fmt: skip
PICKLE_ROWS: list[Row] = [
    ("a pickle that opens a file", NAMES[1], pickle.dumps(Canary()), NAMES[1]),
    ("a pickle that runs a command", NAMES[2], pickle.dumps(Shell()), NAMES[2]),
    ("a pickle of protocol 5", NAMES[1], pickle.dumps(Shell(), 5), NAMES[1]),
    ("a state dict with a canary", NAMES[1], packed(with_tensors(hidden=Canary())), NAMES[1]),
    ("a state dict with a shell", NAMES[2], packed(with_tensors(hidden=Shell())), NAMES[2]),
    ("the same of the old form", NAMES[1], packed(with_tensors(hidden=Shell()), _use_new_zipfile_serialization=False), NAMES[1]),
    ("a canary for a key", NAMES[1], packed(lambda path: {Canary(): torch.zeros(3)}), NAMES[1]),
    ("a whole module", NAMES[1], packed(lambda path: torch.nn.Linear(2, 2)), NAMES[1]),
    ("an array of objects in a .pt", NAMES[1], saved(OBJECTS), NAMES[1]),
    ("a list", NAMES[1], packed(lambda path: [torch.zeros(3)]), NAMES[1]),
    ("an empty state dict", NAMES[1], packed(lambda path: {}), NAMES[1]),
    ("numbers among the tensors", NAMES[1], packed(with_tensors(epoch=5)), NAMES[1], "epoch"),
    ("a sparse tensor", NAMES[1], packed(with_tensors(sparse=SPARSE)), NAMES[1], "sparse"),
    ("a tensor without content", NAMES[1], packed(with_tensors(meta=META)), NAMES[1], "meta"),
    ("tensors that claim 4 TB", NAMES[1], packed(stretched), NAMES[1]),
    ("a bomb", NAMES[1], bomb, NAMES[1], "claims"),
]  # fmt: skip
ROWS = FORMAT_ROWS + PICKLE_ROWS


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_is_refused(row: Row, allowed: bool, refused: Callable[..., str], place: Path) -> None:
    _, name, damage, *words = row
    path = place / name
    apply(damage, path)
    origin = {"kind": "file", "weights": name, "epoch": 300, "source": "imagenet", "pickle": allowed, "allow_partial": False,
              "prefix": None,
              "input": None}  # fmt: skip
    (place / "mine.yaml").write_text(yaml.safe_dump({"pretrain": {"origin": "mine", "origins": {"mine": origin}}}))
    command = "pretrain --out sources --seed 77 --params mine.yaml"
    sentence = refused(command, name, lambda path: None, *(words if allowed else words[:1]))
    assert not (place / "canary").exists()
    if not allowed and path.suffix in (".pt", ".pth") and path.is_file():
        assert "is a pickle" in sentence


@pytest.mark.parametrize("name", NAMES)
def test_the_canary_would_sing(name: str, place: Path) -> None:
    (place / name).write_bytes(pickle.dumps(Canary()))
    pickle.loads((place / name).read_bytes())
    assert (place / "canary").exists()
