"""The record of every arrow: round trips, whole files or none, and refusals that say what to run."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from medtransfer.cli import cli
from medtransfer.config import loaded_files
from medtransfer.errors import InputError
from medtransfer.records import (
    INDEX_COLUMNS,
    Cell,
    CheckpointInfo,
    ExportInfo,
    FinishedScores,
    ImageRule,
    ModelInfo,
    Prediction,
    PreparedTarget,
    Pretraining,
    Result,
    Score,
    ScoreIndex,
    Scores,
    TargetInfo,
    atomic,
    atomic_folder,
    atomic_path,
    checkpoint_path,
    find_checkpoint,
    list_checkpoints,
    read_tensors,
    write_json,
    write_tensors,
    write_text,
)  # fmt: skip
from medtransfer.records.atomic import HOST, scratch_folder
from medtransfer.records.base import AGAIN, COMMANDS, REMEDIES, Record
from medtransfer.records.finished import Finished
from medtransfer.records.ranked import RankedCandidate
from medtransfer.records.similarity import Similarity
from medtransfer.records.weights_file import is_whole

CELL = Cell(
    target="heart", encoder="unet", origin="simple", epoch=5, mode="full", seed=7, source="sample", protocol="p1",
    pretraining="a1", weights="w1", data="d1",
)  # fmt: skip
EXAMPLES: dict[type[Record], Any] = {
    TargetInfo: TargetInfo(
        target="heart", reader="acdc", task="segmentation", citation="Bernard et al.", classes=["ventricle", "muscle"], channels=1,
        input=[64, 64], augmentation="rotate-crop", scaling="0..99.5 %", counts={"train": 2, "test": 1},
        expected={"train": 1902}, subset=True, sources={"a é.nii": "00"}, arrays={"images.npy": "11"},
        settings={"split": {"test": 0.2, "seed": 0}, "options": {}},
        image_rule=asdict(ImageRule("window", -160.0, 240.5, channels=[0, 1, 1], keep_aspect=True)),
    ),
    CheckpointInfo: CheckpointInfo(
        encoder="small", build="unet", arguments={"width": 4, "layers": [1, 2]}, levels=[[1, 4], [2, 8]], multiple=2, epoch=5,
        origin="simple", kind="supervised", parts=["encoder", "head"], source="sample", source_classes=["x", "y"],
        metrics={"source_accuracy": 0.1 + 0.2}, seed=1, pretraining="a1", lineage=["a.pth 00"],
        input={"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3, "channels": "RGB"}, loaded={"matched": 3, "total": 4},
        weights="w1", git_revision="none",
    ),
    Result: Result(
        cell=asdict(CELL), key=CELL.key, task="segmentation", primary="dice", metrics={"dice": 0.1 + 0.2}, per_sample="values.csv",
        curves={"loss": [1.0, 0.5]}, encoder_hash=["h", "h"], settings={"epochs": 2}, seconds=1.5, git_revision="none",
    ),
    ModelInfo: ModelInfo(
        cell=asdict(CELL), key=CELL.key, task="segmentation", classes=["lesion"], thresholds=[0.5], build="unet",
        arguments={"width": 4}, decoder=None, input=[32, 64], size=[64, 128], channels=3, mean=[0.5] * 3, std=[0.1 + 0.2] * 3,
        image_rule=asdict(ImageRule("percentiles", 0.5, 99.5, over="image")), parts=["encoder", "decoder"], weights="w1",
        kind="supervised", lineage=["a.pth 00"], licence="Apache-2.0", git_revision="none",
    ),
    Prediction: Prediction(
        image="scan 1", key="ab12", models=[["models/a", "cd34"]], outputs={"mask": "masks/scan 1.nii.gz"},
        classes=[{"label": 1, "class": "lesion", "pixels": 12, "ml": 0.1 + 0.2}], seconds=1.5,
    ),
    ExportInfo: ExportInfo(
        identity="i1", kind="onnx", file="model.onnx", interface={"input": {"shape": [None, 32]}}, task="segmentation",
        classes=["lesion"], thresholds=[0.5], size=[64, 128], image_rule=None, mean=[0.5] * 3, std=[0.1 + 0.2] * 3, key=CELL.key,
        weights="w1", target="heart", source="sample", lineage=["a.pth 00"], licence="", difference=1e-17, tolerance=0.1,
        versions={"torch": "2"}, git_revision="none",
    ),
    Scores: Scores(
        target="heart", data="d1", encoder="unet", origin="simple", source="sample", epoch=5, pretraining="a1", weights="w1",
        source_accuracy=0.75, images=3, settings={"seed": 0}, notes={"robustness": ["n"]},
        rows=[Score("robustness", {"distance": "l2", "level": -2, "pooled": True, "margin": 0.5}, 1e-17, None, {"zero": 2})],
    ),
    ScoreIndex: ScoreIndex([0, 5], ["robustness"]),
    Finished: Finished("a" * 16, ["b" * 16], {"ranking.md": "c" * 64}),
    FinishedScores: FinishedScores("a" * 16, "b" * 16, {"scores.json": "c" * 64}),
    RankedCandidate: RankedCandidate(
        name="resnet18", kind="timm", build="timm", arguments={"name": "resnet18"}, weights="w1", audit="all loaded",
        input={"size": 64, "mean": [0.5] * 3, "std": [0.25] * 3, "channels": "RGB"}, levels=[[2, 64], [4, 64]],
        level=-1, series="", source="",
        epoch=None, source_accuracy=None, cell="c1", images=9, groups=3, notes={}, seconds=1.5,
        forward_seconds=0.1 + 0.2, memory=700.5,
        rows=[Score("rankme", {"level": -2, "pixels": 60}, None, 0.5, {"undefined": 1}, [0.1, 0.2, 0.4])],
    ),
    Pretraining: Pretraining(
        name="unet-simple", cell="c1", pretraining="a1", epochs=[0, 5], params={"lr": "0.002"}, tags={"saved": "0 5"},
        curves={"train_loss": {"1": 2.5}}, inputs=[["sample", "f1", "pictures", "training"]],
    ),
    Similarity: Similarity(
        target="heart", data="d1", split="train", images=24, batch=8, estimate="unbiased", features="flat", level=-1,
        encoders=["a", "b"], weights=["w1", "w2"], levels=[[[2, 8], [4, 16]], [[4, 32]]],
        values=[[1.0, 0.1 + 0.2, None], [0.1 + 0.2, 1.0, -0.05], [None, -0.05, None]], cell="c1",
    ),
}  # fmt: skip


@pytest.fixture(params=Record.__subclasses__(), ids=lambda kind: kind.__name__)
def example(request: pytest.FixtureRequest) -> Any:
    """Return an example of every record that there is."""
    return EXAMPLES[request.param]


@pytest.fixture
def target(tmp_path: Path) -> PreparedTarget:
    """Write a prepared target of two pictures and three samples."""
    folder = tmp_path / "heart"
    folder.mkdir()
    np.save(folder / "images.npy", np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 1))
    np.save(folder / "masks.npy", np.ones((2, 4, 4), np.uint8))
    lines = [
        (0, 0, "train", "NA", "0012", 3, 0, 0, 4, 4),
        (1, 1, "train", "7", "b", 0, 0, 0, 2, 4),
        (2, 1, "test", "7", "b", 0, 2, 0, 2, 4),
    ]
    pd.DataFrame(lines, columns=list(INDEX_COLUMNS)).to_csv(folder / "index.csv", index=False)
    EXAMPLES[TargetInfo].write(folder / "dataset.json")
    return PreparedTarget.open(folder)


def test_the_size_of_pixels_is_in_two_further_columns(target: PreparedTarget) -> None:
    path = target.folder / "index.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    sizes = ["pixel_height,pixel_width", "1.5,0.75", ",", "2,3"]
    path.write_text("\n".join(f"{line},{size}" for line, size in zip(lines, sizes, strict=True)), encoding="utf-8")
    index = PreparedTarget.open(target.folder).index
    assert index["pixel_height"].tolist()[::2] == [1.5, 2] and index["pixel_width"].isna().tolist() == [False, True, False]
    for wrong in ("0", "-1", "inf", "nan", "wide"):
        path.write_text("\n".join(f"{line},{size}" for line, size in zip(lines, [*sizes[:3], f"2,{wrong}"], strict=True)))
        with pytest.raises(InputError, match=r"a positive length in mm or nothing in the column 'pixel_width' .* in line 4"):
            _ = PreparedTarget.open(target.folder).index


def test_a_record_comes_back_as_it_was(example: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "record.json"
    example.write(path)
    assert type(example).read(path) == example
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]
    form = json.loads(path.read_text(encoding="utf-8"))["format"]
    assert form == example.form() and re.fullmatch(r"medtransfer/[a-z-]+/[1-9]", form)


def test_every_form_has_its_own_name() -> None:
    assert len({kind.form() for kind in EXAMPLES}) == len(EXAMPLES)
    with pytest.raises(TypeError):
        Record.form()


def test_a_missing_record_names_the_file_and_the_command(example: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"expected the file {tmp_path / 'r.json'}, .*; make it with `medtransfer \w+"):
        type(example).read(tmp_path / "r.json")


def test_the_remedy_of_a_target_has_its_name_and_the_loaded_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_files, "_LOADED", [Path("my.yaml")])
    command = "with `medtransfer prepare --target my-lesions{} --params my.yaml`"
    with pytest.raises(InputError, match=f"does not exist; make it {command.format('')}$"):
        PreparedTarget.open(tmp_path / "my-lesions")
    write_json(tmp_path / "my-lesions/dataset.json", {"format": TargetInfo.form()})
    with pytest.raises(InputError, match=f"it is missing; make it again {command.format(' --force')}$"):
        PreparedTarget.open(tmp_path / "my-lesions")


@pytest.mark.parametrize("field", [0, -1])
def test_an_incomplete_record_names_the_field(example: Any, field: int, tmp_path: Path) -> None:
    name = [one.name for one in fields(example) if one.name not in example.added()][field]
    value = {"format": example.form(), **asdict(example)}
    del value[name]
    write_json(tmp_path / "r.json", value)
    with pytest.raises(InputError, match=rf"expected the field '{name}' in {tmp_path / 'r.json'}"):
        type(example).read(tmp_path / "r.json")


def test_a_target_of_before_the_image_rule_is_read(tmp_path: Path) -> None:
    value = {"format": TargetInfo.form(), **asdict(EXAMPLES[TargetInfo])}
    del value["image_rule"]
    write_json(tmp_path / "r.json", value)
    assert TargetInfo.read(tmp_path / "r.json") == replace(EXAMPLES[TargetInfo], image_rule=None)


@pytest.mark.parametrize(
    ("rule", "message"),
    [({"kind": "z"}, "keep, window, percentiles, z-score"),
     ({"kind": "percentiles", "low": 1, "high": 99}, "`over` must be one of"),
     ({"kind": "z-score", "low": -3, "high": 3, "over": "group"}, "`group`"), ({"kind": "window", "low": 1.0}, "`low` and `high`"),
     ({"kind": "window", "low": 2.0, "high": 1.0}, "the first below the second"), ({"scaling": "pad"}, "the keys kind, low"),
     ({"kind": "percentiles", "low": 1, "high": 99, "over": "dataset"}, "`limits`"),
     ({"kind": "window", "low": 1, "high": 9, "axis": 3}, "`axis`")],
)  # fmt: skip
def test_an_impossible_image_rule_is_refused(rule: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"format": TargetInfo.form(), **asdict(EXAMPLES[TargetInfo]), "image_rule": rule})
    with pytest.raises(InputError, match=f"image_rule in .*r.json.*{message}"):
        TargetInfo.read(tmp_path / "r.json")


def test_a_foreign_record_names_both_formats(example: Any, tmp_path: Path) -> None:
    kind, _, version = example.form().rpartition("/")
    older, newer = "which an older version of medtransfer wrote; move it away and make it", "newer version .* update medtransfer"
    cases = {
        "medtransfer/other/1": "; make it again with",
        f"{kind}/{int(version) - 1}": older,
        f"{kind}/99": newer,
        None: "; make it",
    }
    for format_name, remedy in cases.items():
        write_json(tmp_path / "r.json", {**asdict(example), "format": format_name})
        with pytest.raises(InputError, match=rf"the format '{example.form()}' in .* but got {format_name!r}.*{remedy}"):
            type(example).read(tmp_path / "r.json")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]"])
def test_a_corrupt_record_is_refused(example: Any, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(InputError, match="r.json"):
        type(example).read(tmp_path / "r.json")


def test_a_number_that_json_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "r.json", {"dice": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert not path.exists() and partial.parent == path.parent
    assert path.read_text() == "new"
    write_text(path, "newer")
    assert path.read_text() == "newer"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_fault_keeps_the_old_file_and_folder(fault: type[BaseException], tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "old")
    write_text(tmp_path / "folder" / "a", "old")
    with pytest.raises(fault), atomic_path(tmp_path / "file.txt") as file, atomic_folder(tmp_path / "folder") as folder:
        for partial in (file, folder / "a"):
            partial.write_text("half")
        raise fault
    assert {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {"file.txt": "old", "a": "old"}
    assert {path.name for path in tmp_path.iterdir()} == {"file.txt", "folder"}


def test_a_file_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file.txt", []
    monkeypatch.setattr(
        "medtransfer.records.atomic.os.fsync", lambda handle: seen.append((os.fstat(handle).st_size, path.exists()))
    )
    write_text(path, "four")
    assert seen == [(4, False)]


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with atomic_folder(path) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "a").write_text("1")
        assert not path.exists()
    assert (path / "inner" / "a").read_text() == "1"
    with atomic_folder(path) as partial:
        assert list(partial.iterdir()) == []
        (partial / "b").write_text("2")
        assert (path / "inner" / "a").exists()
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_of_a_folder_is_swept(tmp_path: Path) -> None:
    for left in (".folder.partial", ".folder.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "stray").write_text("x")
    with atomic_folder(tmp_path / "folder") as partial:
        (partial / "a").write_text("1")
    assert [file.name for file in tmp_path.rglob("*")] == ["folder", "a"]


def test_a_prepared_target_is_mapped_and_read_as_it_is(target: PreparedTarget) -> None:
    assert isinstance(target.images, np.memmap) and target.images.shape == (2, 4, 4, 1)
    assert not target.images.flags.writeable
    assert target.masks.dtype == np.uint8 and target.masks.shape == (2, 4, 4)
    train = target.samples("train")
    assert list(train["group"]) == ["NA", "7"]  # a name, not a missing value
    assert list(train["source"]) == ["0012", "b"]  # a name, not a number
    assert list(target.samples("test").index) == [0] and target.samples("test")["top"][0] == 2
    assert target.index["height"].dtype.kind == "i"


def test_the_fingerprint_changes_with_content_and_not_with_its_place() -> None:
    info: TargetInfo = EXAMPLES[TargetInfo]
    same = [replace(info, target="other"), replace(info, citation="x"), replace(info, sources={})]
    other = [
        replace(info, arrays={"images.npy": "12"}), replace(info, classes=["muscle", "ventricle"]),
        replace(info, input=[32, 32]), replace(info, augmentation="rotate-flip"),
    ]  # fmt: skip
    assert {one.fingerprint for one in same} == {info.fingerprint}
    assert len({info.fingerprint, *(one.fingerprint for one in other)}) == 5
    assert len(info.fingerprint) == 12


@pytest.mark.parametrize("field", [field.name for field in fields(Cell)])
def test_every_field_makes_another_cell(field: str) -> None:
    changed = replace(CELL, **{field: 99 if isinstance(getattr(CELL, field), int) else "other"})
    assert changed.key != CELL.key
    assert replace(CELL).key == CELL.key and len(CELL.key) == 16
    assert CELL.folder(Path("models")) == Path("models/heart/unet-simple/e005-full-s7")


def test_checkpoints_are_listed_by_epoch(tmp_path: Path) -> None:
    info: CheckpointInfo = EXAMPLES[CheckpointInfo]
    for epoch in (10, 0, 300, 1200):
        replace(info, epoch=epoch).write(checkpoint_path(tmp_path, epoch))
    assert list(list_checkpoints(tmp_path)) == [0, 10, 300, 1200]
    assert list_checkpoints(tmp_path)[10].epoch == 10


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=rf"expected checkpoints epoch-NNN.json in {folder}, .* `medtransfer pretrain`"):
            list_checkpoints(folder)


def test_finding_a_checkpoint_reads_its_record_alone(tmp_path: Path) -> None:
    info: CheckpointInfo = EXAMPLES[CheckpointInfo]
    replace(info, epoch=10).write(checkpoint_path(tmp_path, 10))
    checkpoint_path(tmp_path, 20).write_text("broken", encoding="utf-8")
    assert find_checkpoint(tmp_path, 10) == (checkpoint_path(tmp_path, 10), replace(info, epoch=10))
    with pytest.raises(InputError, match="epoch-020.json"):
        find_checkpoint(tmp_path, 20)


@pytest.mark.parametrize(
    ("size", "stored", "remedy"),
    [
        ([32, 64], [32, 64], None),
        ([65, 65], [65, 65], "`medtransfer prepare --target t --size 64`$"),
        ([3, 65], [3, 65], "`medtransfer prepare --target t --size 32,64`$"),
        ([33, 33], [99, 99], "with windows of 32x32 pixels$"),
    ],
)
def test_a_target_whose_size_an_encoder_does_not_take_names_one(size: list[int], stored: list[int], remedy: str | None) -> None:
    target = PreparedTarget(Path("data/t"), replace(EXAMPLES[TargetInfo], input=size, settings={"size": stored}))
    if remedy is None:
        target.require_size(32, "small")
        return
    message = f"multiples of 32 pixels for the encoder small, but got {size[0]}x{size[1]} in data/t; prepare the target again .*"
    with pytest.raises(InputError, match=message + remedy):
        target.require_size(32, "small")


def test_a_checkpoint_under_another_epochs_name_is_refused(tmp_path: Path) -> None:
    EXAMPLES[CheckpointInfo].write(checkpoint_path(tmp_path, 6))  # it says epoch 5
    with pytest.raises(InputError, match="the epoch in the name of .*epoch-006.json, but it says 5"):
        list_checkpoints(tmp_path)


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    whole = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    tensors = {"whole": whole, "view": whole[1:3], "turned": whole.T, "count": torch.tensor(3), "half": whole.half()}
    write_tensors(tmp_path / "w.safetensors", {**tensors, "learned": torch.nn.Parameter(whole)})
    back = read_tensors(tmp_path / "w.safetensors")
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in tensors.items())
    assert torch.equal(back["learned"], whole) and len(back) == 6


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_permissions_of_files_follow_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / "w.safetensors", {"a": torch.zeros(2)})
        write_json(tmp_path / "w.json", {})
        with atomic_path(tmp_path / "private") as partial:
            partial.touch(0o600)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_the_next_write_removes_leftovers_of_a_killed_process(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, foreign = (tmp_path / f".a.json.{HOST}-{pid}.partial" for pid in (ended.pid, os.getppid()))
    elsewhere, other = tmp_path / f".a.json.abcdef-{ended.pid}.partial", tmp_path / f".b.json.{HOST}-{ended.pid}.partial"
    for path in (left, foreign, elsewhere, other):
        path.write_text("half")
    write_json(tmp_path / "a.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([foreign.name, elsewhere.name, other.name, "a.json"])


def test_a_large_folder_is_not_listed_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    listed: list[int] = []
    scan = os.scandir
    monkeypatch.setattr(atomic.os, "scandir", lambda folder: listed.append(sum(1 for _ in Path(folder).iterdir())) or scan(folder))
    for number in range(2000):
        write_text(tmp_path / str(number), "")
        assert listed[-1] >= min(number, 15)  # a small one is, always
    assert sum(listed) < 17 * 2000 and len(listed) < 200
    left = tmp_path / f".7.{HOST}-{ended.pid}.partial"
    left.write_text("half")
    written = 0
    while left.exists():  # a leftover is found some writes later
        write_text(tmp_path / "7", "")
        written += 1
    assert written <= 2000 / 16 + 2


def test_a_scratch_folder_is_empty_at_first_and_gone_in_the_end(tmp_path: Path) -> None:
    left = tmp_path / ".model.scratch"
    left.mkdir()
    (left / "from a killed process").write_text("x")
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path / "model") as place:
        assert place == left and list(place.iterdir()) == []
        (place / "a").write_text("1")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_cut_off_are_not_whole(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"b": np.zeros((3, 2), np.float32), "a": np.arange(5, dtype=np.int64)}, file, metadata={"note": "two"})
    whole = file.read_bytes()
    assert is_whole(file)
    for length in (0, 7, 20, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert not is_whole(file), length
    file.write_bytes(whole + b"0")
    assert not is_whole(file)
    header = b'{"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))  # in another order than of the bytes
    assert is_whole(file)
    other = tmp_path / "head.json"
    assert not is_whole(other)
    other.write_text("{}")
    assert is_whole(other)


@pytest.mark.parametrize("form", COMMANDS)
def test_the_remedy_for_a_broken_record_is_forced_where_the_command_would_else_read_it(form: str) -> None:
    options = {word for parameter in cli.commands[COMMANDS[form].split()[0]].params for word in parameter.opts}
    assert ("--force" in options) == ("--force" in AGAIN[form]) and "--force" not in REMEDIES[form]
