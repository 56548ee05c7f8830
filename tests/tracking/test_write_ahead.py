"""Runs are written in bulk to an embedded store without a wait for the disk after each request, and nothing is lost."""

import os
import sqlite3
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medtransfer import tracking
from medtransfer.tracking import write_ahead
from medtransfer.tracking.store import engine

pytestmark = pytest.mark.long

SRC = Path(__file__).parents[2] / "src"


@pytest.fixture
def store(workplace: Path) -> Path:
    tracking.connect()
    return workplace / "mlflow.db"


def ahead(store: Path) -> AbstractContextManager[None]:
    return write_ahead.write_ahead(engine(tracking.connect()), store)


def journal(store: Path) -> tuple[object, ...]:
    with sqlite3.connect(store) as connection:
        return tuple(connection.execute("PRAGMA journal_mode").fetchone())


def pragma(client: MlflowClient, name: str) -> object:
    with client._tracking_client.store.engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def write(count: int) -> int:
    return tracking.write_runs("score", [tracking.RunRecord(f"r{n}", f"c{n}", {}, {"dice": 0.5}) for n in range(count)], "runs")


def test_the_log_is_there_for_the_time_of_writing_only(store: Path) -> None:
    client = tracking.connect()
    with ahead(store):
        assert pragma(client, "journal_mode") == "wal"
        with tracking.open_run("score", "x", "c1", {}, {}):
            pass
    assert pragma(client, "journal_mode") == "delete"
    assert len(tracking.read_runs("score")) == 1
    assert sorted(path.name for path in store.parent.glob("mlflow.db-*")) == []


@pytest.mark.parametrize(("mode", "synchronous"), [("WAL", 1), ("DELETE", 2)])
def test_only_with_the_log_the_disk_is_not_waited_for(store: Path, mode: str, synchronous: int) -> None:
    with sqlite3.connect(store) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        write_ahead._flush_rarely(connection, None)
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        connection.execute("PRAGMA journal_mode = DELETE")


def test_a_reader_elsewhere_neither_stops_the_writing_nor_is_stopped(store: Path) -> None:
    other = sqlite3.connect(store)
    with ahead(store):
        other.execute("BEGIN").execute("SELECT * FROM runs").fetchall()  # a reader in the middle of a transaction
        with tracking.open_run("score", "x", "c1", {}, {}):
            pass
        assert other.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        other.rollback()
        assert other.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    other.close()


def test_the_ordinary_journal_returns_when_the_other_process_has_gone(store: Path) -> None:
    with ahead(store):
        other = sqlite3.connect(store)
        other.execute("SELECT * FROM runs").fetchall()
    assert journal(store) == ("wal",)
    other.close()
    assert write(2) == 2
    assert journal(store) == ("delete",)


def test_a_killed_writer_loses_no_run_and_the_next_command_ends_its_log(workplace: Path) -> None:
    store = workplace / "mlflow.db"
    code = (
        "import os\nfrom pathlib import Path\nfrom medtransfer import tracking as t\n"
        "from medtransfer.tracking.store import engine\nfrom medtransfer.tracking.write_ahead import write_ahead\n"
        "with write_ahead(engine(t.connect()), Path('mlflow.db')):\n"
        "    with t.open_run('score', 'x', 'c1', {}, {}): pass\n"
        "    os._exit(9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    assert subprocess.run([sys.executable, "-c", code], cwd=store.parent, env=environment, timeout=300).returncode == 9
    assert store.with_name("mlflow.db-wal").stat().st_size > 0
    assert [run.tags[tracking.CELL] for run in tracking.read_runs("score")] == ["c1"]
    tracking.require_experiments(["score"])
    assert journal(store) == ("delete",)


@pytest.mark.parametrize(("kind", "expected"), [("nfs4", "delete"), ("fuse.sshfs", "delete"), ("ext4", "wal"), ("fuseblk", "wal")])
def test_a_file_that_other_hosts_may_have_open_keeps_its_journal(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, expected: str
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / nfs rw 0 0\nserver:/home {store.parent.resolve()} {kind} rw 0 0\nproc /proc proc rw 0 0\n")
    monkeypatch.setattr(write_ahead, "_MOUNTS", mounts)
    with ahead(store):
        assert journal(store) == (expected,)


@pytest.mark.parametrize(
    ("lines", "shared"),
    [(r"server:/x /mnt/our\040share nfs4 rw 0 0", True), ("a /mnt autofs rw 0 0\nserver:/x /mnt nfs4 rw 0 0", True),
     ("server:/x /mnt smb3 rw 0 0\n/dev/sdb /mnt xfs rw 0 0", False), ("server:/x /mnt/\udce9 nfs rw 0 0", False)],
    ids=["a space", "the later of two", "the later of two is local", "no UTF-8"],
)  # fmt: skip
def test_mounts_are_read_as_the_system_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, shared: bool
) -> None:
    (tmp_path / "mounts").write_text(f"/dev/vda / ext4 rw 0 0\n{lines}\n", encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(write_ahead, "_MOUNTS", tmp_path / "mounts")
    assert write_ahead.may_be_shared(Path("/mnt/our share/mlflow.db")) is shared
