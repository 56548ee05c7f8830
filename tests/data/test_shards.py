"""Sources in shards: the samples, the order and the digest of the same pictures as files."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from medtransfer.data import shards
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.sampling import EpochBatches, loader
from medtransfer.data.shard_formats import FORMATS
from medtransfer.data.shards import LETTERS, is_sharded, open_split
from medtransfer.data.source_folders import source_fingerprint
from medtransfer.data.unlabelled_pictures import open_pictures
from medtransfer.errors import InputError
from medtransfer.pretrain import pack
from medtransfer.records import file_states

PLAIN: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "seed": 1, "randaugment": {"ops": 2, "magnitude": 9, "scale": 30}}
# Names whose order as paths differs from that class by class ("-" is before "/"), with dots, capitals and letters beyond ASCII.
NAMES = ["a/1.JPEG", "a/deep/2.png", "a-b/x.1.jpg", "a-b/x.2.jpg", "a-b/é.png", "ß/3.PNG", "ß/z.bmp", "ß/y.tif", "ß/10.webp"]


def encoded(seed: int, form: str = "JPEG") -> bytes:
    """Return a picture file of noise."""
    pixels, file = np.random.default_rng(seed).integers(0, 256, (18 + seed, 24, 3), dtype=np.uint8), io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


FORMS = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".webp": "WEBP"}


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are settled at once."""
    monkeypatch.setattr(file_states, "SETTLED", -60)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of three classes as files, beside the working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    root = tmp_path / "files"
    for seed, name in enumerate(["train/" + name for name in NAMES] + ["val/a/1.png", "val/a-b/1.png", "val/ß/1.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(seed, FORMS[Path(name).suffix.lower()]))
    return root


def save_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Write a tar file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def images(root: Path, split: str = "train") -> SourceImages:
    return SourceImages(root, split, 8, train=split == "train", **PLAIN)


@pytest.mark.parametrize("form", pack.PACKED)
def test_a_packed_source_gives_the_samples_of_the_folder(folder: Path, form: str) -> None:
    packed = pack.run(folder, folder.with_name("packed"), form, 1)
    for split in ("train", "val"):
        ours, theirs = images(packed, split), images(folder, split)
        assert list(ours.classes) == list(theirs.classes) == ["a", "a-b", "ß"]
        assert ours.labels.tolist() == theirs.labels.tolist() and len(ours) == len(theirs) == (9 if split == "train" else 3)
        for epoch in (0, 3):
            ours.set_epoch(epoch)
            theirs.set_epoch(epoch)
            assert all(torch.equal(ours[index][0], theirs[index][0]) for index in range(len(ours)))
        plain, listed = open_pictures(packed, split), open_pictures(folder, split)
        assert len(plain) == len(listed)
        assert all(plain.picture(index).tobytes() == listed.picture(index).tobytes() for index in range(len(plain)))
    assert source_fingerprint(packed, "classes") == source_fingerprint(folder, "classes")
    assert source_fingerprint(packed, "pictures") == source_fingerprint(folder, "pictures")


def test_worker_processes_read_the_same_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of four shards is opened and closed again, since two files may be open."""
    monkeypatch.setattr(shards, "OPEN_SHARDS", 2)
    monkeypatch.setattr(pack, "_divide", lambda folder, names, megabytes: [names[begin::4] for begin in range(min(4, len(names)))])
    packed = pack.run(folder, folder.with_name("packed"), "tar", 1)
    batches = EpochBatches(9, 4, seed=5, shuffle=True, drop_last=False)
    read = [
        [batch[0] for batch in loader(images(root), batches, workers, pin=False)] for root, workers in ((packed, 2), (folder, 0))
    ]
    assert [len(batch) for batch in read[0]] == [4, 4, 1]
    assert all(torch.equal(a, b) for a, b in zip(*read, strict=True))


def test_pictures_without_classes_are_packed_in_their_order(folder: Path) -> None:
    flat = folder.with_name("flat")
    for split in ("train", "val"):
        for number in range(3):
            (flat / split).mkdir(parents=True, exist_ok=True)
            (flat / split / f"{number}.jpg").write_bytes(encoded(number))
    packed = pack.run(flat, folder.with_name("packed"), "parquet", 1)
    assert source_fingerprint(packed, "pictures") == source_fingerprint(flat, "pictures")
    assert len(open_pictures(packed, "train")) == 3
    with pytest.raises(InputError, match=r"expected labelled pictures in the shards of train in .*packed, but none has a label"):
        images(packed)


def test_webdataset_shards_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are numbers, names, or in JSON; keys repeat in each shard; other parts of a sample are left out."""
    monkeypatch.chdir(tmp_path)
    save_tar(tmp_path / "s" / "train" / "00000.tar", {
        "0001.jpg": encoded(1), "0001.cls": b"10", "0002.jpg": encoded(2), "0002.cls": b"2\n", "0002.txt": b"a dog",
    })  # fmt: skip
    save_tar(tmp_path / "s" / "train" / "00001.tar", {
        "./._0001.jpg": b"hidden", "0001.PNG": encoded(3, "PNG"), "0001.json": json.dumps({"label": 2}).encode(),
    })  # fmt: skip
    save_tar(
        tmp_path / "s" / "val" / "00000.tar",
        {"a/x.cls": b"2", "a/x.jpg": encoded(4), "b/000010.jpg": encoded(5), "b/000010.cls": b"10"},
    )
    train = images(tmp_path / "s")
    assert train.classes == ["000002", "000010"] and train.labels.tolist() == [0, 0, 1]
    sizes = [train.picture(index).height for index in range(3)]
    assert sizes == [18 + 3, 18 + 2, 18 + 1]  # of the class 2 in the order of names: 0001.PNG, 0002.jpg
    assert images(tmp_path / "s", "val").labels.tolist() == [0, 1]


def test_tar_files_of_an_image_folder_are_read(folder: Path) -> None:
    root = folder.with_name("tarred")
    for split in ("train", "val"):
        members = {str(path.relative_to(folder / split)): path.read_bytes() for path in sorted((folder / split).rglob("*.*"))}
        save_tar(root / split / "all.tar", members)
    assert source_fingerprint(root, "classes") == source_fingerprint(folder, "classes")


def hugging_face(path: Path, labels: list[Any], compression: str = "none", **options: Any) -> Path:
    """Write a table of pictures as `datasets` does."""
    rows = [{"bytes": encoded(number), "path": None} for number in range(len(labels))]
    table = pa.table({"image": pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()})), "label": pa.array(labels)})
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    else:
        parquet.write_table(table, path, compression=compression, **options)
    return path


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False, "row_group_size": 2}, {"data_page_version": "2.0"}])
def test_tables_of_hugging_face_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """Their names are those that the Hub gives to the files of the splits."""
    monkeypatch.chdir(tmp_path)
    hugging_face(tmp_path / "data" / "train-00000-of-00001.parquet", [1, 0, 1], **options)
    hugging_face(tmp_path / "data" / "validation-00000-of-00001.parquet", ["0", "000001"], **options)
    train = images(tmp_path / "data")
    assert train.classes == ["000000", "000001"] and train.labels.tolist() == [0, 1, 1]
    assert [train.picture(index).height for index in range(3)] == [19, 18, 20]


