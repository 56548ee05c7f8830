"""SIIM-ACR: relative run lengths down the columns, several rows per image, and images without a row."""

from pathlib import Path

import numpy as np
import pytest
from tests.prepare.label_layouts import picture, write_lines, write_siim

from medtransfer.errors import InputError
from medtransfer.prepare.readers.siim import scan
from medtransfer.prepare.run_lengths import decode_relative


def encode(mask: np.ndarray) -> str:
    """Encode a mask pixel by pixel, down the columns."""
    height, width = mask.shape
    pairs, gap, run = [], 0, 0
    for x in range(width):
        for y in range(height):
            if mask[y, x]:
                run += 1
                continue
            if run:
                pairs += [gap, run]
                gap, run = 0, 0
            gap += 1
    return " ".join(map(str, [*pairs, gap, run] if run else pairs))


def test_run_lengths_by_hand() -> None:
    assert decode_relative("1 2 3 1", (3, 4)).astype(int).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert not decode_relative("", (3, 4)).any() and decode_relative("0 12", (3, 4)).all()


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_of_random_masks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random(generator.integers(1, 9, 2)) < generator.random()
    assert np.array_equal(decode_relative(encode(mask), mask.shape), mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1", "no pairs"), ("1 -2", "no pairs"), ("0 13", "a run ends at 13 of 12"), ("1 x", "invalid literal"), ("3 1 8 1", "at 13")],
)
def test_wrong_run_lengths_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_relative(text, (3, 4))


def test_rows_become_masks(tmp_path: Path) -> None:
    root = write_siim(tmp_path)
    described = scan(root, (3, 4), {})
    masks = [picture.labels.tolist() for item in described.items for picture in item.load()]
    assert masks[0] == [[0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1]]  # the union of two rows
    assert masks[1] == [[0] * 4] * 3 and masks[2] == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert masks[3] == [[0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]]
    assert described.notes == () and [item.group for item in described.items] == ["im.0", "im.1", "im.2", "im.3"]
    images = [picture.image[..., 0] for item in described.items for picture in item.load()]
    assert np.array_equal(images[2], np.random.default_rng(2).integers(0, 256, (3, 4)))


def test_new_images_are_padded_as_the_stored_ones(tmp_path: Path) -> None:
    root = write_siim(tmp_path)
    for keep_aspect in (True, False):
        described = scan(root, (4, 4), {"keep_aspect": keep_aspect})
        assert described.image_rule is not None and described.image_rule().keep_aspect == keep_aspect


def test_pictures_and_images_without_a_row(tmp_path: Path) -> None:
    picture(tmp_path / "png/a.b.png", 1, shape=(3, 4))
    picture(tmp_path / "png/c.png", 2, shape=(3, 4))
    write_lines(tmp_path / "t.csv", "ImageId,EncodedPixels", "a.b,1 2 3 1")
    options = {"table": "t.csv", "images": "png"}
    described = scan(tmp_path, (3, 4), options)
    assert [item.source for item in described.items] == ["png/a.b.png"]
    assert described.notes == (f"1 image is in no row of the table and not read, such as {tmp_path / 'png/c.png'}",)
    write_lines(tmp_path / "t.csv", "ImageId,EncodedPixels", "a.b,1 2", "d,-1")
    with pytest.raises(InputError, match=r"an image for every row of .*t\.csv, but there is none for d \(1 such\)"):
        scan(tmp_path, (3, 4), options)
    write_lines(tmp_path / "t.csv", "ImageId,EncodedPixels", "a.b,11 5")
    with pytest.raises(InputError, match=r"run lengths of .*a\.b\.png in .*t\.csv, but a run ends at 16 of 12 pixels"):
        list(scan(tmp_path, (3, 4), options).items[0].load())
    write_lines(tmp_path / "t.csv", "Image,EncodedPixels", "a.b,11 5")
    with pytest.raises(InputError, match="columns ImageId and EncodedPixels in .*, but there is no ImageId"):
        scan(tmp_path, (3, 4), options)
