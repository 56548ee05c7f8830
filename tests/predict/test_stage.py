"""The stage: masks in the geometry of their images, resumed and averaged, measured and judged."""

import csv
import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageSequence
from tests.predict.conftest import OWN, PARAMS
from tests.predict.test_images import write_series, write_tilted
from tests.tiny_encoders import TINIEST

import medtransfer
from medtransfer import tracking
from medtransfer.config import load_params
from medtransfer.errors import InputError
from medtransfer.metrics.segmentation import SegmentationEvaluation
from medtransfer.predict import one_image
from medtransfer.predict.images import Image
from medtransfer.predict.model import Model, load_model
from medtransfer.predict.stage import _mask_rule, _warn_of_layout
from medtransfer.predict.windows import Plan
from medtransfer.prepare.picture_files import RawMask
from medtransfer.records import IGNORE, ImageRule, write_text

pytestmark = pytest.mark.long

VOLUME = ImageRule("percentiles", 0.5, 99.5, over="volume")
Predicted = Callable[..., str]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def boxed(shape: tuple[int, ...], box: tuple[slice, ...], dtype: type = np.int16) -> np.ndarray:
    values = np.full(shape, 20, dtype)
    values[box] = 900
    return values


BOX = (slice(3, 9), slice(4, 20), slice(1, 4))


