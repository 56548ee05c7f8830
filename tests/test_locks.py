"""One process works on a result; the others wait, and a process that dies leaves no lock behind."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock

from medtransfer import locks
from medtransfer.errors import InputError
from medtransfer.locks import exclusive, is_locked, lock_path

SPAWN = multiprocessing.get_context("spawn")


def hold(result: Path, taken: Event) -> None:
    with exclusive(result):
        taken.set()
        time.sleep(60)


def add_lines(result: Path, times: int) -> None:
    for _ in range(times):
        with exclusive(result):
            text = result.read_text() if result.exists() else ""
            time.sleep(0.001)
            result.write_text(text + "x")


def test_lock_file_is_hidden_and_removed(tmp_path: Path) -> None:
    result = tmp_path / "deep" / "result"
    assert not is_locked(result)
    with exclusive(result):
        assert [path.name for path in result.parent.iterdir()] == [".result.lock"]
        assert is_locked(result)
    assert not is_locked(result) and list(tmp_path.iterdir()) == []  # and so is the folder that was made for it


def test_a_fault_frees_the_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError), exclusive(tmp_path / "result"):
        raise ValueError
    with exclusive(tmp_path / "result"):
        assert is_locked(tmp_path / "result")


def test_a_place_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = r"expected to write .*/file/deep/result, but .*/file/deep cannot be made or written to \(Not a directory\); name another"
    with pytest.raises(InputError, match=said):
        exclusive(tmp_path / "file" / "deep" / "result").__enter__()


@pytest.mark.parametrize(
    ("mode", "place", "named"),
    [(0o555, "result", ".result.lock"), (0o555, "deep/result", "deep"), (0o666, "deep/result", "deep"), (0o666, "result", "")],
)
def test_a_folder_without_permission_is_named(mode: int, place: str, named: str, tmp_path: Path) -> None:
    user = os.geteuid()
    with exclusive(tmp_path / "result"):
        pass  # whatever is loaded first is loaded as this user
    with TemporaryDirectory() as folder:  # that of the test is closed to everybody else
        Path(folder).chmod(mode)
        os.seteuid(user or 65534)  # root may write everywhere
        try:
            result = Path(folder) / place
            with pytest.raises(InputError, match=rf"expected to write {result}, but {Path(folder) / named}.* \(Permission denied"):
                exclusive(result).__enter__()
        finally:
            os.seteuid(user)
            Path(folder).chmod(0o700)


def test_a_disk_that_is_read_only_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lock: FileLock, **_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", lock.lock_file)

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(InputError, match=r"expected to write .*result, but .*result\.lock cannot be .* \(Read-only file"):
        exclusive(tmp_path / "result").__enter__()


def test_a_working_folder_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SECONDS_BETWEEN_TRIES", 0.0)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work").rmdir()
    with pytest.raises(InputError, match="expected to write reports, but .* cannot be made or written to"):
        exclusive(Path("reports")).__enter__()


def test_a_folder_that_takes_no_files_is_named() -> None:
    with pytest.raises(InputError, match=r"expected to write /proc/result, but /proc/\.result\.lock cannot be made .*No such file"):
        exclusive(Path("/proc/result")).__enter__()


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be made or written to \(File name too long\)"):
        exclusive(tmp_path / ("x" * 300) / "result").__enter__()


def test_a_full_disk_is_not_taken_for_a_wrong_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "deep")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space left on device"):
        exclusive(tmp_path / "deep" / "result").__enter__()


def test_processes_take_turns(tmp_path: Path) -> None:
    others = [SPAWN.Process(target=add_lines, args=(tmp_path / "result", 50)) for _ in range(3)]
    for one in others:
        one.start()
    for one in others:
        one.join()
    assert (tmp_path / "result").read_text() == 150 * "x"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_killed_process_holds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result, taken = tmp_path / "result", SPAWN.Event()
    other = SPAWN.Process(target=hold, args=(result, taken))
    other.start()
    assert taken.wait(300)
    assert is_locked(result)
    os.kill(other.pid or 0, signal.SIGKILL)
    other.join()
    assert lock_path(result).exists() and not is_locked(result)
    with exclusive(result):
        assert is_locked(result)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(handle: int, flags: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    lock_path(tmp_path / "result").touch()
    monkeypatch.setattr(fcntl, "flock", unable)
    for ask in (lambda: exclusive(tmp_path / "result").__enter__(), lambda: is_locked(tmp_path / "result")):
        with pytest.raises(InputError, match=r"expected a file system that supports file locks under .*result, but it does not \("):
            ask()
