"""One process works on a result; the others wait, and a process that dies leaves no lock behind."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

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