def test_arrow_streams_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        hugging_face(tmp_path / "data" / split / "data-00000-of-00001.arrow", ["cat", "ant", "cat"])
    train = images(tmp_path / "data")
    assert train.classes == ["ant", "cat"] and [train.picture(index).height for index in range(3)] == [19, 18, 20]


def test_compressed_tables_are_refused_and_can_be_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blank = io.BytesIO()
    Image.new("RGB", (64, 64)).save(blank, "BMP")
    monkeypatch.setitem(globals(), "encoded", lambda number: blank.getvalue())
    for split in ("train", "val"):
        hugging_face(tmp_path / "data" / f"{split}-0.parquet", [0, 1], "snappy", use_dictionary=False)
    with pytest.raises(InputError, match="expected uncompressed pictures in .*-0.parquet, which are read by their place"):
        images(tmp_path / "data")
    packed = pack.run(tmp_path / "data", tmp_path / "packed", "tar", 1)
    assert images(packed).labels.tolist() == [0, 1] and images(packed).picture(1).size == (64, 64)


def test_an_index_is_made_again_when_its_shard_has_changed(folder: Path) -> None:
    packed = pack.run(folder, folder.with_name("packed"), "tar", 1)
    shard = packed / "val" / "shard-000000.tar"
    index = shard.with_name(".shard-000000.tar.index")
    before, stored = source_fingerprint(packed, "classes"), index.read_bytes()
    index.unlink()
    assert source_fingerprint(packed, "classes") == before  # what was read is kept by this process
    shards._open.cache_clear()
    assert source_fingerprint(packed, "classes") == before
    stored = index.read_bytes()
    index.write_bytes(stored[:100])  # half of it
    shards._open.cache_clear()
    assert source_fingerprint(packed, "classes") == before and len(index.read_bytes()) == len(stored)  # its texts have no order
    members = {f"{number}.jpg": encoded(number + 7) for number in range(3)}
    labels = {f"{number}.cls": name.encode() for number, name in enumerate(["a", "a-b", "ß"])}
    save_tar(shard, dict(sorted((members | labels).items())))
    assert source_fingerprint(packed, "classes") != before
    assert images(packed, "val").picture(2).height == 18 + 9


