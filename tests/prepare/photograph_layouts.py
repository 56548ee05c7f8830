"""Write small datasets of photographs in their official layouts: JPEG, palette PNG and MATLAB files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from tests.prepare.label_layouts import write_lines

SHAPE = (24, 30)
FLOWER, UNLABELLED, GROUND = (128, 0, 0), (0, 0, 0), (128, 128, 0)


def photograph(path: Path, seed: int, shape: Sequence[int] = SHAPE) -> Path:
    """Write a smooth RGB picture, as JPEG or PNG."""
    rough = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    rough.resize(tuple(shape)[::-1], Image.Resampling.BICUBIC).save(path)
    return path


def boxes(values: Mapping[int, tuple[int, int, int, int]], shape: Sequence[int] = SHAPE, ground: int = 0) -> np.ndarray:
    """Return a mask, uint8 (h, w), with a box (top, left, bottom, right) of each value, later ones on top."""
    mask = np.full(shape, ground, np.uint8)
    for value, (top, left, bottom, right) in values.items():
        mask[top:bottom, left:right] = value
    return mask


def save_mask(path: Path, mask: np.ndarray, palette: Sequence[tuple[int, int, int]] | None = None) -> Path:
    """Write a grey PNG, or with a palette one of indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if palette:
        image.putpalette([channel for colour in palette for channel in colour])
    image.save(path)
    return path


def voc_palette() -> list[tuple[int, int, int]]:
    """Return the colours of the 256 palette indices of PASCAL VOC, by the rule of its development kit."""
    colours = []
    for index in range(256):
        red = green = blue = 0
        for bit in range(8):
            shift, three = 7 - bit, index >> 3 * bit & 7
            red, green, blue = red | (three & 1) << shift, green | (three >> 1 & 1) << shift, blue | (three >> 2 & 1) << shift
        colours.append((red, green, blue))
    return colours


def write_flowers17(root: Path) -> Path:
    """Write eight photographs, six with a trimap: odd numbers as palette, even ones as RGB."""
    for number in range(1, 9):
        photograph(root / f"jpg/image_{number:04d}.jpg", number)
    palette = [UNLABELLED, FLOWER, (0, 128, 0), GROUND]
    listed = [1, 2, 3, 5, 6, 8]
    for number in listed:
        mask = boxes({0: (3, 3, 17, 20), 1: (4, 4, 16, 12 + number)}, ground=3)
        path = root / f"trimaps/image_{number:04d}.png"
        if number % 2:
            save_mask(path, mask, palette)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(palette, np.uint8)[mask]).save(path)
    savemat(root / "trimaps/imlist.mat", {"imlist": np.array([listed], np.uint16)})
    return root


def write_flowers102(root: Path) -> Path:
    """Write nine photographs of the species 1, 2 and 102, in turn; three of each split."""
    for number in range(1, 10):
        photograph(root / f"jpg/image_{number:05d}.jpg", number)
    savemat(root / "imagelabels.mat", {"labels": np.array([[1, 2, 102] * 3], np.uint8)}, do_compression=True)
    lists = {"trnid": [9, 1, 2], "valid": [3, 4, 5], "tstid": [6, 7, 8]}
    savemat(root / "setid.mat", {name: np.array([numbers], np.uint16) for name, numbers in lists.items()})
    return root


PETS = {
    "trainval": ["Abyssinian_1 1 1 1", "Abyssinian_2 1 1 1", "beagle_10 5 2 4", "american_bulldog_100 2 2 1"],
    "test": ["Abyssinian_204 1 1 1", "american_bulldog_208 2 2 1"],
}
PET_HEADER = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids", "#SPECIES: 1:Cat 2:Dog"]


def write_oxford_pets(root: Path) -> Path:
    """Write six photographs and one that no list names, with what macOS leaves beside files."""
    names = [line.split()[0] for lines in PETS.values() for line in lines]
    for seed, name in enumerate([*names, "Egyptian_Mau_14"]):
        photograph(root / f"images/{name}.jpg", seed)
        mask = boxes({3: (3, 3, 17, 20), 1: (4, 4, 16, 12 + seed)}, ground=2)
        save_mask(root / f"annotations/trimaps/{name}.png", mask)
        (root / f"annotations/trimaps/._{name}.png").write_bytes(b"\0\5\26\7Mac OS X")
    write_lines(root / "annotations/list.txt", *PET_HEADER, *sorted(PETS["trainval"] + PETS["test"], key=str.lower))
    for part, lines in PETS.items():
        write_lines(root / f"annotations/{part}.txt", *lines)
    return root


