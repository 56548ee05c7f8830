"""A prediction removes what an earlier one of the same images wrote and it does not, and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtransfer.errors import InputError
from medtransfer.predict import one_image, stage
from medtransfer.records import Prediction
from medtransfer.records.atomic import HOST

pytestmark = pytest.mark.long

Predicted = Callable[..., str]
TABLES = {"classes.csv"}
OF_MASKS = {*TABLES, *(f"{folder}/{name}.png" for folder in ("masks", "overlays") for name in ("0", "sub/1"))}
OF_LABELS = {"labels.csv", "labels/0.csv", "labels/sub/1.csv"}
RECORDS = {"files/0.json", "files/sub/1.json"}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of two pictures, one in a subfolder."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("0", "sub/1"):
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def models(make_model: Callable[..., Path]) -> dict[str, Path]:
    """Return a model of masks and one of labels of images."""
    labels = make_model("labels", task="multiclass", classes=["a", "b"], thresholds=[])
    return {"masks": make_model("masks"), "labels": labels}


def files(tmp_path: Path) -> set[str]:
    out = tmp_path / "out"
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def folders(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}


def test_another_kind_of_model_leaves_nothing_of_the_first(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:  # fmt: skip
    predict([models["masks"]], pictures)
    assert files(tmp_path) == OF_MASKS | RECORDS
    predict([models["labels"]], pictures)
    assert files(tmp_path) == OF_LABELS | RECORDS and folders(tmp_path) == {"labels", "files"}
    predict([models["masks"]], pictures)
    assert files(tmp_path) == OF_MASKS | RECORDS and folders(tmp_path) == {"masks", "overlays", "files"}


def test_other_options_leave_nothing_of_the_first(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:  # fmt: skip
    truth = tmp_path / "truth"
    (truth / "sub").mkdir(parents=True)
    for name in ("0", "sub/1"):
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(truth / f"{name}.png")
    predict([models["masks"]], pictures, masks=str(truth), mask_suffix="", probabilities=True)
    assert {"probabilities/0.npy", "files/0.npz", "metrics.csv", "finished.json"} < files(tmp_path)
    predict([models["masks"]], pictures, mask_suffix="", overlays=False)
    assert files(tmp_path) == {"classes.csv", "masks/0.png", "masks/sub/1.png", *RECORDS}


def test_tables_of_the_other_kind_go_where_all_images_are_finished(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:  # fmt: skip
    (pictures / "sub/1.png").rename(tmp_path / "other.png")
    predict([models["masks"]], pictures)
    predict([models["labels"]], tmp_path / "other.png")
    assert "labels.csv" in files(tmp_path) and "classes.csv" not in files(tmp_path) and "masks/0.png" in files(tmp_path)
    assert "(1 were finished)" in predict([models["masks"]], pictures)
    assert "labels.csv" not in files(tmp_path) and "classes.csv" in files(tmp_path) and "labels/other.csv" in files(tmp_path)


def test_files_of_the_user_stay(pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted) -> None:
    own = {"labels.csv", "masks/mine.png", "overlays/sub/mine.txt", "notes.txt"}
    for name in own:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    predict([models["masks"]], pictures)
    assert all((tmp_path / "out" / name).read_text() == "mine" for name in own)
    record = tmp_path / "out/files/0.json"
    named = json.loads(record.read_text())
    (tmp_path / "images.txt").write_text("mine")
    named["outputs"] |= {"probabilities": "probabilities/../../images.txt", "labels": "notes.txt"}
    record.write_text(json.dumps(named))
    predict([models["labels"]], pictures)
    assert files(tmp_path) == OF_LABELS | RECORDS | own and (tmp_path / "images.txt").exists()


def test_a_prediction_of_nothing_leaves_the_tables_of_another_kind(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:
    predict([models["masks"]], pictures)
    before = files(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/new.png").write_bytes(next(pictures.glob("*.png")).read_bytes()[:60])
    with pytest.raises(InputError):
        predict([models["labels"]], tmp_path / "broken")
    assert files(tmp_path) == before and "classes.csv" in before


@pytest.mark.parametrize("kind", ["masks", "labels"])
def test_tables_of_replaced_predictions_do_not_stay_where_another_image_is_broken(
    kind: str, pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:
    """Else they would be of other masks than those beside them."""
    tables = {"classes.csv"} if kind == "masks" else {"labels.csv"}
    predict([models[kind]], pictures)
    before = files(tmp_path)
    broken = pictures / "broken.png"
    broken.write_bytes(next(pictures.glob("*.png")).read_bytes()[:60])
    with pytest.raises(InputError):
        predict([models[kind]], pictures)
    assert files(tmp_path) == before >= tables  # nothing was replaced
    with pytest.raises(InputError):
        predict([models[kind]], pictures, force=True)
    assert files(tmp_path) == before - tables
    broken.unlink()
    predict([models[kind]], pictures)
    assert files(tmp_path) == before


@pytest.mark.parametrize("when", ["before the new files", "after the new files", "after the removal"])
def test_an_interrupted_replacement_is_completed(
    when: str, pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    predict([models["masks"]], pictures)
    with monkeypatch.context() as patch:
        if when == "before the new files":
            patch.setattr(one_image, "_read", interrupt)
        elif when == "after the new files":
            patch.setattr(one_image, "remove_files", interrupt)
        else:
            original = Prediction.write
            patch.setattr(Prediction, "write", lambda self, path: interrupt() if self.key else original(self, path))
        with pytest.raises(KeyboardInterrupt):
            predict([models["labels"]], pictures)
    assert "finished" not in predict([models["labels"]], pictures)
    assert files(tmp_path) == OF_LABELS | RECORDS and folders(tmp_path) == {"labels", "files"}


@pytest.mark.parametrize("done", ["nothing", "labels of one image", "labels of all images"])
def test_an_interrupted_replacement_that_is_not_repeated_leaves_nothing(
    done: str, pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    predict([models["masks"]], pictures)
    before = {name: (tmp_path / "out" / name).read_bytes() for name in OF_MASKS}
    with monkeypatch.context() as patch:
        if done == "nothing":
            patch.setattr(one_image, "write_bytes", interrupt)
        elif done == "labels of one image":
            patch.setattr(one_image, "remove_files", interrupt)
        else:
            patch.setattr(stage, "write_tables", interrupt)
        with pytest.raises(KeyboardInterrupt):
            predict([models["labels"]], pictures)
    predict([models["masks"]], pictures)
    assert files(tmp_path) == OF_MASKS | RECORDS and folders(tmp_path) == {"masks", "overlays", "files"}
    assert {name: (tmp_path / "out" / name).read_bytes() for name in OF_MASKS} == before


@pytest.mark.parametrize("then", ["again", "labels", "another model"])
def test_a_mask_that_was_corrected_is_kept(
    then: str, pictures: Path, tmp_path: Path, models: dict[str, Path], make_model: Callable[..., Path], predict: Predicted,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    predict([models["masks"]], pictures)
    mask = tmp_path / "out/masks/sub/1.png"
    for number in (1, 2):
        Image.fromarray(np.full((32, 32), number, np.uint8)).save(mask)
        corrected = mask.read_bytes()
        assert "(2 were finished)" in predict([models["masks"]], pictures) and mask.read_bytes() == corrected
        caplog.clear()
        if then == "again":
            predict([models["masks"]], pictures, force=True)
        else:
            predict([models["labels"] if then == "labels" else make_model(f"other{number}", seed=number)], pictures)
        kept = tmp_path / "out" / ("changed" if number == 1 else "changed-2") / "masks/sub/1.png"
        assert kept.read_bytes() == corrected and (not mask.exists() if then == "labels" else mask.read_bytes() != corrected)
        assert (
            f"{mask} differs from what was predicted, or no record names it; it is kept as {kept}" in caplog.text
            and caplog.text.count("kept as") == 1
        )
        predict([models["masks"]], pictures)
    assert len(list((tmp_path / "out").glob("changed*/**/*.png"))) == 2


@pytest.mark.parametrize("then", ["masks", "labels", "other"])
def test_a_mask_that_was_corrected_after_an_interruption_is_kept(
    then: str, pictures: Path, tmp_path: Path, models: dict[str, Path], make_model: Callable[..., Path], predict: Predicted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The other model had written its masks, but not its records; of those that no one touched none is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    models["other"] = make_model("other", seed=1)
    predict([models["masks"]], pictures)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(one_image, "remove_files", interrupt)
        predict([models["other"]], pictures)
    mask = tmp_path / "out/masks/0.png"
    assert json.loads((tmp_path / "out/files/0.json").read_text())["key"] == ""
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(mask)
    corrected = mask.read_bytes()
    predict([models[then]], pictures)
    assert {path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("changed*/**/*.*")} == {"changed/masks/0.png"}
    assert (tmp_path / "out/changed/masks/0.png").read_bytes() == corrected
    assert mask.exists() == (then != "labels") and (not mask.exists() or mask.read_bytes() != corrected)


def test_a_file_of_the_user_in_the_place_of_a_mask_is_kept(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:
    (tmp_path / "out/masks").mkdir(parents=True)
    (tmp_path / "out/masks/0.png").write_text("mine")
    predict([models["masks"]], pictures)
    assert (tmp_path / "out/changed/masks/0.png").read_text() == "mine"
    assert files(tmp_path) == OF_MASKS | RECORDS | {"changed/masks/0.png"}


def test_a_corrected_mask_beside_a_record_of_an_earlier_version_is_kept(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:
    predict([models["masks"]], pictures)
    for name in ("0", "sub/1"):
        record = tmp_path / f"out/files/{name}.json"
        fields = json.loads(record.read_text())
        record.write_text(json.dumps({key: value for key, value in fields.items() if key not in ("digests", "attempted")}))
    mask = tmp_path / "out/masks/0.png"
    mask.write_text("corrected")
    os.utime(mask, ns=(0, (tmp_path / "out/files/0.json").stat().st_mtime_ns + 1))
    predict([models["masks"]], pictures, force=True)
    assert files(tmp_path) == OF_MASKS | RECORDS | {"changed/masks/0.png"}
    assert (tmp_path / "out/changed/masks/0.png").read_text() == "corrected"


def test_of_a_link_in_the_place_of_a_mask_the_content_is_kept(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:
    predict([models["masks"]], pictures)
    (tmp_path / "out/mine.png").write_text("mine")
    (tmp_path / "out/masks/0.png").unlink()
    (tmp_path / "out/masks/0.png").symlink_to("../mine.png")
    predict([models["masks"]], pictures, force=True)
    kept, mask = tmp_path / "out/changed/masks/0.png", tmp_path / "out/masks/0.png"
    assert kept.read_text() == (tmp_path / "out/mine.png").read_text() == "mine" and not kept.is_symlink()
    assert not mask.is_symlink() and mask.read_bytes() != b"mine"


def test_a_half_written_file_of_a_killed_prediction_goes_with_the_whole_ones(
    pictures: Path, tmp_path: Path, models: dict[str, Path], predict: Predicted
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    predict([models["masks"]], pictures)
    (tmp_path / f"out/overlays/sub/.1.png.{HOST}-{ended.pid}.partial").write_text("half")
    predict([models["labels"]], pictures)
    assert files(tmp_path) == OF_LABELS | RECORDS and folders(tmp_path) == {"labels", "files"}
