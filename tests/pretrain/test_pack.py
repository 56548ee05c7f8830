"""Command `pack`: interrupted, repeated, on sources that it cannot pack; the same checkpoints from what it writes."""

import io
import os
import shutil
import tarfile
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from medtransfer import study
from medtransfer.cli import cli
from medtransfer.data import shards
from medtransfer.data.shards import open_split
from medtransfer.data.source_folders import source_fingerprint
from medtransfer.errors import InputError
from medtransfer.pretrain import pack
from medtransfer.records import file_states, list_checkpoints

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are settled at once."""
    monkeypatch.setattr(file_states, "SETTLED", -60)


def save(path: Path, seed: int) -> None:
    """Write a noisy picture of about 1.1 MB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (600, 640, 3), dtype=np.uint8)).save(path, compress_level=0)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures in two classes, each larger than a shard of one megabyte."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for number in range(4):
        save(tmp_path / "source" / "train" / f"c{number % 2}" / f"{number}.png", number)
    for number in range(2):
        save(tmp_path / "source" / "val" / f"c{number}" / "0.png", number)
    return tmp_path / "source"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_offers_every_format_that_is_written() -> None:
    (option,) = (parameter for parameter in cli.commands["pack"].params if parameter.name == "form")
    assert list(option.type.choices) == list(pack.PACKED) and set(pack.PACKED.values()) <= set(pack.FORMATS)


def test_pictures_are_divided_by_size_and_webdataset_finds_its_members(source: Path) -> None:
    packed = pack.run(source, source.with_name("packed"), "tar", 1)
    assert len(list((packed / "train").glob("*.tar"))) == 4 and len(list((packed / "val").glob("*.tar"))) == 2
    assert len(list((pack.run(source, source.with_name("large"), "tar", 100) / "train").glob("*.tar"))) == 1
    with tarfile.open(packed / "train" / "shard-000003.tar") as archive:
        assert archive.getnames() == ["000000000.png", "000000000.cls", "000000000.json"]
        files = [archive.extractfile(name) for name in archive.getnames()]
        picture, label, record = (file.read() for file in files if file)
    assert (label, record) == (b"1", b'{"name": "c1/3.png"}')
    assert picture == (source / "train/c1/3.png").read_bytes()


def test_tables_have_the_schema_of_hugging_face(source: Path) -> None:
    table = parquet.read_table(pack.run(source, source.with_name("packed"), "parquet", 100) / "train")
    assert table["label"].to_pylist() == [0, 0, 1, 1]
    assert table["image"][2].as_py() == {"bytes": (source / "train/c1/1.png").read_bytes(), "path": "c1/1.png"}
    assert b'"names": ["c0", "c1"]' in table.schema.metadata[b"huggingface"]


@pytest.mark.parametrize("form", pack.PACKED)
def test_an_interrupted_pack_continues_with_the_shard_that_it_was_at(
    source: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    destination, suffix = source.with_name("packed"), pack.PACKED[form]
    whole = contents(pack.run(source, source.with_name("whole"), form, 1))
    write, written = pack.FORMATS[suffix].write, []

    def killed_at_the_third(path: Path, *arguments: object) -> None:
        if len(written) == 2:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path)
        write(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pack.FORMATS[suffix], "write", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        pack.run(source, destination, form, 1)
    assert not destination.exists()
    monkeypatch.setattr(pack.FORMATS[suffix], "write", lambda *arguments: (written.append(arguments[0]), write(*arguments)))
    assert pack.run(source, destination, form, 1) == destination
    assert len(written) == 6  # two before, four after
    packed = contents(destination)
    assert packed.keys() == whole.keys() and not list(source.parent.glob(".packed*"))
    assert all(packed[name] == whole[name] for name in whole if name.endswith(suffix))
    assert source_fingerprint(destination, "classes") == source_fingerprint(source, "classes")


def test_a_finished_pack_is_kept_until_the_source_changes(source: Path) -> None:
    packed = pack.run(source, source.with_name("packed"), "tar", 1)
    before = {path: path.stat().st_mtime_ns for path in packed.rglob("*")}
    pack.run(source, packed, "tar", 1)
    assert {path: path.stat().st_mtime_ns for path in packed.rglob("*")} == before
    save(source / "train/c0/new.png", 9)
    with pytest.raises(
        InputError, match="expected a new or empty folder to pack into, but .*packed holds other files, or an earlier"
    ):
        pack.run(source, packed, "tar", 1)
    with pytest.raises(InputError, match="expected a new or empty folder to pack into"):
        pack.run(source, source.parent / "work" / "..", "tar", 1)


@pytest.mark.parametrize("settles", [-60, 3600])
def test_a_picture_replaced_by_one_of_the_same_size_and_time_is_an_earlier_state(
    source: Path, monkeypatch: pytest.MonkeyPatch, settles: float
) -> None:
    """Pictures that changed a moment before they were packed are compared by their contents."""
    monkeypatch.setattr(file_states, "SETTLED", settles)
    monkeypatch.setattr(file_states.time, "sleep", lambda seconds: None)
    packed = pack.run(source, source.with_name("packed"), "tar", 1)
    picture = source / "train/c0/0.png"
    status, content = picture.stat(), picture.read_bytes()
    picture.write_bytes(content)  # only its times differ
    pack.run(source, packed, "tar", 1)
    save(picture, 99)
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert picture.stat().st_size == len(content)
    with pytest.raises(InputError, match="expected a new or empty folder to pack into, but .* an earlier state of the source"):
        pack.run(source, packed, "tar", 1)


def test_unchanged_pictures_are_not_read_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack.run(source, source.with_name("packed"), "tar", 1)
    monkeypatch.setattr(pack.Pack, "_pictures", lambda *arguments: pytest.fail("pictures are read"))
    pack.run(source, packed, "tar", 1)


def test_a_copy_with_its_indexes_is_still_the_source(source: Path) -> None:
    packed = pack.run(source, source.with_name("packed"), "tar", 1)
    shutil.copytree(packed, source.with_name("copy"))
    shutil.rmtree(packed)
    assert pack.run(source, source.with_name("copy"), "tar", 1) == source.with_name("copy")
    assert source_fingerprint(source.with_name("copy"), "classes") == source_fingerprint(source, "classes")


def test_the_shards_appear_when_a_change_of_them_will_be_noticed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_states, "SETTLED", 100)
    waited: list[float] = []
    monkeypatch.setattr(file_states.time, "sleep", lambda seconds: waited.append(seconds))
    pack.run(source, source.with_name("packed"), "tar", 1)
    assert len(waited) == 1 and 90 < waited[0] < 101