CITIES = {"train": {"aachen": ([26], [28, 26]), "tubingen": ([28, 29], [7])}, "val": {"munster": ([26, 28], [])}}


def write_cityscapes(root: Path) -> Path:
    """Write images of two training cities and one validation city: each shows the labels of CITIES on road and its own car."""
    for folder, cities in CITIES.items():
        for city, frames in cities.items():
            for number, labels in enumerate(frames):
                name = f"{city}_{number:06d}_000019"
                photograph(root / f"leftImg8bit/{folder}/{city}/{name}_leftImg8bit.png", 10 * len(folder) + len(city) + 20 * number)
                mask = boxes(
                    {23: (0, 0, 6, 30), 1: (22, 0, 24, 30)}
                    | {label: (8, 2 + 9 * n, 20, 9 + 9 * n) for n, label in enumerate(labels)},
                    ground=7,
                )
                save_mask(root / f"gtFine/{folder}/{city}/{name}_gtFine_labelIds.png", mask)
                save_mask(root / f"gtFine/{folder}/{city}/{name}_gtFine_instanceIds.png", mask)
                write_lines(root / f"gtFine/{folder}/{city}/{name}_gtFine_polygons.json", "{}")
    photograph(root / "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png", 0)
    return root


VOC = {
    "train": {"2007_000032": [1, 15], "2007_000039": [8], "2007_000063": [8, 12]},
    "val": {"2007_000033": [1], "2007_000042": [8, 13]},
}


def write_voc2012(root: Path) -> Path:
    """Write palette masks of the classes of VOC, each outlined by void, and an image of another list."""
    for part, images in VOC.items():
        for name, classes in images.items():
            photograph(root / f"JPEGImages/{name}.jpg", int(name[-2:]))
            places = {n: (4, 3 + 13 * n, 20, 13 + 13 * n) for n in range(len(classes))}
            mask = boxes({}, ground=0)
            for number, label in enumerate(classes):
                top, left, bottom, right = places[number]
                mask[top - 1 : bottom + 1, left - 1 : right + 1] = 255
                mask[top:bottom, left:right] = label
            save_mask(root / f"SegmentationClass/{name}.png", mask, voc_palette())
        write_lines(root / f"ImageSets/Segmentation/{part}.txt", *images)
    photograph(root / "JPEGImages/2012_004331.jpg", 7)
    return root


FRAMES = {"train": ("0001TP_006690", "0001TP_006720", "0006R0_f00930"), "val": ("0016E5_07959",), "test": ("0001TP_008550",)}


def write_camvid(root: Path) -> Path:
    """Write SegNet's layout: labels of sky, road, a car and what is unlabelled."""
    for folder, names in FRAMES.items():
        for number, name in enumerate(names):
            photograph(root / folder / f"{name}.png", len(folder) + number)
            mask = boxes({0: (0, 0, 6, 30), 8: (8, 5 + number, 18, 15 + number), 11: (22, 0, 24, 30)}, ground=3)
            save_mask(root / f"{folder}annot/{name}.png", mask)
        write_lines(
            root / f"{folder}.txt", *(f"/SegNet/CamVid/{folder}/{n}.png /SegNet/CamVid/{folder}annot/{n}.png" for n in names)
        )
    return root


def write_camvid_stills(root: Path) -> Path:
    """Write the authors' layout, with the masks of `write_camvid` in colours."""
    colours = {0: (128, 128, 128), 3: (128, 64, 128), 8: (64, 0, 128), 11: (0, 0, 0)}
    write_lines(
        root / "label_colors.txt", "64 128 64\tAnimal", "64 0 128\t\tCar", "128 64 128\tRoad", "128 128 128\tSky", "0 0 0\t\tVoid"
    )
    write_camvid(root / "segnet")
    for folder, names in FRAMES.items():
        for name in names:
            photograph(root / f"701_StillsRaw_full/{name}.png", 1)
            mask = np.asarray(Image.open(root / f"segnet/{folder}annot/{name}.png"))
            coloured = np.zeros((*SHAPE, 3), np.uint8)
            for label, colour in colours.items():
                coloured[mask == label] = colour
            save_mask(root / f"LabeledApproved_full/{name}_L.png", coloured)
    return root


def write_photographs(root: Path) -> None:
    """Write every layout to a folder of its reader's name; `oxford-pets` serves two."""
    for name, write in {
        "flowers17": write_flowers17, "flowers102": write_flowers102, "oxford-pets": write_oxford_pets,
        "cityscapes": write_cityscapes, "voc2012": write_voc2012, "camvid": write_camvid,
    }.items():  # fmt: skip
        write(root / name)
