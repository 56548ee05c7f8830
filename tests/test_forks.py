"""Forked processes share the work, and what they do not send is done in the process that forked them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medtransfer import forks
from medtransfer.forks import LOST, Declined, beside, can_fork, forked, share

HERE = os.getpid()


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork although a test runner has threads."""
    monkeypatch.setattr(forks, "count_cores", lambda: 3)
    monkeypatch.setattr(forks, "can_fork", lambda: True)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


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
        raise Declined
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


def test_a_result_that_was_sent_in_part_is_lost() -> None:
    def work() -> Iterator[bytes]:
        yield b"whole"
        yield Exiting()  # type: ignore[misc]

    with forked(work) as receive:
        assert receive() == b"whole"
        with pytest.raises(LOST):
            receive()


class Exiting:
    """An object whose process ends while it is pickled."""

    def __reduce__(self) -> str:
        os._exit(1)


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
