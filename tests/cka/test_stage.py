"""Whole comparisons of tiny encoders: their values by formula, what is written, resumed and refused."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medtransfer import study, tracking
from medtransfer.cka import measurement
from medtransfer.cka.measurement import split_evenly
from medtransfer.cka.stage import run
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.metrics.cka import MinibatchCKA
from medtransfer.records import CheckpointInfo, PreparedTarget, checkpoint_path
from medtransfer.records.similarity import Similarity
from medtransfer.training.checkpoints import load_encoder

pytestmark = pytest.mark.long

CHOSEN = {"pretrain.epochs": 2, "pretrain.checkpoints": [1]}
FIRST, LAST = "checkpoints/unet-simple/epoch-000.json", "checkpoints/unet-simple/epoch-002.json"
RESNET = "random@test_resnet"


@pytest.fixture(scope="module")
def pretrained(shared_workplace: Path, tiny_params: Callable[..., Params]) -> Path:
    study.prepare(tiny_params(CHOSEN))
    study.pretrain(tiny_params(CHOSEN))
    return shared_workplace


@pytest.fixture
def compared(pretrained: Path, tmp_path: Path, tiny_params: Callable[..., Params]) -> Callable[..., str]:
    """Return a function that compares encoders below a folder of the test's own."""

    def compare(*candidates: str, params: dict[str, object] | None = None, **changed: object) -> str:
        changed = {"target": "sample", **changed}
        given = {f"cka.{key}": value for key, value in changed.items()} | (params or {})
        return run(tiny_params({**CHOSEN, "cka.out": str(tmp_path / "cka"), "cka.candidates": list(candidates), **given}))

    return compare


def found(folder: Path) -> Similarity:
    return Similarity.read(folder / "cka/cka.json")


def table(folder: Path) -> dict[tuple[str, str, str, str], float]:
    with (folder / "cka/cka.csv").open(encoding="utf-8") as file:
        keys = ("first_encoder", "first_level", "second_encoder", "second_level")
        return {tuple(row[key] for key in keys): float(row["cka"]) for row in csv.DictReader(file)}  # type: ignore[misc]


