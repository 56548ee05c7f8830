"""Generated samples: original formats, the same bytes for the same seed, and tasks that a threshold cannot solve."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.prepare.samples import write_samples
from medtransfer.prepare.samples.pictures import CLASSES
from medtransfer.prepare.samples.textures import grain
from medtransfer.prepare.stage import prepare

pytestmark = pytest.mark.long

SIZES = {"patients": 4, "lungs": 5, "retinas": 3, "pictures": 6}


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes(samples: Path, tmp_path: Path) -> None:
    assert write_samples(tmp_path / "again", seed=7, **SIZES)
    again, first = digests(tmp_path / "again"), digests(samples)  # beside which there are datasets of other readers
    assert again == {name: first.get(name) for name in again} and len(again) > 50
    write_samples(tmp_path / "other", seed=8, **SIZES)
    assert digests(tmp_path / "other")["heart/training/patient001/patient001_frame01.nii.gz"] not in digests(samples).values()


def test_samples_of_the_same_settings_are_reused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "s"
    assert write_samples(out, seed=1, **SIZES)
    assert not write_samples(out, seed=1, **SIZES)
    assert write_samples(out, seed=1, **SIZES, force=True)
    assert not [message for message in caplog.messages if "is made again" in message]
    assert write_samples(out, seed=1, **(SIZES | {"patients": 5}))
    (said,) = [message for message in caplog.messages if "is made again" in message]
    assert f": patients 5 instead of {SIZES['patients']}; what was prepared from it" in said
    assert len(list((out / "heart").glob("*/patient*"))) == 5


def test_samples_of_an_earlier_version_are_reused(tmp_path: Path) -> None:
    out = tmp_path / "s"
    write_samples(out, seed=1, **SIZES)
    written = json.loads((out / "samples.json").read_text())
    del written["names"]  # which it did not list
    (out / "samples.json").write_text(json.dumps(written, indent=1) + "\n")
    kept = next(out.glob("pictures/train/*/*.jpg"))
    inode = kept.stat().st_ino
    assert not write_samples(out, seed=1, **SIZES) and kept.stat().st_ino == inode
    assert write_samples(out, seed=2, **SIZES)


def test_samples_that_lost_a_file_are_written_again(tmp_path: Path) -> None:
    out = tmp_path / "s"
    write_samples(out, seed=1, **SIZES)
    (out / "lungs" / ".DS_Store").write_bytes(b"of a file browser")
    assert not write_samples(out, seed=1, **SIZES)
    lost = next(out.glob("pictures/train/*/*.jpg"))
    lost.unlink()
    assert write_samples(out, seed=1, **SIZES) and lost.is_file()


def test_a_file_of_the_users_own_is_kept_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "s"
    write_samples(out, seed=1, **SIZES)
    own = out / "pictures" / "train" / "fine-disc" / "mine.png"
    own.write_bytes(b"precious")
    assert not write_samples(out, seed=1, **SIZES)
    assert f"{out} also holds 1 file that no command generated, such as pictures/train/fine-disc/mine.png" in caplog.text
    for changed in ({"seed": 2, **SIZES}, {"seed": 1, **SIZES, "force": True}):
        with pytest.raises(InputError, match=f"nothing but generated files in {out}, .* but got {own}; move it to a folder"):
            write_samples(out, **changed)
    assert own.read_bytes() == b"precious"
    own.unlink()
    assert write_samples(out, seed=2, **SIZES)


@pytest.mark.parametrize("name", ["notes.txt", "heart/.notes", "mine/scan.nii.gz"])
@pytest.mark.parametrize("note", ["as it is", "of an earlier version", "damaged"])
def test_no_file_of_the_users_own_is_removed(note: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / "s"
    write_samples(out, seed=1, **SIZES)
    written = json.loads((out / "samples.json").read_text())
    if note == "of an earlier version":  # which had no names
        del written["names"]
        (out / "samples.json").write_text(json.dumps(written, indent=1) + "\n")
        assert write_samples(out, seed=1, **SIZES, force=True)  # nothing else is there
        (out / "samples.json").write_text(json.dumps(written, indent=1) + "\n")
    elif note == "damaged":
        (out / "samples.json").write_text("{")
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("precious")
    known = note == "as it is" or (note == "of an earlier version" and name != "mine/scan.nii.gz")
    with pytest.raises(InputError, match="nothing but generated files" if known else "to list the generated files"):
        write_samples(out, seed=2, **SIZES)
    assert (out / name).read_text() == "precious"


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="to be empty or to hold earlier samples"):
        write_samples(tmp_path, seed=1, **SIZES)
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("name", SIZES)
def test_too_few_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"at least \d for samples.{name}, but got 1"):
        write_samples(tmp_path / "s", seed=1, **(SIZES | {name: 1}))


def test_pictures_are_an_image_folder_of_ten_classes(samples: Path) -> None:
    for split, number in (("train", 5), ("val", 1)):
        folders = sorted((samples / "pictures" / split).iterdir())
        assert [folder.name for folder in folders] == sorted(CLASSES)
        assert all(len(list(folder.glob("*.jpg"))) == number for folder in folders)
    picture = Image.open(next((samples / "pictures" / "val" / "fine-disc").iterdir()))
    assert (picture.size, picture.mode) == ((64, 64), "RGB")


def test_retina_masks_are_one_bit_palettes(samples: Path) -> None:
    (mask, *_) = sorted((samples / "retina").rglob("*_MA.tif"))
    picture = Image.open(mask)
    assert picture.mode == "P"
    assert picture.tag_v2[258] == (1,)  # type: ignore[attr-defined]
    assert set(np.unique(np.asarray(picture))) == {0, 1}
    assert set(np.unique(np.asarray(picture.convert("L")))) == {0, 76}
    red = cv2.imread(str(mask), cv2.IMREAD_COLOR)
    assert [int(red[..., channel].max()) for channel in range(3)] == [0, 0, 255]


def test_a_grain_has_its_period_and_direction() -> None:
    texture = grain(np.random.default_rng(0), 64, period=8, angle=0.0)
    power = np.abs(np.fft.fft2(texture)) ** 2
    v, u = np.unravel_index(power[:, :32].argmax(), (64, 32))
    assert u == pytest.approx(64 / 8, abs=2)
    assert min(v, 64 - v) <= 2
    assert texture.mean() == pytest.approx(0, abs=1e-12) and texture.std() == pytest.approx(1)


def test_no_threshold_finds_a_part_of_the_heart(samples: Path, tmp_path: Path) -> None:
    prepared = prepare(
        "heart", reader="acdc", root=samples / "heart", size=(64, 64), subset=True, split="official", validation=0.0,
        allow_duplicates=False, options={}, out=tmp_path,
    )  # fmt: skip
    images, masks = prepared.images[..., 0], prepared.masks
    for label in (1, 2, 3):
        truth = masks == label
        best = 0.0
        for low in range(0, 256, 32):
            for high in range(low + 32, 257, 32):
                inside = (images >= low) & (images < high)
                best = max(best, 2 * (inside & truth).sum() / (inside.sum() + truth.sum()))
        assert best < 0.35
