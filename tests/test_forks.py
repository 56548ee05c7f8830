"""Forked processes share the work, and what they do not send is done in the process that forked them."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medtransfer import forks
from medtransfer.forks import Lost, beside, can_fork, forked, share

HERE = os.getpid()
pytestmark = pytest.mark.usefixtures("three_processes")


def worker(item: int) -> tuple[int, int]:
    return item, os.getpid()


def test_results_come_in_order_from_one_process_for_each_core() -> None:
    results = list(share(worker, range(20), 1))
    assert [item for item, _ in results] == list(range(20))
    by_process = [process for _, process in results]
    assert by_process[0] == os.getpid() and by_process[1::3] == [os.getpid()] * 7
    assert len(set(by_process)) == 3 and len(set(by_process[2::3])) == len(set(by_process[3::3])) == 1


@pytest.mark.parametrize(("items", "least"), [(9, 5), (0, 1), (1, 1)])
def test_few_items_are_not_worth_a_process(items: int, least: int) -> None:
    assert list(share(worker, range(items), least)) == [(item, os.getpid()) for item in range(items)]


def decline_four(item: int) -> tuple[int, int]:
    if item == 4:
        raise ValueError
    return worker(item)


def die_at_four(item: int) -> tuple[int, int]:
    if item == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return worker(item)


@pytest.mark.parametrize("elsewhere", [decline_four, die_at_four])
def test_what_a_process_does_not_send_is_done_here(elsewhere: Callable[[int], tuple[int, int]]) -> None:
    results = list(share(worker, range(10), 1, elsewhere))
    assert [item for item, _ in results] == list(range(10))
    own = {item for item, process in results if process == os.getpid()}
    assert {4, 7} <= own < set(range(10))


def test_a_result_that_is_sent_in_part_is_lost() -> None:
    """The process is killed while it waits for the rest of 10 MB to be read."""
    with forked(lambda: [os.getpid(), bytes(10_000_000)]) as results:
        process = results.take()
        assert isinstance(process, int)
        time.sleep(0.2)
        os.kill(process, signal.SIGKILL)
        with pytest.raises(Lost) as raised:
            results.take()
        assert isinstance(raised.value.__cause__, OSError) and not isinstance(raised.value.__cause__, EOFError)


class Unreadable(Exception):
    """An error that is pickled, but not unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


@pytest.mark.parametrize("result", [Unreadable("a", "b"), lambda: None])
def test_a_result_that_cannot_be_passed_on_is_lost(result: object) -> None:
    with forked(lambda: [result]) as results, pytest.raises(Lost):
        results.take()


def warn(item: int) -> int:
    if item == 4:
        warnings.warn("four", stacklevel=1)
    return item


def test_a_warning_is_that_of_this_process(recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]) -> None:
    assert list(share(warn, range(10), 1)) == list(range(10))
    assert [str(each.message) for each in recwarn] == ["four"]
    assert capfd.readouterr().err == ""


