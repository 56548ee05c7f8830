"""Loaded models: raw images become exactly what the target's samples were, and no prediction depends on its neighbours."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tests.predict.conftest import MEAN, OWN, STD
from tests.tiny_encoders import TINIEST

import medtransfer
from medtransfer.data.pixels import normalise_pixels
from medtransfer.data.target_samples import TargetSamples
from medtransfer.errors import InputError
from medtransfer.predict.images import list_images, read_pixels, shared_limits
from medtransfer.predict.model import load_model
from medtransfer.predict.pixels import rule_of
from medtransfer.prepare.stage import prepare
from medtransfer.records import ImageRule


def write_wide(root: Path) -> None:
    """Write five 16-bit pictures of other aspects and ranges, with masks."""
    rng = np.random.default_rng(0)
    for number in range(5):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 400 * (number + 1), (40 + 4 * number, 56), dtype=np.uint16)
        Pillow.fromarray(pixels).save(root / f"images/case{number % 2}_{number}.png")
        Pillow.fromarray((pixels > 200).astype(np.uint8)).save(root / f"masks/case{number % 2}_{number}.png")


def write_volumes(root: Path) -> None:
    """Write four volumes of two channels whose slices are along the second axis."""
    rng = np.random.default_rng(1)
    for number in range(4):
        for kind, values in (("images", rng.normal(40, 200, (20, 5, 24, 2))), ("masks", np.ones((20, 5, 24)))):
            (root / kind).mkdir(parents=True, exist_ok=True)
            values[0] = 0
            volume = nib.Nifti1Image(values.astype(np.int16), np.diag([1.2, 8.0, 1.2, 1.0]))
            nib.save(volume, root / kind / f"case_{number}.nii.gz")


# reader, folder of the raw dataset below that of the samples, stored size, its options
TARGETS: dict[str, tuple[str, str, tuple[int, int], dict[str, Any]]] = {
    "acdc": ("acdc", "heart", (32, 32), {}),
    "covid-qu": ("covid-qu", "lungs", (32, 32), {}),
    "idrid": ("idrid", "retina", (64, 128), {"window": 32, "stride": 32, "tile": 32}),
    "image": ("folder", "wide", (32, 48), {"keep_aspect": True}),
    "group": ("folder", "wide", (32, 48), {"scaling": "group", "group": r"(case\d)_"}),
    "dataset": ("folder", "wide", (32, 48), {"scaling": "dataset"}),
    "window": ("folder", "wide", (32, 48), {"scaling": [100, 300]}),
    "volumes": ("nifti", "volumes", (32, 32), {"channels": [1], "scaling": {"z-score": 2}}),
}


@pytest.mark.parametrize("case", TARGETS)
def test_the_network_sees_the_samples_of_the_target(
    case: str, sample_data: Path, tmp_path: Path, make_model: Callable[..., Path], bright: list[torch.Tensor]
) -> None:
    """Bit for bit, from the raw files of the dataset, as `prepare` and the test samples made them."""
    reader, name, size, options = TARGETS[case]
    root = sample_data / name
    if writer := {"wide": write_wide, "volumes": write_volumes}.get(name):
        root = tmp_path / name
        writer(root)
    target = prepare(
        "t", reader=reader, root=root, size=size, subset=True, split="none" if reader in {"folder", "nifti"} else "official",
        validation=0.0, allow_duplicates=True, options=options, out=tmp_path / "out",
    )  # fmt: skip
    info = target.info
    folder = make_model(rule=ImageRule(**info.image_rule), input=info.input, size=list(size), channels=info.channels)
    model = load_model(folder, accelerator="cpu")
    split = "train" if "test" not in info.counts else "test"
    expected = TargetSamples(target, split, mean=MEAN, std=STD, augment=False, seed=0)
    sources = list(dict.fromkeys(target.samples(split)["source"]))
    images = {image.path: image for image in list_images(root, "_gt")}
    chosen = [images[root / source] for source in sources]
    among = [image for image in images.values() if "masks" not in image.path.parts]
    limits = shared_limits(among, rule_of(model.info))
    for image in chosen:
        for picture in read_pixels(image, rule_of(model.info), info.channels, limits[image.name]).slices:
            model.predict_stored(picture)
    found = torch.cat(bright)
    assert len(found) == len(expected)
    for index, seen in enumerate(found):
        assert torch.equal(seen, normalise_pixels(expected[index][0][None], MEAN, STD)[0])


@pytest.mark.parametrize("build", TINIEST)
def test_bits_do_not_depend_on_the_batch(build: str, make_model: Callable[..., Path]) -> None:
    model = medtransfer.load_model(make_model(build=build), accelerator="cpu")
    images = np.random.default_rng(0).integers(0, 256, (7, 40, 36, 1), dtype=np.uint8)
    together = model.predict(images)
    assert together.shape == (7, 1, 40, 36) and together.dtype == np.float32
    for number in range(7):
        assert np.array_equal(model.predict(images[number : number + 1])[0], together[number])
    assert np.array_equal(model.predict(images[::-1]), together[::-1])


def test_the_network_takes_normalised_images_and_returns_logits(make_model: Callable[..., Path]) -> None:
    model = load_model(make_model(classes=["a", "b"], thresholds=[]), accelerator="cpu")
    assert (model.info.channels, model.info.input_channels) == (1, 3)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        logits = model.network(images)
    assert logits.shape == (2, 3, 32, 32) and not model.network.training
    assert torch.allclose(model.probabilities(images), logits.softmax(1), atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(OWN, [[0, 255], [0, 255]]), (ImageRule("window", 0, 100), [[26, 128], [128, 255]]),
     (ImageRule("percentiles", 0, 100, over="volume"), [[0, 68], [68, 255]]),
     (ImageRule("percentiles", 0.5, 99.5, over="dataset", limits=[[10.0, 60.0]]), [[0, 204], [204, 255]])],
)  # fmt: skip
def test_raw_numbers_are_scaled_by_the_rule(
    rule: ImageRule, expected: list[list[int]], make_model: Callable[..., Path], bright: list[torch.Tensor]
) -> None:
    """Two images, the left half of one value and the right half of another: 10 and 50, 50 and 160."""
    images = np.array([[10.0, 50.0], [50.0, 160.0]]).repeat(16, axis=1)[:, None, :, None].repeat(32, axis=1)
    model = load_model(make_model(rule=rule), accelerator="cpu")
    found = model.predict(images)[:, 0, 0, [0, 31]] * 255
    assert np.allclose(found, expected, atol=0.01)


@pytest.mark.parametrize(
    ("rule", "images", "message"),
    [(None, np.zeros((1, 8, 8, 1), np.uint8), "run `medtransfer prepare` and the same `medtransfer finetune` again"),
     (ImageRule("keep"), np.zeros((1, 8, 8, 1)), "expected 8-bit values"), (OWN, np.full((1, 8, 8, 1), np.nan), "NaN"),
     (OWN, np.zeros((1, 8, 8, 5)), "1 or 3 channels in the images, .* got 5, which may be frames or sequences"),
     (OWN, np.zeros((1, 8, 8, 4), np.uint8), r"red, green, blue and alpha, .*; leave out the alpha channel, .* images\[..., :3\]"),
     (OWN, np.zeros((1, 8, 8, 2)), r"grey and alpha, .* images\[..., :1\]"),
     (ImageRule("window", 0, 1, channels=[1]), np.zeros((1, 8, 8, 1)), "at least 2 channels")],
)  # fmt: skip
def test_images_that_the_rule_does_not_fit_are_refused(
    rule: ImageRule | None, images: np.ndarray, message: str, make_model: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=message):
        load_model(make_model(rule=rule), accelerator="cpu").predict(images)


RAW = np.random.default_rng(0).integers(0, 256, (2, 40, 36, 1), dtype=np.uint8)


@pytest.mark.parametrize("convert", [
    torch.from_numpy, lambda images: torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
    lambda images: images[:, ::-1].copy()[:, ::-1], np.asfortranarray, np.ma.masked_array,
    *([lambda images: torch.from_numpy(images).cuda()] if torch.cuda.is_available() else []),
])  # fmt: skip
def test_images_are_the_same_in_any_array(convert: Callable[[np.ndarray], Any], make_model: Callable[..., Path]) -> None:
    model = load_model(make_model(), accelerator="cpu")
    assert np.array_equal(model.predict(convert(RAW)), model.predict(RAW))


@pytest.mark.parametrize("convert", [
    lambda numbers: torch.from_numpy(numbers).requires_grad_(), lambda numbers: torch.from_numpy(numbers).bfloat16(),
    lambda numbers: numbers.astype(">f8"), lambda numbers: numbers.astype(np.int64), lambda numbers: numbers.astype(">u2"),
])  # fmt: skip
def test_numbers_are_the_same_in_any_type(convert: Callable[[np.ndarray], Any], make_model: Callable[..., Path]) -> None:
    model, numbers = load_model(make_model(), accelerator="cpu"), RAW.astype(np.float32)  # whole, below 256: exact in each type
    assert np.array_equal(model.predict(convert(numbers)), model.predict(numbers))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "got a value of type NoneType; pass an array"),
        ("scans", "a value of type str; .* predict files with medtransfer.predict"),
        (Path("scans"), "a value of type PosixPath"),
        (RAW.tolist(), "a value of type list"),
        (Pillow.fromarray(RAW[0, ..., 0]), "a value of type Image"),
        (RAW.astype(complex), "values of type complex128; convert them"),
        (RAW.astype(object), "values of type object"),
        (RAW.astype(str), "values of type <U3"),
        (torch.from_numpy(RAW).to_sparse(), "a tensor of the layout torch.sparse_coo"),
        (np.ma.masked_array(RAW, RAW > 100), "masked values; fill them in"),
        (RAW[..., 0], r"the shape \(2, 40, 36\); pass one image as image\[None\], or grey images as images\[..., None\]"),
        (torch.from_numpy(RAW[0, ..., 0]), r"the shape \(40, 36\); pass one grey image as image\[None, :, :, None\]"),
        (RAW.transpose(0, 3, 1, 2), r"the shape \(2, 1, 40, 36\); move the channels last, as np.moveaxis\(images, 1, -1\)"),
        (torch.zeros(2, 3, 40, 36), r"the shape \(2, 3, 40, 36\); move the channels last"),
        (RAW[:0], r"the shape \(0, 40, 36, 1\)"),
    ],
)
def test_what_is_no_array_of_images_is_refused(images: Any, message: str, make_model: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=rf"expected images \(N, H, W, C\) as a NumPy array or a torch tensor .*{message}"):
        load_model(make_model(), accelerator="cpu").predict(images)


@pytest.mark.parametrize("build", TINIEST)
def test_predictions_do_not_depend_on_the_default_type_of_torch(build: str, make_model: Callable[..., Path]) -> None:
    folder = make_model(build=build)
    model = load_model(folder, accelerator="cpu")
    expected = model.predict(RAW)
    torch.set_default_dtype(torch.float64)
    try:
        found = [model.predict(RAW), load_model(folder, accelerator="cpu").predict(RAW)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(array.dtype == np.float32 and np.array_equal(array, expected) for array in found)


def test_a_network_in_training_mode_predicts_the_same_in_threads_too(make_model: Callable[..., Path]) -> None:
    model = load_model(make_model(), accelerator="cpu")
    expected = model.predict(RAW)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    assert any("running" in name for name in before)
    model.network.train()
    model.network.decoder.eval()
    with ThreadPoolExecutor(3) as threads:
        assert all(np.array_equal(found, expected) for found in threads.map(model.predict, [RAW] * 6))
    assert not any(module.training for module in model.network.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())


@pytest.mark.parametrize("given", [{"folder": None}, {"folder": 3}, {"folder": "models/a", "checkpoints": None}])
def test_what_is_no_folder_is_refused(given: dict) -> None:
    with pytest.raises(InputError, match=f"expected a path as {list(given)[-1]}, but got a value of type"):
        load_model(**given)


def test_a_model_is_named_before_copies_of_the_tracking_store(make_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_model()
    shutil.copytree(folder, copy := tmp_path / "mlartifacts/1/artifacts/model")
    with pytest.raises(InputError, match=f"such as {folder}$"):
        load_model(tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=f"such as {copy}$"):
        load_model(tmp_path)


def spoil(folder: Path, what: str) -> Path:
    """Damage a model, and return the folder to load."""
    record = folder / "model.json"
    if what == "parent":
        return folder.parent
    if what == "weights":
        (folder / "weights.safetensors").write_bytes(b"other")
    elif what == "missing":
        (folder / "weights.safetensors").unlink()
    elif what == "old":
        record.rename(folder / "metrics.json")
    else:
        cell = {"parts": ["decoder"]} if what == "decoder" else {"task": "translation"} if what == "task" else {"std": [0, 0, 0]}
        record.write_text(json.dumps(json.loads(record.read_text()) | cell))
    return folder


@pytest.mark.parametrize(
    ("what", "message"),
    [("parent", r"model.json and weights.safetensors .* has none; name a model below it, such as .*models/model"),
     ("weights", r"the weights that .*model.json describes .* but the file differs"), ("missing", "there is none"),
     ("old", "earlier version, which wrote none; run the same `medtransfer finetune` again"),
     ("task", "segmentation.*'translation'"),
     ("decoder", r"frozen and is stored with its checkpoint alone, in nowhere/unet-simple/epoch-001.json"), ("std", "std.0")],
)  # fmt: skip
def test_a_wrong_folder_is_one_sentence(what: str, message: str, make_model: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=message):
        load_model(spoil(make_model(), what), "nowhere")


def test_the_record_says_how_the_target_was_read(make_model: Callable[..., Path]) -> None:
    folder = make_model(rule=ImageRule("window", -160, 240))
    assert json.loads((folder / "model.json").read_text())["image_rule"] == asdict(ImageRule("window", -160, 240))


@pytest.mark.parametrize(("channels", "numbers"), [(4, 3), (2, 3), (1, 2)])
def test_mean_and_std_must_fit_the_channels(channels: int, numbers: int, make_model: Callable[..., Path]) -> None:
    folder = make_model()
    record = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(record | {"channels": channels, "mean": [0.5] * numbers}))
    with pytest.raises(InputError, match=f"expected {3 if channels == 1 else channels} numbers in mean and std"):
        load_model(folder, accelerator="cpu")
