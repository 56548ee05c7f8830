"""Pictures are loaded by several processes, and what they make is what one makes."""

import logging
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from medtransfer import environment, forks
from medtransfer.config import Params
from medtransfer.environment import available_memory
from medtransfer.errors import InputError
from medtransfer.grid.worker import attempt
from medtransfer.prepare import faults, loading
from medtransfer.prepare.conversions import Conversions
from medtransfer.prepare.mask_values import distinct
from medtransfer.prepare.readers import folder
from medtransfer.prepare.stage import prepare
from medtransfer.records import PreparedTarget

pytestmark = pytest.mark.long

FILES = ("images.npy", "masks.npy", "index.csv", "dataset.json", "preview.png")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a dataset of twenty pictures in grey, colour and transparency; the masks that one process loads are JPEG files."""
    root, rng = tmp_path / "raw", np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(20):
        pixels = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
        mode = ("L", "RGB", "RGBA")[number % 3]
        picture = Image.fromarray(pixels[..., : len(mode)] if mode != "L" else pixels[..., 0])
        picture.save(root / f"images/p{number:02d}.png")
        mask = np.zeros((40, 50), np.uint8)
        mask[: number + 1] = 255
        Image.fromarray(mask).save(root / f"masks/p{number:02d}.{'jpg' if number % 3 == 2 else 'png'}")
    return root


def prepared(root: Path, out: Path) -> PreparedTarget:
    return prepare(
        "t", reader="folder", root=root, size=(32, 32), subset=False, split={"test": 0.2, "seed": 1}, validation=0.0,
        allow_duplicates=False, options={}, out=out,
    )  # fmt: skip


def contents(target: PreparedTarget) -> dict[str, bytes]:
    return {name: (target.folder / name).read_bytes() for name in FILES}


def test_several_processes_make_the_same_files_and_say_the_same(
    raw: Path, tmp_path: Path, three_processes: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "medtransfer")
    with monkeypatch.context() as alone:
        alone.setattr(forks, "can_fork", lambda: False)
        expected = contents(prepared(raw, tmp_path / "alone"))
    said = [message.replace("/alone/", "/several/") for message in caplog.messages]
    assert not three_processes and sum("as lossy compression makes them" in message for message in said) == 1
    assert any("are grey, and 13 are coloured" in message for message in said)
    assert any(re.search(r"6 of 20 pictures have transparent pixels.* \(such as .*p02.png\)", message) for message in said)
    caplog.clear()
    assert contents(prepared(raw, tmp_path / "several")) == expected and caplog.messages == said
    assert len(three_processes) == 2


def test_labelled_pictures_are_noted_by_several_processes(
    raw: Path, tmp_path: Path, three_processes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    for number, path in enumerate(sorted((raw / "images").iterdir())):
        folder = tmp_path / "classes" / ("train", "test")[number % 2] / ("a", "b")[number // 10]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    prepare(
        "t", reader="image-folder", root=tmp_path / "classes", size=(32, 32), subset=False, split="official", validation=0.0,
        allow_duplicates=False, options={}, out=tmp_path / "out",
    )  # fmt: skip
    assert len(three_processes) == 2 and "7 of 20 pictures are grey, and 13 are coloured" in caplog.text
    assert "6 of 20 pictures have transparent pixels" in caplog.text


def test_statistics_of_the_dataset_are_computed_once(raw: Path, tmp_path: Path, three_processes: list[int]) -> None:
    """The first picture has 8 bits, so that each process would compute them when it meets one that has 16."""
    log = tmp_path / "read"
    for number in range(1, 20):
        deep = np.random.default_rng(number).integers(0, 5000, (40, 50)).astype(np.uint16)
        Image.fromarray(deep).save(raw / f"images/p{number:02d}.png")
    options = {"scaling": "dataset"}
    real = folder._read_wide

    def noted(path: Path) -> np.ndarray:
        with log.open("a") as file:
            file.write(f"{path.name}\n")
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "_read_wide", noted)
        Image.fromarray(np.arange(2000, dtype=np.uint8).reshape(40, 50)).save(raw / "images/p00.png")
        prepare(
            "t", reader="folder", root=raw, size=(32, 32), subset=False, split={"test": 0.2, "seed": 1}, validation=0.0,
            allow_duplicates=False, options=options, out=tmp_path / "out",
        )  # fmt: skip
    read = log.read_text().split()
    assert len(three_processes) == 2 and len(read) == len(set(read)) >= 14


def test_another_process_shows_no_bars(capfd: pytest.CaptureFixture[str]) -> None:
    with loading._silent():
        print("a bar", file=sys.stderr)
    assert capfd.readouterr().err == ""


def test_what_is_noted_elsewhere_is_handed_on(raw: Path) -> None:
    paths = sorted((raw / "images").iterdir())
    whole, here, elsewhere = Conversions(), Conversions(), Conversions()
    for number, path in enumerate(paths):
        picture = Image.open(path)
        for noting in (whole, here if number < 5 else elsewhere):
            noting.see(path, picture)
    here.add(elsewhere.of(paths))
    assert here == whole and len(here.coloured) == 20 and elsewhere.of(paths[:7]).coloured.keys() == set(paths[5:7])


def shorten(raw: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        file = raw / f"images/p{number:02d}.png"
        file.write_bytes(file.read_bytes()[:-200])


@pytest.mark.parametrize("alone", [True, False])
def test_all_broken_files_are_named(
    alone: bool, raw: Path, tmp_path: Path, three_processes: list[int], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if alone:
        monkeypatch.setattr(forks, "can_fork", lambda: False)
    shorten(raw, (9, 14))
    (raw / "masks/p16.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"expected a whole picture in \S*p09.png, .*\(2 others are named above\)$"):
        prepared(raw, tmp_path / "out")
    first, second, third = [record.getMessage() for record in caplog.records if record.module == "faults"]
    assert re.match(r"prepare: expected a whole picture in \S*p09.png, but it cannot be read", first)
    assert second == f"prepare: {raw / 'images/p14.png'}: the same" and "masks/p16.png" in third
    assert len(three_processes) == (0 if alone else 2) and not (tmp_path / "out/t").exists()


@pytest.mark.parametrize(("soon", "before"), [(60.0, 0), (0.0, 1)])
def test_a_single_broken_file_is_the_error_and_named_before_a_long_look_at_the_others(
    soon: float, before: int, raw: Path, tmp_path: Path, three_processes: list[int], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(faults, "SOON", soon)
    shorten(raw, [9])
    with pytest.raises(InputError, match=r"^expected a whole picture in \S*p09.png, but it cannot be read.*; replace the file$"):
        prepared(raw, tmp_path / "out")
    assert len([record for record in caplog.records if record.module == "faults"]) == before


@pytest.mark.parametrize(("broken", "named"), [(range(1, 20), 9), (range(20), 2)])
def test_when_it_is_of_no_use_the_rest_is_not_looked_at(
    broken: range, named: int, raw: Path, tmp_path: Path, three_processes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nineteen of twenty pictures, and all of them: the settings may be wrong."""
    monkeypatch.setattr(faults, "MOST", 10)
    shorten(raw, broken)
    with pytest.raises(InputError, match=rf"\({named} others are named above; the rest was not looked at\)$"):
        prepared(raw, tmp_path / "out")