def features(record: str, pooled: bool) -> list[np.ndarray]:
    """Encode the training images in the order of the file, and return the features of each level."""
    info = CheckpointInfo.read(Path(record))
    target = PreparedTarget.open(Path("data/prepared/sample"))
    pixels = np.stack([target.images[row] for row in target.samples("train")["row"]])[..., 0]  # (N, H, W)
    mean, std = (torch.tensor(info.input[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = (torch.from_numpy(pixels).float()[:, None].expand(-1, 3, -1, -1) / 255 - mean) / std
    with torch.no_grad():
        maps = load_encoder(Path(record), info).eval()(images)
    return [(m.mean(dim=(2, 3)) if pooled else m.flatten(1)).double().numpy() for m in maps]


def unbiased(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the unbiased estimate of HSIC from kernels (Song et al., 2012, Eq. 5)."""
    n, one = len(x), np.ones(len(x))
    k, m = (z @ z.T * (1 - np.eye(n)) for z in (x - x.mean(0), y - y.mean(0)))
    mixed = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 * (one @ k @ m @ one) / (n - 2)
    return float(mixed / (n * (n - 3)))


def linear(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum(((x - x.mean(0)) @ (x - x.mean(0)).T) * ((y - y.mean(0)) @ (y - y.mean(0)).T)))


@pytest.mark.parametrize(("estimate", "kind"), [("unbiased", "flat"), ("linear", "flat"), ("linear", "pooled")])
def test_values_are_those_of_the_formula_on_the_training_images(estimate, kind, compared, tmp_path):
    batch = 1000 if estimate == "unbiased" else 5
    text = compared(FIRST, LAST, estimate=estimate, features=kind, batch_size=batch)
    sides = [features(record, kind == "pooled") for record in (FIRST, LAST)]
    of = {"unbiased": unbiased, "linear": linear}[estimate]
    expected = [[of(x, y) / np.sqrt(of(x, x) * of(y, y)) for y in sides[1]] for x in sides[0]]
    similarity = found(tmp_path)
    assert similarity.between(0, 1) == pytest.approx(np.array(expected), abs=2e-5)  # of float32 features
    assert similarity.images == similarity.batch == len(sides[0][0])
    assert similarity.matrix == pytest.approx(similarity.matrix.T, abs=1e-12)
    assert np.diagonal(similarity.matrix) == pytest.approx(1, abs=1e-12)
    count = len(expected)
    values = table(tmp_path)
    assert len(values) == 2 * count * (2 * count - 1) / 2
    assert values["unet-simple e000 (random)", "-1", "unet-simple e002", "-2"] == pytest.approx(expected[-1][-2], abs=2e-5)
    assert f"{similarity.images} images of the split train of sample" in text and f"{similarity.between(0, 1)[0, 0]:.3f}" in text
    (stored,) = (run for run in tracking.read_runs("cka") if run.params["estimate"] == estimate and run.params["features"] == kind)
    assert stored.metrics["cka_level_1"] == pytest.approx(expected[-1][-1], abs=2e-5)
    with tracking.artifact_folder(stored.id, stored.tags["similarity"]) as file:
        assert Similarity.read(file) == similarity


def test_minibatches_are_equal_and_the_ratio_is_of_their_means(compared, tmp_path, monkeypatch):
    batches = []
    real = MinibatchCKA.update
    monkeypatch.setattr(MinibatchCKA, "update", lambda self, *sets: (batches.append(sets), real(self, *sets))[1])
    compared(FIRST, LAST, batch_size=5)
    total = len(PreparedTarget.open(Path("data/prepared/sample")).samples("train"))
    count, size = split_evenly(total, 5)
    assert [len(sets[0]) for sets in batches] == [size] * count and 4 <= size <= 5
    own, other, both = (np.mean([unbiased(sets[a], sets[b]) for sets in batches]) for a, b in ((0, 0), (-1, -1), (0, -1)))
    assert found(tmp_path).matrix[0, -1] == pytest.approx(both / np.sqrt(own * other), abs=1e-6)
    assert (found(tmp_path).images, found(tmp_path).batch) == (count * size, size)
    seen = {tuple(row.tobytes() for row in sets[0]) for sets in batches}
    assert len({row for rows in seen for row in rows}) == count * size  # every image once


def test_equal_batches_leave_out_fewest_images():
    for count in range(4, 200):
        for most in (4, 5, 32):
            number, size = split_evenly(count, most)
            assert 4 <= size <= max(4, most) and 0 <= count - number * size < max(4, -(-count // most)), (count, most)
    assert split_evenly(120, 32) == (4, 30) and split_evenly(33, 32) == (2, 16) and split_evenly(20, 32) == (1, 20)


def test_several_encoders_are_shown_at_one_level_and_in_pairs(compared, tmp_path):
    shutil.copytree("checkpoints/unet-simple", tmp_path / "unet-copy")
    copy = str(checkpoint_path(tmp_path / "unet-copy", 2))
    text = compared(LAST, copy, RESNET, level=-2, batch_size=8)
    similarity = found(tmp_path)
    names = ["unet-simple e002", "unet-copy e002", RESNET]
    assert similarity.encoders == names and len(similarity.levels[2]) == 5
    assert similarity.at(-2)[0, 1] == pytest.approx(1, abs=1e-9) and similarity.at(-2)[0, 2] < 0.9
    assert similarity.between(0, 1) == pytest.approx(similarity.between(0, 0), abs=1e-9)
    assert "Every encoder at level -2." in text and "| 3 random@test_resnet |" in text
    pictures = sorted((tmp_path / "cka/pairs").iterdir())
    assert [file.name[:3] for file in pictures] == ["000", "001", "002"]
    for file in (*pictures, tmp_path / "cka/cka.png"):
        assert min(Image.open(file).size) > 200
    compared(LAST, RESNET, batch_size=8)
    assert not (tmp_path / "cka/pairs").exists()  # they were of another comparison


def test_what_is_compared_already_is_reused_and_made_again_alike(compared, tmp_path, monkeypatch):
    compared(FIRST, LAST, RESNET, batch_size=8)
    files = {path: path.read_bytes() for path in (tmp_path / "cka").rglob("*") if path.suffix in {".csv", ".json", ".png"}}
    count = len(tracking.read_runs("cka"))
    with monkeypatch.context() as patch:
        patch.setattr("medtransfer.cka.measurement.measure", lambda *a: pytest.fail("it was measured again"))
        compared(FIRST, LAST, RESNET, batch_size=8)
        assert len(tracking.read_runs("cka")) == count
        compared(FIRST, LAST, RESNET, batch_size=8, level=-2)  # another picture of the same values
    assert len(tracking.read_runs("cka")) == count + 1
    shutil.rmtree(tmp_path / "cka")
    with monkeypatch.context() as patch:
        calls = iter(range(9))
        real = MinibatchCKA.update
        patch.setattr(MinibatchCKA, "update", lambda *a: real(*a) if next(calls) < 1 else (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compared(FIRST, LAST, RESNET, batch_size=8)
    assert not (tmp_path / "cka/cka.json").exists()
    compared(FIRST, LAST, RESNET, batch_size=8)
    assert {path: path.read_bytes() for path in files} == files
    assert len(tracking.read_runs("cka")) == count + 1
    record = tmp_path / "cka/cka.json"
    for changed in (b"{", files[record].replace(b"1.0", b"0.5", 1)):
        assert changed != files[record]
        record.write_bytes(changed)
        compared(FIRST, LAST, RESNET, batch_size=8)
        assert record.read_bytes() == files[record]


def test_an_encoder_of_other_sizes_sees_the_same_images_resized(compared, tmp_path, caplog, tiny_params):
    params = {"prepare.targets.sample.size": [40, 40], "prepare.out": str(tmp_path / "prepared")}
    study.prepare(tiny_params({**CHOSEN, **params}))
    with caplog.at_level("INFO"):
        compared(LAST, RESNET, params=params, batch_size=8)
    sizes = [line.rpartition("; sees ")[2] for line in caplog.messages if "; sees " in line]
    assert sizes == ["40x40 px", "32x32 px"]  # strides of up to 8 and 32
    assert np.isfinite(found(tmp_path).matrix).all()


@pytest.mark.parametrize(
    ("candidates", "changed", "message"),
    [
        ([LAST], {}, "expected at least two encoders to compare.*but got unet-simple e002 alone"),
        ([LAST, LAST], {}, "expected at least two encoders"),
        ([LAST, RESNET], {"level": -5}, r"expected a level from -1 to -\d for unet-simple e002, but got -5; set cka.level"),
        ([LAST, "none.pth"], {}, "expected a candidate as"),
        ([LAST, RESNET], {"params": {"score.split": "validation"}}, "validation"),
        ([LAST, RESNET], {"target": "sun"}, "sun"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(candidates, changed, message, compared, tmp_path):
    with pytest.raises(InputError, match=message):
        compared(*candidates, **changed)
    assert not (tmp_path / "cka/cka.json").exists()


def test_too_few_images_are_refused(compared, monkeypatch):
    real = PreparedTarget.samples
    monkeypatch.setattr(PreparedTarget, "samples", lambda self, split: real(self, split).iloc[:3])
    with pytest.raises(InputError, match="expected at least 4 images of the split 'train' in .*, but got 3; set score.split"):
        compared(LAST, RESNET)


def test_features_that_are_not_finite_are_refused(compared, monkeypatch):
    real = measurement.load

    def broken(candidate, *more):
        loaded = real(candidate, *more)
        if candidate.name == RESNET:
            list(loaded.encoder.parameters())[-1].data.fill_(float("nan"))
        return loaded

    monkeypatch.setattr(measurement, "load", broken)
    with pytest.raises(InputError, match="expected finite features of random@test_resnet, but some of level -1 are NaN"):
        compared(LAST, RESNET)


def test_linear_cka_of_features_that_do_not_fit_into_memory_is_refused(compared, monkeypatch):
    monkeypatch.setattr(measurement, "MOST_BYTES", 2**20)
    with pytest.raises(InputError, match="for cka.estimate: linear, but .* set cka.features: pooled"):
        compared(LAST, RESNET, estimate="linear")
    compared(LAST, RESNET, estimate="linear", features="pooled")


def test_a_record_of_other_sizes_is_refused(compared, tmp_path):
    compared(FIRST, LAST, batch_size=8)
    path = tmp_path / "cka/cka.json"
    record = json.loads(path.read_text())
    for wrong in (
        {"values": record["values"][1:]},
        {"levels": record["levels"][1:]},
        {"values": [row[1:] for row in record["values"]]},
    ):
        path.write_text(json.dumps(record | wrong))
        with pytest.raises(InputError, match="expected values of every two of"):
            Similarity.read(path)
