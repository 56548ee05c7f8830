"""A small finished study, damaged in one place, which every command must refuse in the same way."""

import ctypes
import logging
import os
import platform
import resource
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.malformed.damage import Damage, apply, remove

from medtransfer import study
from medtransfer.cli import main
from medtransfer.config import Params
from medtransfer.tracking import store

Refused = Callable[..., str]
SECONDS, BYTES = 120, 2**29  # that a command may take until it refuses, and allocate
OUTPUTS = ("data", "checkpoints", "sources", "scores", "models", "search", "replay", "reports", "grid")
SIZE = [32, 32]
DAC_OVERRIDE, DAC_READ_SEARCH, VERSION_3 = 1, 2, 0x20080522  # of Linux capabilities


def _target(reader: str, root: str, size: Sequence[int] = SIZE, **others: Any) -> dict[str, Any]:
    return {"reader": reader, "root": f"raw/{root}", "size": list(size), "subset": True, "split": "official", "validation": 0.0,
            "allow_duplicates": True, "options": {}, **others}  # fmt: skip


TARGETS = {
    "heart": _target("acdc", "heart"), "lungs": _target("covid-qu", "lungs"), "arrays": _target("covid-qu", "arrays"),
    "retina": _target("idrid", "retina", (64, 128), options={"window": 64, "stride": 32, "tile": 32}),
    "mine": _target("folder", "mine", split={"file": "split.csv"}),
}  # fmt: skip
VALUES: dict[str, Any] = {
    "samples.out": "generated", "prepare.target": "heart", "prepare.targets": TARGETS, "pretrain.source_root": "pictures",
    "pretrain.epochs": 1, "pretrain.checkpoints": [], "score.target": "heart", "score.level": -2, "finetune.target": "heart",
    "finetune.epoch": 1, "finetune.train_epochs": 1, "finetune.overlays": 1, "study.targets": ["heart"], "study.modes": ["full"],
    "study.seeds": [7], "search.margins": {"low": 0.5, "high": 0.5, "step": 0.1}, "search.levels": [-1, -2], "report.draws": 100,
    "report.least": 0,
}  # fmt: skip


# What lies in the environment when the study is made, and must not be told.
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-amazon", "MLFLOW_TRACKING_TOKEN": "a-secret-of-mlflow", "HF_TOKEN": "a-secret-of-the-hub",
    "DATABASE_PASSWORD": "a-secret-of-a-database", "USER": "ada-the-user", "LOGNAME": "ada-the-user", "USERNAME": "ada-the-user",
    "HOME": "/homes/of-ada", "HOSTNAME": "adas-own-host",
}  # fmt: skip


class Stock:
    """A folder that tests damage, and its copy, from which the damage is mended: cheaper than one copy per test."""

    def __init__(self, folder: Path, copy: Path) -> None:
        self.folder = folder
        self.copy = Path(shutil.copytree(folder, copy))
        self.states = self._states()

    def _states(self) -> dict[str, tuple[int, int, int]]:
        """Return the mode, inode and time of change of everything; no damage leaves all three as they were."""
        paths = [os.path.join(home, name) for home, *names in os.walk(self.folder) for name in chain(*names)]  # noqa: PTH118
        return {path: ((found := os.lstat(path)).st_mode, found.st_ino, found.st_ctime_ns) for path in paths}

    def mend(self) -> None:
        states = self._states()
        for path in sorted(states.keys() - self.states.keys(), reverse=True):
            remove(Path(path))
        for path in sorted(path for path, state in self.states.items() if states.get(path) != state):  # folders before their files
            self._put_back(Path(path), self.copy / Path(path).relative_to(self.folder))
        self.states = self._states()
        _forget_store()

    def _put_back(self, path: Path, original: Path) -> None:
        if original.is_dir() and path.is_dir() and not path.is_symlink():
            path.chmod(original.stat().st_mode)
            return
        if path.exists() or path.is_symlink():
            remove(path)
        if original.is_dir():
            path.mkdir()
        else:
            shutil.copy2(original, path)


def _forget_store() -> None:
    """Let the next command connect to the store as a process of its own does."""
    for engine in store._engines:
        engine.dispose()
    store._reached.clear()