def test_threads_of_libraries_are_no_reason_for_a_warning() -> None:
    """Python 3.12 warns of every thread, where 3.11 does not; a thread of Python's stands for that of a library."""
    code = (
        "import os, threading, time; from medtransfer import forks; forks.can_fork = lambda: True; forks.count_cores = lambda: 2\n"
        "threading.Thread(target=time.sleep, args=[9], daemon=True).start()\n"
        "print(len({process for process in forks.share(lambda n: os.getpid(), range(4), 1)}))\n"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_a_process_that_cannot_be_started_leaves_its_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError

    files = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "fork", fork)
    assert list(share(worker, range(10), 1)) == [(item, os.getpid()) for item in range(10)]
    done: list[int] = []
    with beside(lambda: done.append(1)):
        pass
    assert done == [1]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}
    assert len(list(Path("/proc/self/fd").iterdir())) == files


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: print("answered", flush=True)])
def test_a_process_ends_at_once_and_does_not_answer_as_the_program(handler: Any, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        begin = time.monotonic()
        with pytest.raises(KeyError), beside(lambda: time.sleep(60)):
            raise KeyError
        assert list(share(worker, range(20), 1))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - begin < 30
    assert capfd.readouterr().out == ""


def test_processes_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    """The second one's results nobody reads, so that it waits until it may send more."""
    code = (
        "import os, time; from medtransfer import forks; forks.can_fork = lambda: True; forks.count_cores = lambda: 4\n"
        "for n, (pid, _) in enumerate(forks.share(lambda n: (os.getpid(), bytes(100_000)), range(100), 1)):\n"
        "    print(pid, flush=True)\n"
        "    if n == 8: time.sleep(1); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    processes = {int(line) for line in done.stdout.split()}
    assert len(processes) == 4 and done.returncode == -signal.SIGKILL
    end = time.monotonic() + 30
    while left := [each for each in processes if Path(f"/proc/{each}").exists() and not _is_zombie(each)]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:  # it has ended
        return True


def fail_elsewhere(item: int) -> int:
    raise ValueError(f"item {item} in {'this' if os.getpid() == HERE else 'another'} process")


def test_an_error_is_that_of_this_process() -> None:
    with pytest.raises(ValueError, match="item 1 in this process"):
        list(share(lambda item: fail_elsewhere(item) if item else 0, range(5), 1))


def test_a_loop_that_is_left_ends_the_processes() -> None:
    begin = time.monotonic()
    for item, _ in share(lambda item: (item, time.sleep(60 * (item == 3))), range(10), 1):
        if item == 2:
            break
    assert time.monotonic() - begin < 30


def test_work_is_done_once_beside_the_block(tmp_path: Path) -> None:
    path = tmp_path / "done.txt"

    def work() -> None:
        with path.open("a") as file:
            file.write(f"{os.getpid()}\n")

    with beside(work):
        pass
    (process,) = path.read_text().split()
    assert int(process) != os.getpid()


def test_the_result_of_work_beside_the_block_is_that_of_the_other_process() -> None:
    with beside(os.getpid) as work:
        assert work.wait(30) and work.result != os.getpid()
    assert work.result != os.getpid()


def test_work_beside_the_block_is_waited_for_no_longer_than_asked() -> None:
    with pytest.raises(KeyError), beside(lambda: time.sleep(60)) as work:
        assert not work.wait(0.01)
        raise KeyError


def test_there_is_nothing_to_wait_for_after_a_failure_or_without_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[int] = []

    def fail_there() -> int:
        if os.getpid() != HERE:
            raise ValueError
        here.append(1)
        return os.getpid()

    with beside(fail_there) as failed:
        assert failed.wait(30) and not here
        assert failed.result == os.getpid() and here == [1]
    monkeypatch.setattr(forks, "can_fork", lambda: False)
    with beside(fail_there) as later:
        assert later.wait(0) and here == [1]
    assert later.result == os.getpid() and here == [1, 1]


def test_work_that_failed_beside_the_block_is_done_after_it() -> None:
    with pytest.raises(ValueError, match="item 7 in this process"), beside(lambda: fail_elsewhere(7)):
        pass


def test_without_forks_work_is_done_after_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "can_fork", lambda: False)
    done: list[str] = []
    with beside(lambda: done.append("work")):
        done.append("block")
    assert done == ["block", "work"]
    assert list(share(worker, range(20), 1)) == [(item, os.getpid()) for item in range(20)]


def test_a_block_that_fails_does_not_wait_for_the_work() -> None:
    begin = time.monotonic()
    with pytest.raises(KeyError), beside(lambda: time.sleep(60)):
        raise KeyError
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(("system", "threads", "cores", "forks_here"), [
    ("linux", 1, 2, True), ("darwin", 1, 2, False), ("linux", 2, 2, False), ("linux", 1, 1, False),
])  # fmt: skip
def test_forks_need_linux_two_cores_and_no_other_thread(
    monkeypatch: pytest.MonkeyPatch, system: str, threads: int, cores: int, forks_here: bool
) -> None:
    monkeypatch.setattr(forks.sys, "platform", system)
    monkeypatch.setattr(forks.threading, "active_count", lambda: threads)
    monkeypatch.setattr(forks, "count_cores", lambda: cores)
    assert can_fork() is forks_here
