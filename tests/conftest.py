"""Fixtures that every test may use."""

import errno
import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from tests.tiny_encoders import TINIEST

if TYPE_CHECKING:
    from medtransfer.config import Params

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TERM"] = "xterm"  # a dumb terminal gets no bars
os.environ.setdefault("OMP_NUM_THREADS", "1")  # on tensors this small, threads only wait for each other
os.environ.setdefault("RAY_worker_niceness", "0")  # by default 15: beside other tests its workers would hardly run
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "src")  # processes that tests start run this code, too

hypothesis.settings.register_profile(  # without limits of time, which other work on the machine decides
    "medtransfer", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("medtransfer")

MEMORY, ENOUGH = Path("/dev/shm"), 8 * 2**30  # bytes: what the tests write comes to about two GiB
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))  # files that nobody keeps need not reach a disk

PARAMS = Path(__file__).parents[1] / "params.yaml"
# What makes every stage take about a second: 60 pictures and 40 slices of 32 pixels, encoders of a few channels.
TINY: dict[str, Any] = {
    "samples.patients": 4, "samples.lungs": 5, "samples.retinas": 3, "samples.pictures": 6,
    "prepare.target": "sample", "prepare.targets.sample.size": [32, 32],
    "pretrain.encoder": "unet", "pretrain.origin": "simple", "pretrain.source": "sample",
    **{f"pretrain.encoders.{build}": {"build": build, **arguments} for build, arguments in TINIEST.items()},
    "pretrain.size": 32, "pretrain.epochs": 3, "pretrain.checkpoints": [1, 2], "pretrain.seed": 5,
    "pretrain.micro_batch": 16, "pretrain.lr": 0.002, "pretrain.lr_batch": 16, "pretrain.accelerator": "cpu",
    **{f"pretrain.origins.{origin}.{key}.{encoder}": value for origin in ("simple", "advanced")
       for encoder in TINIEST for key, value in (("warmup", 1), ("batch_size", 16))},
    "score.target": "sample", "score.encoder": "unet", "score.origin": "simple", "score.max_images": 9, "score.batch_size": 4,
    "score.indicators": ["robustness", "logme"],
    "score.level": -2, "score.distance": "cosine", "score.margin": 0.5, "score.accelerator": "cpu",
    "finetune.target": "sample", "finetune.encoder": "unet", "finetune.origin": "simple", "finetune.epoch": 3,
    "finetune.train_epochs": 2, "finetune.epoch_steps": None, "finetune.batch_size": 10, "finetune.overlays": 0,
    "finetune.select": "last", "finetune.accelerator": "cpu",
    "study.encoders": ["unet"], "study.origins": ["simple"], "study.targets": ["sample"], "study.modes": ["full", "decoder"],
    "study.seeds": [7, 8],
}  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect no garbage while modules are imported, and never look for it among what they hold: it takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, *gc.get_threshold()[1:])  # as in the processes of commands
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the modules that have slow tests, then the long ones, so that all processes end at about the same time."""
    slow, long = ({item.path for item in items if item.get_closest_marker(name)} for name in ("slow", "long"))
    items.sort(key=lambda item: (item.path not in slow, item.path not in long))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Return the folder of real images; without it the test is reported as skipped by name."""
    folder = os.environ.get("MEDTRANSFER_REALDATA")
    if not folder:
        pytest.skip("MEDTRANSFER_REALDATA names no folder of real images")
    return Path(folder)


@pytest.fixture
def postgresql() -> "Iterator[Callable[[], str]]":
    """Return a maker of empty PostgreSQL databases; without a server the test is reported as skipped by name."""
    address = os.environ.get("MEDTRANSFER_POSTGRESQL")
    if not address:
        pytest.skip("MEDTRANSFER_POSTGRESQL names no PostgreSQL server")
    import psycopg

    made: list[str] = []

    def make() -> str:
        made.append(f"medtransfer_{os.getpid()}_{len(made)}_{os.urandom(4).hex()}")
        with psycopg.connect(address, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {made[-1]}")
        return f"{address.rpartition('/')[0]}/{made[-1]}"

    yield make
    with psycopg.connect(address, autocommit=True) as server:
        for name in made:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the generated datasets once, few and small; they are only read."""
    from medtransfer.prepare.samples import write_samples

    folder = tmp_path_factory.mktemp("data") / "samples"
    sizes = {name.removeprefix("samples."): value for name, value in TINY.items() if name.startswith("samples.")}
    write_samples(folder, 2024, **sizes)
    return folder


@pytest.fixture(scope="session")
def tiny_params(sample_data: Path) -> "Callable[..., Params]":
    """Return a maker of params that run in seconds: `tiny_params({"finetune.mode": "decoder"})`."""
    from medtransfer.config import load_params

    roots = {"samples.out": ".", "samples.seed": 2024, "pretrain.source_root": "pictures", "prepare.targets.sample.root": "heart"}
    inputs = {key: value if key == "samples.seed" else str(sample_data / str(value)) for key, value in roots.items()}

    def make(overrides: dict[str, Any] | None = None) -> "Params":
        return load_params([PARAMS], {**TINY, **inputs, **(overrides or {})})

    return make


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> None:
    """Let SQLite leave it to the system when a store is written out: only a power cut would make a difference."""
    from sqlalchemy import Engine, event

    def connected(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)


@pytest.fixture(autouse=True)
def _no_files_of_earlier_tests() -> None:
    """Forget the params files that another test loaded, which proposed commands would repeat."""
    from medtransfer.config import loaded_files

    loaded_files.remember([])


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one empty tracking store, which takes seconds; the tests work on copies of the file."""
    from mlflow.store.db import utils

    from medtransfer import tracking

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        _enter(folder, patch)
        tracking.connect()
    # The newest revision of the tables: MLflow imports 67 scripts for it whenever it opens a store.
    utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)
    return folder / "mlflow.db"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    """Work in an empty folder with an empty tracking store."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    _enter(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def closed_folder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Let nobody list a folder, for root too, who may read every folder."""

    def close(closed: Path) -> None:
        scandir = os.scandir

        def refuse(path: str | os.PathLike[str]) -> object:
            if Path(path) == closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)

    return close


@pytest.fixture
def three_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Share work among three processes, although a test runner has threads, and check that each was waited for.

    The list has the numbers of those that are forked; the runner may have further ones.
    """
    from medtransfer import forks

    fork, started = os.fork, list[int]()

    def noted() -> int:
        if process := fork():
            started.append(process)
        return process

    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(forks, "count_cores", lambda: 3)
    monkeypatch.setattr(forks, "can_fork", lambda: True)
    yield started
    for process in started:
        with pytest.raises(ChildProcessError):
            os.waitpid(process, os.WNOHANG)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Make stderr a terminal; return a function that returns what it has shown."""
    monkeypatch.setattr("_pytest.capture.CaptureIO.isatty", lambda stream: True, raising=False)  # what `capsys` puts in its place
    return lambda: capsys.readouterr().err


@pytest.fixture(scope="module")
def shared_workplace(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Path]:
    """Work in a folder, with a tracking store, that the tests of a module share."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        _enter(folder, patch)
        yield folder


def _enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")  # MLflow itself sets it when it is first used
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        patch.delenv(name, raising=False)