@pytest.fixture(scope="session")
def stock(
    tiny_params: Callable[..., Params], sample_data: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Stock:
    """Make a folder with raw data of every reader and a finished study of one of them, in an environment full of secrets."""
    folder = tmp_path_factory.mktemp("stock")
    for name in ("heart", "lungs", "retina"):
        shutil.copytree(sample_data / name, folder / "raw" / name)
    _write_arrays(folder / "raw" / "arrays")
    _write_own(folder / "raw" / "mine", folder / "split.csv")
    for split in ("train", "val"):
        for path in sorted((sample_data / "pictures" / split).glob("fine-*/*.jpg")):
            (home := folder / "pictures" / split / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, home)
    shutil.copy(empty_store, folder / "mlflow.db")
    params = tiny_params(VALUES)
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    with pytest.MonkeyPatch.context() as patch:
        _enter(folder, patch)
        _hide_secrets(patch)
        study.study(params)
    _forget_store()
    return Stock(folder, tmp_path_factory.mktemp("copy") / "stock")


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    _hide_secrets(monkeypatch)
    return SECRETS


def _hide_secrets(patch: pytest.MonkeyPatch) -> None:
    import matplotlib.pyplot  # noqa: F401  # which makes folders in HOME

    for module, function in ((socket, "gethostname"), (socket, "getfqdn"), (platform, "node")):
        patch.setattr(module, function, lambda *_: SECRETS["HOSTNAME"])
    for name, value in SECRETS.items():
        patch.setenv(name, value)


def _write_arrays(folder: Path) -> None:
    rng = np.random.default_rng(3)
    for name, count in (("train_and_val", 4), ("test", 2)):
        (folder / name).mkdir(parents=True)
        np.save(folder / name / "imgs.npy", rng.integers(0, 256, (count, 16, 16), dtype=np.uint8))
        np.save(folder / name / "inf_masks.npy", rng.integers(0, 2, (count, 16, 16), dtype=np.uint8) * np.uint8(255))


def _write_own(folder: Path, split: Path) -> None:
    rng = np.random.default_rng(4)
    lines = ["source,split"]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name, home in (("one", "train"), ("two", "train"), ("three", "test")):
        Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(rng.integers(0, 2, (24, 24), dtype=np.uint8)).save(folder / "masks" / f"{name}.png")
        lines.append(f"{name},{home}")
    split.write_text("\n".join(lines) + "\n")


def _enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        patch.delenv(name, raising=False)


@pytest.fixture
def place(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in the stock, and mend it afterwards."""
    _enter(stock.folder, monkeypatch)
    yield stock.folder
    stock.mend()


@pytest.fixture
def refused(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Refused]:
    """Return what damages the copy, runs the command and checks all that holds of every refusal; the sentence comes back."""
    names = ("medtransfer", "alembic", "mlflow", "lightning_fabric", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    handler = signal.getsignal(signal.SIGTERM)

    def check(command: str | Sequence[str], file: str, damage: Damage, *words: str, finished: Sequence[str] = ()) -> str:
        apply(damage, place / file)
        before, runs = listing(place), closed_runs(place)
        monkeypatch.setattr(sys, "argv", ["medtransfer", *(command.split() if isinstance(command, str) else command)])
        capfd.readouterr()
        with little_memory(), little_time(), without_powers(), pytest.raises(SystemExit) as end:
            main()
        code = end.value.code
        del end  # it refers to this frame: the cycle would keep a command's worker processes until Python looks for garbage
        out, err = capfd.readouterr()
        assert code == 2, err
        assert "Traceback" not in err + out
        (sentence,) = [line for line in err.splitlines() if line.startswith("medtransfer: ")]
        assert err.splitlines()[-1] == sentence
        assert [word for word in words if word not in sentence] == [], sentence
        assert len(sentence) < 1500, sentence
        assert listing(place) - before == set(finished)
        assert closed_runs(place) == runs
        return sentence

    yield check
    signal.signal(signal.SIGTERM, handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def listing(folder: Path) -> set[str]:
    """Return all files of the folders that commands write to, half-written ones too, without locks and states to resume from."""
    found = {str(path.relative_to(folder)) for name in OUTPUTS for path in (folder / name).rglob("*")}
    return {name for name in found if "partial" in name or not Path(name).name.startswith(".")}


def closed_runs(folder: Path) -> int:
    """Count the store's runs that look finished or under way."""
    store = sqlite3.connect(folder / "mlflow.db")
    try:
        return int(store.execute("SELECT count(*) FROM runs WHERE status NOT IN ('FAILED', 'KILLED')").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        store.close()


@contextmanager
def little_memory() -> Iterator[None]:
    """Let a declared size be refused before it is believed: far less than it can be allocated."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def little_time() -> Iterator[None]:
    """Let nothing hang."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise BaseException(f"the command did not end within {SECONDS} seconds")  # nothing may catch it

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def without_powers() -> Iterator[None]:
    """Read as an ordinary user does, for whom permissions count: root's power over files is laid down meanwhile."""
    library = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert library.capget(header, before) == 0, os.strerror(ctypes.get_errno())
    fewer = (ctypes.c_uint32 * 6)(*before)
    fewer[0] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    assert library.capset(header, fewer) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        library.capset(header, before)