def replace_in_place(shard: Path, replaced: Path, times: tuple[int, int] | None = None) -> None:
    """Overwrite a shard with another one of the same size, and set its modification time, by default to what it was."""
    times = times or (shard.stat().st_atime_ns, shard.stat().st_mtime_ns)
    assert replaced.stat().st_size == shard.stat().st_size
    shard.write_bytes(replaced.read_bytes())
    os.utime(shard, ns=times)


def classes_of_one(root: Path) -> Path:
    """Write a source of one class with one picture per split, and the shard of another picture of the same size."""
    blank = [io.BytesIO() for _ in range(3)]
    for grey, file in enumerate(blank):
        Image.new("L", (8, 8), grey).save(file, "BMP")
    for file, name in zip(blank, ("train/0.tar", "val/0.tar", "other.tar"), strict=True):
        save_tar(root / name, {"a/1.bmp": file.getvalue()})
    return root / "other.tar"


def test_a_shard_replaced_by_one_of_the_same_size_and_time_is_indexed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = classes_of_one(tmp_path / "s")
    first = source_fingerprint(tmp_path / "s", "pictures")
    replace_in_place(tmp_path / "s" / "train" / "0.tar", other)
    second = source_fingerprint(tmp_path / "s", "pictures")
    assert second != first
    other.replace(tmp_path / "s" / "train" / "1.tar")
    (tmp_path / "s" / "train" / "0.tar").unlink()  # the same picture in another shard
    assert source_fingerprint(tmp_path / "s", "pictures") == second