def test_a_changed_source_restarts_only_the_shards_that_it_changes(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    destination, index_shard = source.with_name("packed"), pack.index_shard
    calls: list[str] = []

    def stop_late(path: Path) -> shards.ShardIndex:
        calls.append(path.name)
        if len(calls) == 5:
            raise OSError(28, "No space left on device", str(path))
        return index_shard(path)

    monkeypatch.setattr(pack, "index_shard", stop_late)
    with pytest.raises(OSError, match="No space left"):
        pack.run(source, destination, "tar", 1)
    (source / "train/c1/3.png").unlink()  # the fourth shard of the first attempt is a stray now
    save(source / "train/c0/0.png", 77)
    pack.run(source, destination, "tar", 1)
    assert calls[5:] == ["shard-000000.tar", "shard-000000.tar", "shard-000001.tar"]
    assert source_fingerprint(destination, "classes") == source_fingerprint(source, "classes")


@pytest.mark.parametrize("steps", permutations(pack.PACKED, 2))
def test_shards_are_packed_into_shards(source: Path, steps: tuple[str, str]) -> None:
    first = pack.run(source, source.with_name("first"), steps[0], 1)
    second = pack.run(first, source.with_name("second"), steps[1], 1)
    assert len(list((second / "train").glob(f"*.{steps[1]}"))) == 4
    assert source_fingerprint(second, "classes") == source_fingerprint(source, "classes")
    pack.run(first, second, steps[1], 1)


def spoil_picture(source: Path) -> None:
    (source / "train/c1/1.png").write_bytes(b"no picture")


def empty_picture(source: Path) -> None:
    (source / "train/c1/1.png").write_bytes(b"")


def empty_class(source: Path) -> None:
    (source / "train/c2").mkdir()


def no_validation(source: Path) -> None:
    shutil.rmtree(source / "val")


def a_target(source: Path) -> None:
    (source / "dataset.json").write_text("{}")


def not_unicode(source: Path) -> None:
    (source / "train/c0/0.png").rename(source / "train/c0" / os.fsdecode(b"\xff.png"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_picture, r"expected a picture in .*train/c1/1.png, but it is unreadable \(cannot identify"),
        (empty_picture, r"expected a picture in .*train/c1/1.png, but it is empty; replace or remove it"),
        (empty_class, "expected pictures in .*train/c2, but there are none; add some or remove the class"),
        (no_validation, "expected pictures in .*train and .*val, but .*val is not a folder"),
        (a_target, "expected a source of pictures to pack, but .*source is a prepared target"),
        (not_unicode, "expected names in UTF-8, but got .* in .*train; rename the file"),
    ],
)
def test_a_source_that_cannot_be_packed_is_one_sentence(source: Path, spoil, message: str) -> None:
    spoil(source)
    with pytest.raises(InputError, match=message) as raised:
        pack.run(source, source.with_name("packed"), "tar", 1)
    assert "\n" not in str(raised.value) and not source.with_name("packed").exists()


def test_the_destination_is_not_among_the_pictures(source: Path) -> None:
    with pytest.raises(InputError, match="expected a destination outside of the pictures of .*source, but got .*deeper"):
        pack.run(source, source / "train" / "deeper", "tar", 1)


@pytest.mark.parametrize("form", pack.PACKED)
def test_a_packed_source_makes_the_same_checkpoints(workplace: Path, tiny_params, form: str) -> None:
    """Their results are one: the digest of the pretraining is that of the folder's."""
    params = tiny_params({"pretrain.out": "from-files"})
    study.pretrain(params)
    packed = pack.run(Path(params.pretrain.source_root), Path("packed"), form, 1)
    study.pretrain(tiny_params({"pretrain.out": "from-shards", "pretrain.source_root": str(packed)}), force=True)
    files, stored = (list_checkpoints(Path(out, "unet-simple")) for out in ("from-files", "from-shards"))
    assert {epoch: info.weights for epoch, info in files.items()} == {epoch: info.weights for epoch, info in stored.items()}
    assert {info.pretraining for info in files.values()} == {info.pretraining for info in stored.values()}


def test_an_index_of_a_picture_is_that_of_its_bytes(source: Path) -> None:
    packed = pack.run(source, source.with_name("packed"), "parquet", 100)
    split = open_split(packed, "train")
    for name, offset, size in zip(split.names, split.offsets, split.sizes, strict=True):
        with split.shards[0].open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        assert content == (source / "train" / name.decode()).read_bytes()
        assert Image.open(io.BytesIO(content)).size == (640, 600)