@pytest.mark.parametrize(
    ("memory", "least", "started"),
    [(0, 1, 0), (2 * 10**5, 1, 0), (2 * 10**6, 1, 1), (10**9, 1, 2), (10**9, 2**29, 0), (2**31, 2**29, 1)],
)
def test_as_many_processes_load_as_have_memory(
    memory: int, least: int, started: int, raw: Path, tmp_path: Path, three_processes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "available_memory", lambda: memory)
    monkeypatch.setattr(loading, "LEAST_MEMORY", least)
    largest = max(
        sum(file.stat().st_size for file in (raw / "images" / f"p{n:02d}.png", *(raw / "masks").glob(f"p{n:02d}.*")))
        for n in range(20)
    )
    assert 2 * 50 * largest < 10**6 < 3 * 50 * largest
    prepared(raw, tmp_path / "out")
    assert len(three_processes) == started


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 0),
        ({"/proc/meminfo": ["MemTotal: 9 kB", "MemAvailable:   2048 kB"]}, 2 * 2**20),
        (
            {
                "/proc/meminfo": ["MemAvailable:   2048 kB"], "/proc/self/cgroup": ["0::/slurm/job"],
                "/sys/fs/cgroup/slurm/job/memory.max": ["max"], "/sys/fs/cgroup/slurm/memory.max": ["1000"],
            },
            1000,
        ),
        (
            {
                "/proc/meminfo": ["MemAvailable:   2048 kB"], "/proc/self/cgroup": ["5:cpu,cpuacct:/x", "4:memory:/job"],
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": ["2000"],
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": ["9223372036854771712"],
            },
            2000,
        ),
    ],
)  # fmt: skip
def test_memory_is_what_is_left_and_what_a_scheduler_allows(
    files: dict[str, list[str]], free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_lines", lambda path: files.get(path, []))
    assert available_memory() == free


@given(st.sampled_from([np.uint8, np.int16, np.float32, np.bool_]).flatmap(lambda kind: arrays(kind, array_shapes(max_dims=2))))
def test_each_value_is_listed_once(values: np.ndarray) -> None:
    assert np.array_equal(distinct(values), np.unique(values), equal_nan=values.dtype.kind == "f")


@pytest.mark.parametrize(("given", "started"), [("1", 0), ("2", 1), ("", 2), ("all", 2), ("0", 2)])
def test_a_job_of_a_grid_takes_no_more_processes_than_its_threads(
    given: str, started: int, raw: Path, tmp_path: Path, three_processes: list[int], monkeypatch: pytest.MonkeyPatch,
    tiny_params: Callable[..., Params],
) -> None:  # fmt: skip
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    job = SimpleNamespace(run=lambda params: prepared(raw, tmp_path / "out"))
    assert attempt(tiny_params(), job).status == "done"  # type: ignore[arg-type]
    assert len(three_processes) == started
    prepared(raw, tmp_path / "again")
    assert len(three_processes) == started + 2


def test_a_forked_process_forks_no_further_ones(three_processes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(forks, "count_cores", lambda: 3)
    monkeypatch.setattr(forks.threading, "active_count", lambda: 1)
    can_fork: Callable[[], bool] = forks.can_fork
    assert can_fork()
    with forks.forked(lambda: [can_fork()]) as results:
        assert results.take() is False
