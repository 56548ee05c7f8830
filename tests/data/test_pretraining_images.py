"""Pretraining images: layout, formats, crops and seeds."""

import hashlib
import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from medtransfer import hashing
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.data.source_folders import source_fingerprint
from medtransfer.errors import InputError
from medtransfer.records import file_digests, file_states

PLAIN: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "seed": 1}
STRONG = {"ops": 2, "magnitude": 9, "scale": 30}


def save(path: Path, mode: str = "RGB", size: tuple[int, int] = (20, 16), seed: int = 0) -> None:
    """Write a smooth picture with a red left half."""
    pixels = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    pixels[:, : size[0] // 2, 0] += 180
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of two classes, three training pictures and one validation picture each, beside the working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in ("n02", "n01"):
        for number in range(3):
            save(tmp_path / "train" / name / f"{name}_{number}.JPEG", seed=number)
        save(tmp_path / "val" / name / "one.png")
    return tmp_path


def training(root: Path, randaugment: dict[str, int] | None = None, **changes: Any) -> SourceImages:
    return SourceImages(root, "train", 8, train=True, randaugment=randaugment, **{**PLAIN, **changes})


def validation(root: Path, size: int = 8, split: str = "val") -> SourceImages:
    return SourceImages(root, split, size, train=False, randaugment=None, **PLAIN)


def test_classes_and_labels_are_those_of_image_folder(root: Path) -> None:
    (root / "train" / "n01" / "notes.txt").write_text("no picture")
    save(root / "train" / "n01" / "deeper" / "x.webp")
    ours, theirs = training(root), ImageFolder(root / "train")
    assert ours.classes == theirs.classes == ["n01", "n02"]
    assert ours.labels.tolist() == theirs.targets == [0, 0, 0, 0, 1, 1, 1]
    assert [ours[index][1] for index in range(7)] == theirs.targets


def test_validation_is_the_centre_of_the_shorter_side(root: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 8:24] = (255, 51, 0)
    Image.fromarray(pixels).save(root / "val" / "n01" / "one.png")
    image, label = validation(root, 16)[0]
    assert image.shape == (16, 16, 3) and image.dtype == torch.uint8 and label == 0
    assert image[4, 4].tolist() == [255, 51, 0] and torch.equal(image.amin((0, 1)), image.amax((0, 1)))
    assert validation(root, 40)[0][0].shape == (40, 40, 3)


def test_training_crops_keep_four_fifths_and_flip_half(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:100, :200]
    ramp = np.stack([columns * 1.2, rows * 2.4, rows * 0], 2).astype(np.uint8)
    for split in ("train", "val"):
        (tmp_path / split / "c").mkdir(parents=True)
        Image.fromarray(ramp).save(tmp_path / split / "c" / "x.png")
    images = SourceImages(tmp_path, "train", 32, train=True, randaugment=None, **PLAIN)
    areas, flips = [], []
    for epoch in range(300):
        images.set_epoch(epoch)
        red, green, _ = np.moveaxis(images[0][0].numpy().astype(float), -1, 0)
        wide, tall = ((red[16, 28] - red[16, 4]) / 1.2, (green[28, 16] - green[4, 16]) / 2.4)  # 24 of 32 pixels
        flips.append(wide < 0)
        areas.append(abs(wide) / 200 * tall / 100 / (24 / 32) ** 2)
    assert 0.78 < min(areas) < 0.82 and 0.98 < max(areas) < 1.02 and abs(np.mean(areas) - 0.9) < 0.015
    assert 0.42 < np.mean(flips) < 0.58


@pytest.mark.parametrize("randaugment", [None, STRONG])
def test_seeds_epochs_and_workers(root: Path, randaugment: dict[str, int] | None) -> None:
    state = torch.get_rng_state()
    epochs: dict[int, list[torch.Tensor]] = {}
    for workers in (0, 2):
        images = training(root, randaugment)
        made = loader(images, EpochBatches(6, 4, seed=0, shuffle=False, drop_last=False), workers, pin=False)
        for epoch in (0, 1):
            images.set_epoch(epoch)
            epochs[workers * 10 + epoch] = [batch for batch, _ in made]
    for epoch in (0, 1):
        assert all(torch.equal(a, b) for a, b in zip(epochs[epoch], epochs[20 + epoch], strict=True))
    assert not torch.equal(epochs[0][0], epochs[1][0])
    assert not torch.equal(training(root, randaugment, seed=2)[0][0], epochs[0][0][0])
    assert torch.equal(torch.get_rng_state(), state)


def test_randaugment_changes_pictures_in_training_only(root: Path) -> None:
    plain, strong = training(root), training(root, randaugment=STRONG)
    assert any(not torch.equal(plain[index][0], strong[index][0]) for index in range(6))
    calm = SourceImages(root, "val", 8, train=False, randaugment=STRONG, **PLAIN)
    assert torch.equal(calm[0][0], validation(root)[0][0])


def test_pictures_are_upright(root: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn clockwise makes it upright, so that its left half is shown above
    with Image.open(root / "val" / "n01" / "one.png") as picture:
        picture.save(root / "val" / "n01" / "one.png", exif=exif)
    red = validation(root, 16)[0][0][..., 0].float()
    assert red[:7].mean() > red[9:].mean() + 100 and abs(red[:, :7].mean() - red[:, 9:].mean()) < 25


def test_other_files_and_another_name_of_the_split_are_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "train" / "n01" / "a.heic").write_bytes(b"x")
    with caplog.at_level(logging.WARNING, logger="medtransfer"):
        assert len(training(root)) == 6
    assert "1 files below" in caplog.text and ".heic (1, such as a.heic)" in caplog.text
    (root / "val").rename(root / "test")  # as CIFAR has it
    with pytest.raises(InputError, match="/val, but it is not a folder; rename .*/test to val"):
        training(root)


@pytest.mark.parametrize(("name", "named"), [("N01", True), ("n01 ", True), ("n1", False)])
def test_classes_that_differ_in_spelling_alone_are_named(
    name: str, named: bool, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("train", "val"):
        shutil.copytree(root / split / "n01", root / split / name)
    classes = training(root).classes
    validation(root)
    one, other = sorted(["n01", name])
    assert {"n01", name} < set(classes)
    expected = (
        f"{one!r} and {other!r} are two classes of {root}, though they differ in letters' case or blanks alone; if they are one"
    )
    assert [message.startswith(expected) for message in caplog.messages] == [True] * named


@pytest.mark.parametrize(
    ("magnitude", "scale", "degrees"), [(9, 30, 9.0), (9, 10, 27.0), (27, 30, 27.0), (10, 10, 30.0), (0, 30, 0.0)]
)
def test_the_scale_of_randaugment_is_that_of_its_magnitude(magnitude, scale, degrees, monkeypatch, root: Path) -> None:
    """Nine of torchvision's 30 turn by 9 degrees, nine of timm's 10 by 27: every operation drawn is made a rotation."""
    images = training(root, randaugment={"ops": 1, "magnitude": magnitude, "scale": scale})
    turned = list[float]()
    names = images._randaugment._AUGMENTATION_SPACE  # type: ignore[union-attr]
    monkeypatch.setattr(images._randaugment, "_AUGMENTATION_SPACE", {"Rotate": names["Rotate"]})
    monkeypatch.setattr("torchvision.transforms.v2.functional.rotate", lambda image, angle, **_: turned.append(abs(angle)) or image)
    images[0]
    assert turned == pytest.approx([degrees])


@pytest.mark.parametrize(("mode", "suffix"), [("L", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("1", "bmp"), ("LA", "png")])
def test_other_modes_become_rgb(root: Path, mode: str, suffix: str) -> None:
    (root / "val" / "n01" / "one.png").unlink()
    save(root / "val" / "n01" / f"one.{suffix}", mode)
    image, _ = validation(root)[0]
    assert image.shape == (8, 8, 3) and image.dtype == torch.uint8 and image.min() < image.max()
    if mode in ("L", "LA"):
        assert torch.equal(image[..., 0], image[..., 1]) and torch.equal(image[..., 0], image[..., 2])
    if mode == "CMYK":
        assert image[:, :3, 0].float().mean() > image[:, -3:, 0].float().mean() + 100


def test_the_fingerprint_covers_names_contents_and_splits(root: Path) -> None:
    first = source_fingerprint(root, "classes")
    assert first == source_fingerprint(root, "classes") and len(first) == 16
    save(root / "val" / "n01" / "two.png")
    more = source_fingerprint(root, "classes")
    (root / "val" / "n01" / "two.png").rename(root / "val" / "n01" / "three.png")
    renamed = source_fingerprint(root, "classes")
    with (root / "val" / "n01" / "three.png").open("ab") as file:
        file.write(b"0")
    assert len({first, more, renamed, source_fingerprint(root, "classes")}) == 4


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_picture_replaced_by_one_of_the_same_size_changes_the_fingerprint(root: Path, keep_times: bool) -> None:
    path = root / "train" / "n01" / "n01_0.JPEG"
    before, first = path.stat(), source_fingerprint(root, "classes")
    path.write_bytes(bytes(before.st_size))
    if keep_times:  # as `cp --preserve` and `rsync --times` do
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source_fingerprint(root, "classes") != first


def test_touched_and_copied_pictures_keep_the_fingerprint(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = source_fingerprint(root, "classes")
    for path in root.rglob("*.*"):
        path.touch()
    assert source_fingerprint(root, "classes") == first
    clone = tmp_path_factory.mktemp("clone") / "pictures"
    shutil.copytree(root, clone)
    assert source_fingerprint(clone, "classes") == first


def test_only_new_and_changed_pictures_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_states, "SETTLED", -60)
    read: list[Path] = []
    real = hashing._read_sha256
    monkeypatch.setattr(hashing, "_read_sha256", lambda path, stopped: (read.append(path), real(path, stopped))[1])
    first = source_fingerprint(root, "classes")
    assert len(read) == 8
    changed = root / "val" / "n02" / "one.png"
    changed.write_bytes(changed.read_bytes() + b"0")
    second = source_fingerprint(root, "classes")
    assert read[8:] == [changed] and second != first
    (cache,) = Path(".medtransfer/digests").glob("*.db")
    for damage in (b"", b"SQLite format 3\0 and no more", cache.read_bytes()[:5000]):
        cache.write_bytes(damage)
        assert source_fingerprint(root, "classes") == second
    assert len(read) == 9 + 3 * 8


def test_digests_that_may_not_be_kept_are_computed_each_time(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    """As those of another user's project; new ones are as others of the group may write them."""
    monkeypatch.setattr(file_states, "SETTLED", -60)
    before = os.umask(0o002)
    try:
        first = source_fingerprint(root, "classes")
    finally:
        os.umask(before)
    (cache,) = Path(".medtransfer/digests").glob("*.db")
    assert cache.stat().st_mode & 0o777 == 0o664 and "this user may not write" not in caplog.text
    changed, kept = root / "val" / "n02" / "one.png", cache.read_bytes()
    changed.write_bytes(changed.read_bytes() + b"0")
    monkeypatch.setattr(file_digests.os, "access", lambda path, mode: False)
    second = source_fingerprint(root, "classes")
    assert second != first and cache.read_bytes() == kept
    (message,) = [message for message in caplog.messages if message.startswith("this user may not write ")]
    assert message.endswith(".db, so that new pictures are read each time; let its owner allow it")


def test_progress_counts_pictures_by_the_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, str]] = []
    monkeypatch.setattr(file_digests, "track", lambda items, label, total, unit: (shown.append((total, unit)), items)[1])
    for number in range(2001):
        (tmp_path / f"{number:04d}.png").write_bytes(b"%d" % number)
    names = np.array([b"%04d.png" % number for number in range(2001)])
    states = np.array([file_states.file_state(tmp_path / name.decode()) for name in names])
    digests = list(file_digests.file_digests(tmp_path, names, states, "pictures"))
    assert digests == [hashlib.sha256(b"%d" % number).hexdigest() for number in range(2001)]
    assert shown == [(3, "thousand pictures")]


def test_a_picture_that_changed_a_moment_ago_is_read_again(root: Path) -> None:
    source_fingerprint(root, "classes")
    (cache,) = Path(".medtransfer/digests").glob("*.db")
    with closing(sqlite3.connect(cache)) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (0,)


def test_real_pictures(realdata: Path) -> None:
    root = realdata / "imagenette"
    train, val = training(root), validation(root)
    assert (len(train), len(val), len(train.classes)) == (1400, 400, 10)
    assert np.bincount(train.labels).tolist() == [140] * 10
    image, _ = train[0]
    assert image.shape == (8, 8, 3) and image.float().std() > 0
    grey = [index for index, (path, _) in enumerate(ImageFolder(root / "train").samples) if Image.open(path).mode == "L"]
    assert grey
    for index in grey[:3]:
        image, _ = train[index]
        assert torch.equal(image[..., 0], image[..., 1]) and torch.equal(image[..., 0], image[..., 2])