def oblique() -> np.ndarray:
    """Return an affine with a flip, two rotations and three spacings."""
    a, b = 0.4, -0.9
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.4, 1.3, 8.0])
    affine[:3, 3] = [11.5, -40.25, 7.0]
    return affine


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_mask_has_the_voxels_and_the_header_of_its_volume(
    axis: int, ending: str, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    """The slices are along any axis; sform and qform, codes and units come back as they were, and the box where it was."""
    values, affine = boxed((32, 32, 5), BOX), oblique()
    order = {0: [2, 0, 1], 1: [0, 2, 1], 2: [0, 1, 2]}[axis]
    values, affine = values.transpose(order), affine[:, [*order, 3]]
    volume = nib.Nifti1Image(values, affine)
    volume.set_sform(affine, 1)
    volume.set_qform(affine, 3)
    volume.header.set_xyzt_units("mm", "sec")
    nib.save(volume, tmp_path / f"case{ending}")
    predict([make_model(rule=VOLUME)], tmp_path / f"case{ending}", probabilities=True)
    mask = nib.load(tmp_path / "out/masks/case.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), values == 900) and mask.get_data_dtype() == np.uint8
    for name in ("get_sform", "get_qform"):
        got, expected = (getattr(item.header, name)(coded=True) for item in (mask, volume))
        assert got[1] == expected[1] and np.allclose(got[0], expected[0], atol=1e-5)
    assert mask.header.get_xyzt_units() == ("mm", "sec") and np.allclose(mask.header.get_zooms(), volume.header.get_zooms())
    assert nib.load(tmp_path / "out/probabilities/case.nii.gz").shape == (*values.shape, 1)
    (row,) = rows(tmp_path / "out/classes.csv")
    assert int(row["pixels"]) == 6 * 16 * 3 and row["mm2"] == ""
    assert float(row["ml"]) == pytest.approx(6 * 16 * 3 * 1.4 * 1.3 * 8 / 1000, rel=1e-5)


def test_a_mask_of_a_stack_has_its_pages(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    pages = boxed((5, 32, 32), (slice(1, 4), slice(4, 20), slice(3, 9)), np.uint16)
    first, *rest = (Pillow.fromarray(page) for page in pages)
    first.save(tmp_path / "stack.tif", save_all=True, append_images=rest)
    predict([make_model(rule=VOLUME)], tmp_path / "stack.tif")
    with Pillow.open(tmp_path / "out/masks/stack.tif") as mask:
        found = np.stack([np.array(page) for page in ImageSequence.Iterator(mask)])
    assert np.array_equal(found, pages == 900)
    width, height = Pillow.open(tmp_path / "out/overlays/stack.png").size
    assert width == 2 * 8 * 32 and height > 3 * 8 * 32  # enlarged eight times: three slices with their numbers, and the legend


def test_a_mask_of_a_dicom_series_is_where_the_patient_is(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    volume = boxed((5, 32, 32), (slice(1, 4), slice(4, 20), slice(3, 9)))  # slices, rows, columns
    write_series(tmp_path / "scan/ct", volume)
    predict([make_model(rule=VOLUME)], tmp_path / "scan")
    mask = nib.load(tmp_path / "out/masks/ct.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj).transpose(2, 1, 0), volume == 900)
    origin = mask.affine @ [0, 0, 0, 1]
    assert np.allclose(origin[:3], [30.0, -12.5, 80.0]) and nib.affines.voxel_sizes(mask.affine) == pytest.approx([0.9, 0.7, 3.0])


def test_a_record_names_its_series_and_no_other_is_taken_for_it(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    tags = {"SeriesNumber": 4, "SeriesDescription": "T2 tra"}
    write_series(tmp_path / "scan/ct", boxed((3, 32, 32), BOX[::-1]), series="1.2.3", **tags)
    model = make_model(rule=VOLUME)
    predict([model], tmp_path / "scan")
    record = json.loads((tmp_path / "out/files/ct.json").read_text())
    assert record["series"] == {"SeriesInstanceUID": "1.2.3", "SeriesNumber": "4", "SeriesDescription": "T2 tra"}
    del record["series"]  # as earlier versions wrote it
    (tmp_path / "out/files/ct.json").write_text(json.dumps(record))
    assert "(1 were finished)" in predict([model], tmp_path / "scan")
    write_series(tmp_path / "scan/ct", boxed((3, 32, 32), (slice(0, 2), *BOX[1::-1])), series="1.2.4", **tags)
    assert "were finished" not in predict([model], tmp_path / "scan")
    assert json.loads((tmp_path / "out/files/ct.json").read_text())["series"]["SeriesInstanceUID"] == "1.2.4"


def test_a_tilted_series_keeps_its_shear_and_the_volume_of_its_voxels(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    volume = boxed((5, 32, 32), (slice(1, 4), slice(4, 20), slice(3, 9)))
    write_tilted(tmp_path / "scan/ct", volume)
    predict([make_model(rule=VOLUME)], tmp_path / "scan")
    affine = nib.load(tmp_path / "out/masks/ct.nii.gz").affine
    assert np.allclose(affine, [[-1, 0, 0, 0], [0, -1, -2, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
    (row,) = rows(tmp_path / "out/classes.csv")
    assert float(row["ml"]) == pytest.approx(3 * 16 * 6 * 4 / 1000)  # voxels of 1 x 1 x 4 mm between their planes


@pytest.mark.parametrize(
    ("name", "size", "mode"), [("a.png", (40, 56), "L"), ("b.jpg", (33, 20), "RGB"), ("c.tif", (64, 64), "I;16")]
)
def test_a_mask_of_a_picture_has_its_size_and_a_palette(
    name: str, size: tuple[int, int], mode: str, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:
    values = np.random.default_rng(0).integers(0, 256, (*size, 3) if mode == "RGB" else size)
    Pillow.fromarray(values.astype(np.uint16 if mode == "I;16" else np.uint8)).save(tmp_path / name)
    model = make_model(classes=["one", "two"], thresholds=[])
    predict([model], tmp_path / name, probabilities=True)
    mask = Pillow.open(tmp_path / "out/masks" / f"{name[0]}.png")
    assert mask.mode == "P" and mask.size == size[::-1]
    assert mask.getpalette()[:9] == [0, 0, 0, 230, 159, 0, 86, 180, 233]  # Okabe and Ito's orange and blue
    probabilities = np.load(tmp_path / "out/probabilities" / f"{name[0]}.npy")
    assert probabilities.shape == (3, *size) and np.array_equal(np.asarray(mask), probabilities.argmax(0))
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    counts = {row["class"]: int(row["pixels"]) for row in rows(tmp_path / "out/classes.csv")}
    assert counts == {"one": (np.asarray(mask) == 1).sum(), "two": (np.asarray(mask) == 2).sum()}
    width, height = Pillow.open(tmp_path / "out/overlays" / f"{name[0]}.png").size
    assert width >= 2 * size[1] and height > size[0]  # the picture twice, and the legend


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of four pictures of different sizes."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        Pillow.fromarray(rng.integers(0, 256, (30 + number, 34), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every predicted picture; if it begins with -1, the third is interrupted."""
    seen: list[int] = []
    original = Model.predict_stored

    def predict_stored(self: Model, picture: np.ndarray, plan: Plan | None = None) -> torch.Tensor:
        if seen[:1] == [-1] and len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(1)
        return original(self, picture, plan)

    monkeypatch.setattr(Model, "predict_stored", predict_stored)
    return seen


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix in {".png", ".csv"}
    }


def test_an_interrupted_prediction_is_resumed_and_a_finished_one_reused(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, counted: list[int]
) -> None:
    model = make_model()
    predict([model], pictures)
    expected = contents(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "whole")
    counted[:] = [-1]
    with pytest.raises(KeyboardInterrupt):  # in the third picture
        predict([model], pictures)
    counted.clear()
    assert "(2 were finished)" in predict([model], pictures) and len(counted) == 2
    assert contents(tmp_path / "out") == expected
    counted.clear()
    assert "(4 were finished)" in predict([model], pictures) and not counted
    (tmp_path / "out/masks/1.png").unlink()
    predict([model], pictures)
    assert len(counted) == 1 and contents(tmp_path / "out") == expected
    predict([model], pictures, flips=["horizontal"])
    assert len(counted) == 5
    predict([model], pictures, force=True)
    assert len(counted) == 9 and contents(tmp_path / "out") == expected


def test_a_corrected_mask_stays_and_is_named(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model()
    predict([model], pictures)
    mask = tmp_path / "out/masks/1.png"
    Pillow.fromarray(1 - np.asarray(Pillow.open(mask))).save(mask)
    corrected = mask.read_bytes()
    assert "(4 were finished)" in predict([model], pictures) and mask.read_bytes() == corrected
    said = f"1 file is changed since the prediction, such as {mask}: it stays, and the tables are of what was predicted"
    assert said in caplog.text


def test_the_number_of_channels_of_a_target_makes_no_prediction_anew(
    pictures: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:
    model = make_model()
    predict([model], pictures)
    record = json.loads((model / "model.json").read_text())
    record["image_rule"]["of_channels"] = 1
    (model / "model.json").write_text(json.dumps(record))
    assert "(4 were finished)" in predict([model], pictures)


def test_finished_images_and_wrong_masks_load_nothing_heavy(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:  # fmt: skip
    model, masks = make_model(), tmp_path / "truth"
    masks.mkdir()
    for path in pictures.iterdir():
        Pillow.new("L", Pillow.open(path).size).save(masks / f"{path.stem}_gt.png")
    code = (
        "import sys, medtransfer.cli as cli\n"
        "try: cli.main()\n"
        "finally: print(sorted({'torch', 'mlflow', 'matplotlib', 'timm'} & set(sys.modules)))"
    )
    words = ["predict", str(model), "--images", str(pictures), "--out", str(tmp_path / "out"), "--accelerator", "cpu"]
    measured = {"masks": str(masks), "mask_suffix": "_gt"}
    for options, more, status, said in (
        ({}, [], 0, "(4 were finished)"),
        (measured, ["--masks", str(masks), "--mask-suffix", "_gt"], 0, "| dice "),
        ({}, ["--masks", "nowhere"], 2, "at nowhere, but it does not exist"),
    ):
        predict([model], pictures, **options)
        done = subprocess.run([sys.executable, "-c", code, *words, *more], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (status, "[]") and said in done.stdout + done.stderr


def test_a_broken_picture_keeps_none_of_the_others_from_being_predicted(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, counted: list[int]
) -> None:
    model = make_model()
    predict([model], pictures)
    expected = contents(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "whole")
    whole = (pictures / "1.png").read_bytes()
    (pictures / "1.png").write_bytes(whole[:60])
    counted.clear()
    with pytest.raises(InputError, match=r"1 of 4 images cannot be predicted, and the others are finished in .*out: .*1\.png"):
        predict([model], pictures)
    assert len(counted) == 3
    (pictures / "1.png").write_bytes(whole)
    assert "(3 were finished)" in predict([model], pictures)
    assert contents(tmp_path / "out") == expected


def test_a_reason_that_images_share_is_said_once(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:
    for name in ("0.png", "2.png"):
        (pictures / name).write_bytes((pictures / name).read_bytes()[:60])
    (pictures / "3.png").write_bytes(b"GIF89a")
    with pytest.raises(
        InputError, match=r"^3 of 4 images cannot be predicted, .*/0\.png.* \(and likewise 2\); .*/3\.png"
    ) as refused:
        predict([make_model()], pictures)
    assert "2.png" not in str(refused.value)


def test_where_no_picture_can_be_predicted_the_first_fault_is_named(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:
    for path in pictures.iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"^none of the 4 images can be predicted: .*0\.png.*; and 3 more$") as refused:
        predict([make_model()], pictures)
    assert "1.png" not in str(refused.value)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, threading.Event]:
    """Return what happens to each image, `read 0` or `written 0`; images are read and written slowly."""
    happened: dict[str, threading.Event] = defaultdict(threading.Event)

    def slow(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            (image,) = (each for each in arguments if isinstance(each, Image))
            time.sleep(0.2)
            result = original(*arguments)
            happened[f"{name} {image.name}"].set()
            return result

        return step

    monkeypatch.setattr(one_image, "_read", slow("read", one_image._read))
    monkeypatch.setattr(one_image, "_write", slow("written", one_image._write))
    return happened


def test_a_picture_is_predicted_while_its_neighbours_are_read_and_written(
    pictures: Path, make_model: Callable[..., Path], predict: Predicted, steps: dict[str, threading.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    names = [path.stem for path in sorted(pictures.glob("*.png"))]
    original = one_image._predict

    def wait(job: Any, models: Any, image: Image, stored: Any) -> Any:
        following = names.index(image.name) + 1
        if following < len(names):
            assert steps[f"read {names[following]}"].wait(60)
        return original(job, models, image, stored)

    monkeypatch.setattr(one_image, "_predict", wait)
    predict([make_model()], pictures)
    assert all(steps[f"written {name}"].is_set() for name in names) and len(names) > 2


def test_a_single_volume_is_in_memory(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, steps: dict[str, threading.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    names = ["0", "1", "2"]
    for name in names:
        save_volume(tmp_path / "volumes" / f"{name}.nii.gz", np.random.default_rng(0).integers(0, 100, (32, 32, 3), np.int16))
    original, read = one_image._predict, list[set[str]]()

    def record(job: Any, models: Any, image: Image, stored: Any) -> Any:
        read.append({name for name, event in steps.items() if event.is_set()})
        return original(job, models, image, stored)

    monkeypatch.setattr(one_image, "_predict", record)
    predict([make_model()], tmp_path / "volumes")
    assert read == [{"read 0"}, {"read 0", "written 0", "read 1"}, {"read 0", "written 0", "read 1", "written 1", "read 2"}]


def test_models_of_other_regions_are_not_averaged(pictures: Path, make_model: Callable[..., Path], predict: Predicted) -> None:
    models = [
        make_model(name, classes=["one", "two"], thresholds=[], regions=regions) for name, regions in (("a", {}), ("b", {"c": [1]}))
    ]
    with pytest.raises(InputError, match=r"same regions, but .*a has none and .*b \{'c': \[1\]\}"):
        predict(models, pictures)


def test_models_are_averaged_in_any_order(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, counted: list[int]
) -> None:
    models = [make_model("a", seed=1), make_model("b", seed=2, build="resnet50", size=[64, 64], input=[64, 64])]
    predict(models, pictures, probabilities=True)
    picture = np.asarray(Pillow.open(pictures / "2.png"))[None, ..., None]
    single = [load_model(model, accelerator="cpu").predict(picture)[0] for model in models]
    assert np.allclose(np.load(tmp_path / "out/probabilities/2.npy"), np.mean(single, axis=0), atol=1e-6)
    counted.clear()
    assert "(4 were finished)" in predict(models[::-1], pictures, probabilities=True) and not counted


def test_other_images_in_the_same_folder_are_said_and_have_no_part_in_its_tables(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    caplog.set_level("INFO", "medtransfer")
    model = make_model()
    predict([model], pictures)
    for name in ("per_image.csv", "metrics.csv"):
        (tmp_path / "out" / name).write_text("of an earlier prediction")
    others = tmp_path / "others"
    others.mkdir()
    (first, *_) = sorted(pictures.iterdir())
    Pillow.open(first).transpose(Pillow.Transpose.ROTATE_180).save(others / first.name)
    predict([model], others)
    assert [text for text in caplog.messages if "predict: " in text and "out" in text] == [
        f"predict: 1 earlier prediction is replaced in {tmp_path / 'out'}, since their files, models or settings, or the "
        "version of medtransfer, differ",
        f"predict: kept in {tmp_path / 'out'}, but not in its tables: 3 predictions of other images",
        f"predict: removed the metrics of earlier predictions from {tmp_path / 'out'}, since no --masks are named",
    ]
    assert {row["image"] for row in rows(tmp_path / "out/classes.csv")} == {first.stem}
    assert not (tmp_path / "out/metrics.csv").exists() and not (tmp_path / "out/per_image.csv").exists()
    caplog.clear()
    predict([model], others, force=True)
    assert f"predict: 1 earlier prediction is replaced in {tmp_path / 'out'}" in caplog.messages


@pytest.mark.parametrize("slide", [False, True])
def test_an_overlap_without_windows_is_warned_of(
    slide: bool, pictures: Path, make_model: Callable[..., Path], predict: Predicted, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    predict([make_model()], pictures, slide=slide, overlap=0.25)
    assert ("images are resized, so that predict.overlap is not used; --slide true makes windows" in caplog.text) is not slide


@pytest.mark.parametrize("regions", [{}, {"all": [1, 2], "one": [1]}])
def test_reference_masks_give_all_metrics_also_of_finished_images(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, counted: list[int],
    regions: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Compared with one evaluation of the written probabilities."""
    masks, rng = tmp_path / "truth", np.random.default_rng(1)
    masks.mkdir()
    truths = {path.stem: rng.integers(0, 3, Pillow.open(path).size[::-1], dtype=np.uint8) for path in pictures.iterdir()}
    for name, truth in truths.items():
        Pillow.fromarray(truth).save(masks / f"{name}_gt.png")
    model = make_model(classes=["one", "two"], thresholds=[], regions=regions)
    options = {"masks": str(masks), "mask_suffix": "_gt", "probabilities": True}
    counted[:] = [-1]
    with pytest.raises(KeyboardInterrupt):
        predict([model], pictures, **options)
    counted.clear()
    text = predict([model], pictures, **options)
    assert len(counted) == 2
    expected = SegmentationEvaluation(2, ["one", "two"], regions=regions)
    for name in sorted(truths):
        probabilities = torch.from_numpy(np.load(tmp_path / f"out/probabilities/{name}.npy"))
        expected.update(probabilities[None], torch.from_numpy(truths[name][None]), [name], [name])
    metrics = expected.compute().metrics
    found = {row["metric"]: row for row in rows(tmp_path / "out/metrics.csv")}
    for name, row in found.items():
        assert float(row["mean"]) == pytest.approx(metrics[name], abs=1e-12)
        if row["one"]:
            assert [float(row["one"]), float(row["two"])] == [metrics[f"{name}_class_{c}"] for c in (1, 2)]
            assert [float(row[f"region {region}"]) for region in regions] == [
                metrics[f"{name}_region_{r + 1}"] for r in range(len(regions))
            ]
    assert found.keys() >= {"dice", "jaccard", "mcc", "average_precision", "hd95", "dice_per_image"}
    assert "| hd95 (pixels) " in text
    assert "dice_per_patient" not in found  # every picture is one of its own
    assert f"{metrics['dice']:.3f}" in text and len(rows(tmp_path / "out/per_image.csv")) == 4

    table = text.partition("\n\n")[2]
    monkeypatch.setattr(SegmentationEvaluation, "compute", None)
    assert predict([model], pictures, **options).partition("\n\n")[2] == table
    monkeypatch.undo()
    write_text(tmp_path / "out/metrics.csv", "changed")  # is computed again
    assert predict([model], pictures, **options).partition("\n\n")[2] == table and rows(tmp_path / "out/metrics.csv") == list(
        found.values()
    )


def test_a_threshold_splits_lossy_reference_masks_as_the_same_masks_without_loss(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:
    rng, model = np.random.default_rng(2), make_model()
    for folder in ("lossy", "lossless"):
        (tmp_path / folder).mkdir()
    for path in pictures.iterdir():
        width, height = Pillow.open(path).size
        grey = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1), np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]
        Pillow.fromarray(grey).save(tmp_path / f"lossy/{path.stem}.jpg")
        decoded = np.asarray(Pillow.open(tmp_path / f"lossy/{path.stem}.jpg"))
        Pillow.fromarray(np.where(decoded < 100, 0, 255).astype(np.uint8)).save(tmp_path / f"lossless/{path.stem}.png")
    with pytest.raises(InputError, match="split them with --mask-threshold 128, or save it as PNG"):
        predict([model], pictures, masks=str(tmp_path / "lossy"), mask_suffix="")
    predict([model], pictures, masks=str(tmp_path / "lossy"), mask_suffix="", mask_threshold=100)
    found = rows(tmp_path / "out/metrics.csv")
    predict([model], pictures, masks=str(tmp_path / "lossless"), mask_suffix="")
    assert found == rows(tmp_path / "out/metrics.csv") and {row["metric"] for row in found} >= {"dice"}
    predict([model], pictures, masks=str(tmp_path / "lossy"), mask_suffix="", mask_threshold=20)  # no earlier counts are reused
    assert found != rows(tmp_path / "out/metrics.csv")


def test_an_overlay_shows_the_reference_between_image_and_prediction(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "truth").mkdir()
    mask = np.zeros((32, 64), np.uint8)
    mask[8:24, 40:56] = 1
    Pillow.fromarray(np.full((32, 64), 100, np.uint8)).save(tmp_path / "images/0.png")
    Pillow.fromarray(mask).save(tmp_path / "truth/0.png")
    without = predict_overlay(predict, make_model(), tmp_path)
    shown = predict_overlay(predict, tmp_path / "models/model", tmp_path, masks=str(tmp_path / "truth"), mask_suffix="")
    larger, title = 4, shown.shape[0] - without.shape[0]  # 256 pixels at least, and a line of text above
    assert without.shape[1] == 2 * 64 * larger and shown.shape[1] == 3 * 64 * larger and title > 0
    image, reference, prediction = np.split(shown[title : title + 32 * larger], 3, axis=1)
    assert (image == 100).all() and (np.hstack([image, prediction]) == without[: 32 * larger]).all()
    changed = (reference != image).any(axis=2)
    assert changed[8 * larger : 24 * larger, 40 * larger : 56 * larger].all()
    assert changed.sum() == (16 * larger) ** 2 + 4 * 16 * larger  # the mask, and a line of a pixel around it


def predict_overlay(predict: Predicted, model: Path, place: Path, **options: Any) -> np.ndarray:
    predict([model], place / "images", **options)
    return np.asarray(Pillow.open(place / "out/overlays/0.png"))


def test_a_reference_mask_is_turned_onto_its_volume(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    values, affine = boxed((32, 32, 5), BOX), oblique()
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "case.nii.gz")
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = 31
    nib.save(nib.Nifti1Image((values == 900)[::-1].astype(np.uint8), affine @ flip), tmp_path / "case_gt.nii.gz")
    predict([make_model(rule=VOLUME)], tmp_path / "case.nii.gz", masks=str(tmp_path / "case_gt.nii.gz"))
    found = {row["metric"]: float(row["mean"]) for row in rows(tmp_path / "out/metrics.csv")}
    assert found["dice"] == 1.0 and found["hd95_mm"] == 0.0


def test_a_prediction_is_stored_once_per_content(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    """The masks are where pictures are bright, of one picture nowhere."""
    masks, model = tmp_path / "truth", make_model()
    masks.mkdir()
    Pillow.new("L", (34, 33)).save(pictures / "3.png")
    for path in pictures.iterdir():
        Pillow.fromarray((np.asarray(Pillow.open(path)) > 127).astype(np.uint8)).save(masks / path.name)
    for _ in range(2):
        predict([model], pictures, masks=str(masks), slide=True)
    (run,) = tracking.read_runs("predict")
    assert run.metrics["dice"] == 1 and (run.metrics["predicted_images"], run.metrics["predicted_empty"]) == (4, 1)
    key = json.loads((model / "model.json").read_text())["key"]
    assert (run.params["models"], run.params["target"], run.params["slide"]) == (key, "made", "True")
    with tracking.artifact_folder(run.id, "") as folder:
        stored = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert stored == {name: (tmp_path / "out" / name).read_bytes() for name in ("classes.csv", "per_image.csv", "metrics.csv")}
    predict([model], pictures)
    assert "dice" not in tracking.read_runs("predict")[0].metrics and len(tracking.read_runs("predict")) == 2
    predict([model], pictures, force=True)
    assert len(tracking.read_runs("predict")) == 2


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [({"classes": ["other"]}, {}, "models of the same classes, but .*/a predicts lesion and .*/b other"),
     ({}, {"masks": "nowhere"}, "reference masks of the images at nowhere, but it does not exist"),
     ({}, {"images": "nowhere"}, "a folder of images, at nowhere, but it does not exist; correct predict.images"),
     ({}, {"labels": {1: "tumour"}}, "background, lesion, ignore")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_any_prediction(
    changed: dict[str, Any], options: dict[str, Any], message: str, pictures: Path, make_model: Callable[..., Path],
    predict: Predicted, counted: list[int],
) -> None:  # fmt: skip
    with pytest.raises(InputError, match=message):
        predict([make_model("a"), make_model("b", **changed)], options.pop("images", pictures), **options)
    assert not counted


@pytest.mark.parametrize(
    ("classes", "labels"), [(["cyst", "solid"], None), (["cyst"], {255: "cyst"}), (["cyst"], {0: "background"})]
)
def test_a_threshold_of_masks_is_for_one_class_without_labels(classes: list[str], labels: Any) -> None:
    section = load_params([PARAMS], {"predict.labels": labels, "predict.mask_threshold": 128}).predict
    with pytest.raises(
        InputError, match="expected predict.mask_threshold to split masks of one class, without predict.labels other"
    ):
        _mask_rule(section, classes)


def test_a_threshold_of_masks_leaves_out_what_is_to_be_ignored() -> None:
    section = load_params([PARAMS], {"predict.labels": {255: "ignore"}, "predict.mask_threshold": 128}).predict
    raw = RawMask(np.array([[0, 127], [128, 255]], np.uint8), "labels", True)
    assert _mask_rule(section, ["cyst"]).number(raw, Path("a.jpg")).tolist() == [[0, 0], [1, IGNORE]]


def test_labels_of_masks_that_name_no_background_take_0_for_it() -> None:
    def table(labels: dict[int | str, str]) -> Any:
        return _mask_rule(load_params([PARAMS], {"predict.labels": labels}).predict, ["cyst", "solid"]).table

    assert table({85: "cyst", 170: "solid"}) == table({0: "background", 85: "cyst", 170: "solid"})
    assert table({85: "cyst", 170: "background"}) == {85: 1, 170: 0}


@pytest.mark.parametrize(
    ("labels", "proposed"),
    [
        (None, "{0: background, 1: <class>, 2: <class>, 4: <class>}"),
        ({1: "necrosis", 2: "oedema"}, "{0: background, 1: necrosis, 2: oedema, 4: enhancing}"),
        ({1: "necrosis", 2: "oedema", 3: "enhancing"}, "{0: background, 1: necrosis, 2: oedema, 3: enhancing, 4: ignore}"),
    ],
)
def test_proposed_labels_of_masks_guess_a_class_only_if_a_single_one_is_left(labels: Any, proposed: str) -> None:
    """As in BraTS with 4; what the user has defined stays. Without it nobody knows what 1 and 2 mean where 3 is missing."""
    rule = _mask_rule(load_params([PARAMS], {"predict.labels": labels}).predict, ["necrosis", "oedema", "enhancing"])
    with pytest.raises(InputError, match=f"got \\[4\\]; .* such as `--labels '{proposed}'`"):
        rule.number(RawMask(np.array([[0, 1], [2, 4]]), "labels", False), Path("case_seg.nii.gz"))


def test_proposed_labels_of_masks_are_those_of_the_prepared_target() -> None:
    rule = replace(
        _mask_rule(load_params([PARAMS], {}).predict, ["heart", "cavity"]), own={0: "background", 2: "heart", 5: "cavity"}
    )
    message = r"got \[5\]; .* such as `--labels '\{0: background, 2: heart, 5: cavity\}'`, as the model's target was prepared"
    with pytest.raises(InputError, match=message):
        rule.number(RawMask(np.array([[0, 2], [2, 5]]), "labels", False), Path("a.nii.gz"))
    with pytest.raises(
        InputError, match=r"`--labels '\{0: background, 5: <class>, 7: <class>\}'` \(each value heart, cavity, `back"
    ):
        rule.number(RawMask(np.array([[0, 7], [0, 5]]), "labels", False), Path("a.nii.gz"))


def test_the_layout_of_slices_is_said_where_a_model_of_pictures_gets_a_volume(caplog: pytest.LogCaptureFixture) -> None:
    picture, volume = Image("a", Path("a.png"), (), False), Image("b", Path("b.nii.gz"), (), True)
    _warn_of_layout([picture], [ImageRule("keep")])
    _warn_of_layout([picture, volume], [VOLUME])
    assert not caplog.records
    _warn_of_layout([picture, volume], [ImageRule("keep")])
    assert "1 of the images are volumes, such as b: of a slice x runs along the columns" in caplog.text


def test_a_record_names_the_models_and_the_files(
    pictures: Path, tmp_path: Path, make_model: Callable[..., Path], predict: Predicted
) -> None:
    model = make_model(rule=OWN)
    predict([model], pictures)
    record = json.loads((tmp_path / "out/files/0.json").read_text())
    assert record["format"] == "medtransfer/prediction/1" and record["models"][0][0] == str(model)
    assert record["outputs"] == {"mask": "masks/0.png", "overlay": "overlays/0.png"}


def test_the_function_returns_the_mask_of_each_image(
    make_model: Callable[..., Path], pictures: Path, predict: Predicted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict([make_model()], pictures)
    expected = {path.stem: path.read_bytes() for path in (tmp_path / "out/masks").iterdir()}
    monkeypatch.chdir(tmp_path)
    masks = medtransfer.predict(pictures, tmp_path / "models/model", out="again", accelerator="cpu")
    assert {name: path.read_bytes() for name, path in masks.items()} == expected and len(masks) == 4
    with pytest.raises(InputError, match="flips"):
        medtransfer.predict(pictures, tmp_path / "models/model", flips=["diagonal"])


FOUR = {
    "channels": 4, "mean": [0.485, 0.456, 0.406, 0.485], "std": [0.229, 0.224, 0.225, 0.229],
    "arguments": {**TINIEST["unet"], "in_channels": 4},
}  # fmt: skip


@pytest.mark.parametrize("taken", [[0, 1, 2, 3], [1, 0, 4, 3]])
def test_channels_in_files_of_their_own_are_one_image(
    taken: list[int], tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    """Every channel is scaled by itself, and the model gets those that its target took, in that order."""
    rng = np.random.default_rng(0)
    values = [boxed((32, 32, 5), BOX, np.float32) * 10**number + rng.random((32, 32, 5), np.float32) for number in range(5)]
    for number, channel in enumerate(values):
        nib.save(nib.Nifti1Image(channel, oblique()), tmp_path / f"case_{number:04d}.nii.gz")
    (tmp_path / "masks").mkdir()
    nib.save(nib.Nifti1Image((values[0] > 500).astype(np.uint8), oblique()), tmp_path / "masks/case.nii.gz")
    model = make_model(rule=replace(VOLUME, channels=taken), **FOUR)
    files = [f"_{number:04d}" for number in range(5)]
    predict([model], tmp_path, channels=files, masks=str(tmp_path / "masks"))
    mask = nib.load(tmp_path / "out/masks/case.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), values[0] > 500) and np.allclose(mask.affine, oblique(), atol=1e-5)
    assert (tmp_path / "out/overlays/case.png").exists()
    assert float(rows(tmp_path / "out/metrics.csv")[0]["mean"]) == pytest.approx(1, abs=1e-4)
    given = torch.cat(bright).numpy() * np.reshape(FOUR["std"], (4, 1, 1)) + np.reshape(FOUR["mean"], (4, 1, 1))
    for place, number in enumerate(taken):
        low, high = np.percentile(values[number].astype(np.float64), (0.5, 99.5))
        expected = np.clip((values[number].transpose(2, 1, 0) - low) / (high - low), 0, 1)
        assert np.abs(given[:, place] - expected).max() < 0.003  # of uint8


def test_pictures_of_channels_have_a_mask_with_a_palette(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    pages = np.random.default_rng(0).integers(0, 256, (4, 40, 33), dtype=np.uint8)
    for number, page in enumerate(pages):
        Pillow.fromarray(page).save(tmp_path / f"a_{number}.png")
    model = make_model(rule=replace(VOLUME, channels=[0, 1, 2, 3]), **FOUR)
    predict([model], tmp_path, channels=["_0", "_1", "_2", "_3"])
    mask = Pillow.open(tmp_path / "out/masks/a.png")
    assert mask.mode == "P" and mask.size == (33, 40)
    with pytest.raises(InputError, match=r"the 4 channels that the model takes, but .*a_0.png is a picture; .*predict.channels"):
        predict([model], tmp_path / "a_0.png")
    with pytest.raises(InputError, match="at least 4 channels in the files of a, as the model's target has, but got 2"):
        predict([model], tmp_path, channels=["_0", "_1"], out=str(tmp_path / "other"))


def save_volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), path)


def test_a_slice_without_a_third_axis_keeps_its_shape(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    save_volume(tmp_path / "flat/a.nii.gz", boxed((24, 30), BOX[:2]))
    predict([make_model(rule=VOLUME)], tmp_path / "flat")
    assert nib.load(tmp_path / "out/masks/a.nii.gz").shape == (24, 30)


def test_frames_are_not_mixed_to_one_channel(tmp_path: Path, make_model: Callable[..., Path], predict: Predicted) -> None:
    save_volume(tmp_path / "scans/a.nii.gz", np.zeros((24, 30, 5, 3), np.int16))
    with pytest.raises(InputError, match=r"a volume of 1 channel, .*a\.nii\.gz has 3, which may be frames"):
        predict([make_model(rule=VOLUME)], tmp_path / "scans")


def test_reference_masks_have_labels_of_numbers_and_names_but_are_no_series(
    tmp_path: Path, make_model: Callable[..., Path], predict: Predicted, bright: list[torch.Tensor]
) -> None:
    save_volume(tmp_path / "scans/a.nii.gz", boxed((24, 30, 5), BOX))
    save_volume(tmp_path / "truth/a.nii.gz", np.uint8(boxed((24, 30, 5), BOX) == 900))
    model, labels = make_model(rule=VOLUME), {0: "background", 1: "lesion", "tumour": "lesion"}
    assert "dice" in predict([model], tmp_path / "scans", masks=str(tmp_path / "truth"), labels=labels)
    (tmp_path / "dicom/a").mkdir(parents=True)
    write_series(tmp_path / "dicom/a", np.zeros((5, 24, 30)))
    with pytest.raises(InputError, match=r"but .*a is a series of DICOM slices"):
        predict([model], tmp_path / "scans", masks=str(tmp_path / "dicom"))
