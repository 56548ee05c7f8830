"""Contract of a prepared target, for every entry of READERS."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.prepare.conftest import CASES

from medtransfer import forks
from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.prepare.readers import READERS
from medtransfer.records import (
    IGNORE,
    IMAGE_TASKS,
    IMAGES_FILE,
    INDEX_COLUMNS,
    INDEX_FILE,
    LABELS_FILE,
    MASKS_FILE,
    UNCERTAIN,
    PreparedTarget,
)
from medtransfer.records.prepared import SPACING_COLUMNS

pytestmark = pytest.mark.long

Run = Callable[..., PreparedTarget]


@pytest.mark.parametrize("reader", READERS)
def test_a_prepared_target_keeps_the_contract(
    reader: str, run: Run, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = run(reader)
    said = [message.replace(str(prepared.folder), "") for message in caplog.messages]
    index, images, info = prepared.index, prepared.images, prepared.info
    (labels_file,) = info.arrays.keys() - {IMAGES_FILE, INDEX_FILE}
    labels = np.load(prepared.folder / labels_file)
    known = reader in ("acdc", "nnunet", "msd", "nifti", "dicom")
    assert tuple(index.columns) == (*INDEX_COLUMNS, *SPACING_COLUMNS * known)
    assert not known or (index[list(SPACING_COLUMNS)] > 0).all(axis=None)
    assert (images.dtype, images.shape[-1], len(labels)) == (np.uint8, info.channels, len(images))
    if labels_file == MASKS_FILE:
        assert (labels.dtype, labels.shape) == (np.uint8, images.shape[:-1])
        assert set(np.unique(labels)) == {*range(len(info.classes) + 1), *[IGNORE] * info.ignore}
    else:
        several = (len(info.classes),) if info.task == "multilabel" else ()
        highest = len(info.classes) - 1 if info.task in ("multiclass", "ordinal") else 1
        assert (labels_file, labels.dtype, labels.shape) == (LABELS_FILE, np.uint8, (len(images), *several))
        assert info.task in IMAGE_TASKS and set(np.unique(labels)) <= {*range(highest + 1), UNCERTAIN}
    assert sorted(index["row"].unique()) == list(range(len(images)))
    assert list(index["sample"]) == list(range(len(index)))
    assert (index["top"] + index["height"] <= images.shape[1]).all()
    assert (index["left"] + index["width"] <= images.shape[2]).all()
    assert index.groupby("group")["split"].nunique().max() == 1
    assert info.counts == index["split"].value_counts().to_dict()
    assert set(info.counts) == {"train", "test"}
    assert list(index.loc[index["split"] == "test", ["height", "width"]].drop_duplicates().iloc[0]) == info.input
    assert images.std() > 5
    assert info.citation and (info.image_rule is None) == (reader == "rsna-pe")  # no rule has a window per channel
    assert info.arrays == {name: file_sha256(prepared.folder / name) for name in ("images.npy", labels_file, "index.csv")}
    assert (prepared.folder / "preview.png").is_file()
    assert info.sources and set(index["source"]) <= set(info.sources)
    assert all(file_sha256(samples / CASES[reader]["root"] / name) == digest for name, digest in info.sources.items())
    monkeypatch.setattr(forks, "can_fork", lambda: True)
    monkeypatch.setattr(forks, "count_cores", lambda: 3)
    caplog.clear()
    again = run(reader, out=tmp_path / "again")
    assert again.info == info and (again.folder / INDEX_FILE).read_bytes() == (prepared.folder / INDEX_FILE).read_bytes()
    assert [message.replace(str(again.folder), "") for message in caplog.messages] == said


@pytest.mark.parametrize("reader", READERS)
def test_missing_and_empty_folders_and_unknown_options_are_refused(reader: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected the folder .*nowhere.*, but it does not exist; .*(root|options)"):
        run(reader, root=tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"expected the folder .*file.*, but it is a file; .*(root|options)"):
        run(reader, root=tmp_path / "file")
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="expected"):
        run(reader, root=tmp_path / "raw")
    with pytest.raises(InputError, match=f"options that the reader '{reader}' knows .* but got colour"):
        run(reader, options={"colour": "red"})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("reader", READERS)
def test_a_truncated_image_leaves_no_target(reader: str, run: Run, copy: Callable[[str], Path], tmp_path: Path) -> None:
    root = copy(reader)
    name = run(reader, root=root).index["source"].iloc[-1]
    data = (root / name).read_bytes()
    (root / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cannot be read|is damaged|cannot hold"):
        run(reader, root=root, out=tmp_path / "fresh")
    assert not list((tmp_path / "fresh").glob("*")) and not list((tmp_path / "fresh").glob(".*"))


@pytest.mark.parametrize("reader", ["covid-qu", "idrid", "folder"])
def test_decomposed_names_are_the_names_of_their_images(reader: str, run: Run, copy: Callable[[str], Path]) -> None:
    root = copy(reader)
    image, mask = (path for path in READERS[reader](root, CASES[reader]["size"], CASES[reader]["options"]).items[0].files)
    before = run(reader, root=root)
    image.rename(image.with_name(f"\u00fc{image.name}"))  # composed
    mask.rename(mask.with_name(f"u\u0308{mask.name}"))  # decomposed, as macOS writes it
    assert len(run(reader, root=root).index) == len(before.index)


def test_a_name_that_is_not_utf8_is_refused(run: Run, copy: Callable[[str], Path]) -> None:
    root = copy("folder")
    for path in (next((root / kind).iterdir()) for kind in ("images", "infection masks")):
        path.rename(path.with_name(os.fsdecode(b"gr\xf6\xdfe.png")))
    with pytest.raises(InputError, match=r"file names in UTF-8, but got b'.*gr\\xf6\\xdfe.png'; rename"):
        run("folder", root=root)