def test_a_shard_that_changes_while_it_is_indexed_is_refused_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same size and time of content before and after."""
    monkeypatch.chdir(tmp_path)
    other, read, shard = classes_of_one(tmp_path / "s"), FORMATS[".tar"].read, tmp_path / "s" / "train" / "0.tar"

    def change(path: Path) -> Any:
        yield from read(path)
        replace_in_place(path, other if path == shard else path)

    with monkeypatch.context() as patch:
        patch.setattr(FORMATS[".tar"], "read", change)
        with pytest.raises(InputError, match=r"expected a finished shard in .*train/0.tar, but it changed while it was read"):
            open_split(tmp_path / "s", "train")
    split = open_split(tmp_path / "s", "train")
    content = other.read_bytes()[512:][: split.sizes[0]]  # after the header of the only member
    assert shards.ShardReader(split).read(0) == content
    assert shards.stored_index(shard).digests.tobytes() == hashlib.sha256(content).digest()


def test_the_index_of_a_shard_that_changed_a_moment_ago_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(file_states, "SETTLED", 3600)
    waited: list[float] = []
    monkeypatch.setattr(file_states.time, "sleep", waited.append)
    classes_of_one(tmp_path / "s")
    assert len(open_split(tmp_path / "s", "train").names) == 1
    assert len(waited) == 1 and 3500 < waited[0] < 3601 and not list(tmp_path.rglob("*.index"))


def test_a_copied_shard_is_refused(folder: Path) -> None:
    packed = pack.run(folder, folder.with_name("packed"), "tar", 1)
    shutil.copy(packed / "train" / "shard-000000.tar", packed / "train" / "shard-1.tar")
    with pytest.raises(InputError, match="expected shards of different .*shard-1.tar holds those of .*shard-000000.tar"):
        images(packed)
    with pytest.raises(InputError, match=r"expected one sample .* is in .*/shard-000000.tar and in .*/shard-1.tar"):
        pack.run(packed, folder.with_name("again"), "tar", 1)


def test_the_index_of_shards_that_cannot_be_written_is_in_the_own_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack.run(folder, folder.with_name("packed"), "tar", 1)
    for index in packed.rglob("*.index"):
        index.unlink()
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: packed not in Path(path).parents and writable(path, mode))
    shards._open.cache_clear()
    assert source_fingerprint(packed, "classes") == source_fingerprint(folder, "classes")
    assert not list(packed.rglob("*.index")) and len(list(Path(".medtransfer/shards").glob("*.index"))) == 2


def shard_bytes(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


GOOD = {"1.jpg": encoded(1), "1.cls": b"1"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0.tar", b"", r"expected a shard in .*0.tar, but it is unreadable \(ReadError: empty file\); replace it"),
        ("0.tar", b"no tar" * 500, r"expected a shard in .*0.tar, but it is unreadable \(ReadError"),
        ("0.tar", shard_bytes(GOOD)[:900], r"unreadable \(ReadError: unexpected end of data"),
        ("0.tar", shard_bytes(GOOD)[:1536], r"unreadable \(ReadError: it ends in the middle of a file"),
        ("0.tar", shard_bytes({"notes.txt": b"x"}), "expected pictures in .*0.tar, but there are none"),
        ("0.tar", shard_bytes({"1.jpg": b"", "1.cls": b"1"}), "expected a picture '000001/1.jpg' in .*0.tar, but it is empty"),
        ("0.tar", shard_bytes({"1.cls": b"1"}), "expected one picture in the sample 1 of .*0.tar, but got none of the files .cls"),
        ("0.tar", shard_bytes({**GOOD, "1.png": b"x"}), "but got 2 of the files .cls, .jpg, .png"),
        ("0.tar", shard_bytes({"1.jpg": b"x", "1.cls": b"../up"}), "expected a label of 0 or more, .* but got '../up'"),
        ("0.tar", shard_bytes({"1.jpg": b"x", "1.cls": b"-1"}), "expected a label of 0 or more, .* but got '-1'"),
        ("0.tar", shard_bytes({"1.jpg": b"x", "1.json": b"{"}), "expected JSON in .*0.tar, sample 1, but it is unreadable"),
        ("0.tar", shard_bytes({"1.jpg": b"x", "1.json": b'{"name": "a\\u0000b"}'}), "expected a path as the name of a picture"),
        ("0.tar", shard_bytes({"1.jpg": b"x", "1.json": json.dumps({"name": "a" * LETTERS + "b"}).encode()}), "expected a path as"),
        ("0.tar", shard_bytes({"../x/1.bmp": b"x"}), "the name of a picture in .*0.tar, without `..`, but got '../x/1.bmp';"),
        ("0.tar", shard_bytes({"1.jpg": b"x", "1.json": b'{"name": "a/../b.jpg"}'}), "without `..`, but got 'a/../b.jpg'; correct"),
        ("0.tar", shard_bytes({"a/1.jpg": b"x", "b/1.jpg": b"x", "./a/1.jpg": b"y"}),
         "expected one sample a/1.jpg, but .*train/0.tar has two; remove the copy"),
        ("0.parquet", b"PAR1 no table", r"expected a shard in .*0.parquet, but it is unreadable \(ArrowInvalid"),
        ("0.arrow", b"no table", r"expected a shard in .*0.arrow, but it is unreadable \(ArrowInvalid"),
    ],
)  # fmt: skip
def test_an_unusable_shard_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        open_split(tmp_path, "train")
    assert "\n" not in str(raised.value) and ("has two" in message or not list(tmp_path.rglob("*.index")))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [b"x"]}, "expected a column of pictures in .*0.parquet, one of image, img, jpg, but got"),
        ({"image": ["x"]}, "expected the bytes of picture files in the images of .*0.parquet, but their type is string"),
        ({"image": [b"x", None]}, "expected a picture in row 1 of .*0.parquet, but it is empty"),
        ({"image": [b"x"], "label": [-1]}, "expected a label of 0 or more, .*0.parquet, row 0, but got -1"),
    ],
)
def test_an_unusable_table_is_one_sentence(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "0.parquet", compression="none")
    with pytest.raises(InputError, match=message):
        list(FORMATS[".parquet"].read(tmp_path / "0.parquet"))
        shards.index_shard(tmp_path / "0.parquet")


def test_missing_and_shortened_shards_are_named(folder: Path) -> None:
    packed = pack.run(folder, folder.with_name("packed"), "tar", 1)
    train = images(packed)
    (packed / "val" / "shard-000000.tar").rename(packed / "gone")
    with pytest.raises(InputError, match="expected shards of the split val in .*packed as there are of train"):
        images(packed)
    os.truncate(packed / "train" / "shard-000000.tar", 3000)
    with pytest.raises(InputError, match=r"in .*train/shard-000000.tar: ß/z.bmp, but the shard ends before; replace it"):
        train.picture(8)


def test_shards_beside_folders_or_pictures_are_no_source(folder: Path) -> None:
    """Such as the archives that the class folders of ImageNet are unpacked from."""
    save_tar(folder / "train" / "n01440764.tar", {"x.jpg": encoded(1)})
    assert not is_sharded(folder) and len(images(folder)) == 9
