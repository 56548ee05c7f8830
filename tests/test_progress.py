"""Progress bars on a terminal, sparse lines in a log."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from medtransfer import progress, progress_bar
from medtransfer.progress import Tally, loading, status, track, track_within

ERASED = "\r\x1b[2K"  # to the start of the line, and erase it


@pytest.fixture(autouse=True)
def log_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enable the logger, which libraries such as DVC disable when they set up logging in the same process."""
    monkeypatch.setattr(progress.log, "disabled", False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A stopped clock; a test moves its only entry."""
    now = [100.0]
    monkeypatch.setattr(progress, "STARTED", 0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def slow(clock: list[float], number: int, seconds: float) -> Iterator[int]:
    """Yield numbers while the clock moves."""
    for item in range(number):
        clock[0] += seconds
        yield item


@pytest.mark.parametrize("terminal", [False, True])
def test_items_are_yielded_in_order(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert list(track([], "nothing", 0)) == []


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    list(track(range(3), "the work", 3, "batch"))
    shown = capsys.readouterr().err
    assert "the work" in shown and "/3" in shown


def test_a_dumb_terminal_gets_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert list(track(range(3), "the work", 3, "batch")) == [0, 1, 2]
    with status("loading"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("size", [(0, 0), (24, 100)], ids=["unknown", "known"])
def test_a_terminal_of_unknown_size_gets_a_bar_too(size: tuple[int, int]) -> None:
    """Containers start with terminals of 0 columns, on which tqdm shows nothing."""
    inside, outside = pty.openpty()
    fcntl.ioctl(outside, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    code = "from medtransfer.progress import track; [None for _ in track(range(3), 'the work', 3, 'batch')]"
    subprocess.run([sys.executable, "-c", code], stderr=outside, check=True)
    os.close(outside)
    shown = os.read(inside, 10_000).decode()
    os.close(inside)
    assert "the work:" in shown and "/3 [" in shown


def test_the_clock_of_jobs_goes_on_until_the_bar_is_closed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bar, "SECONDS_BETWEEN_DRAWINGS", 0.05)
    before = threading.active_count()
    jobs = progress.bar(total=2, desc="jobs", bar_format="{desc}: {elapsed_s:.2f} s;", leave=False)
    (drawing,) = (thread for thread in threading.enumerate() if thread.name.endswith("(_redraw)"))
    time.sleep(0.5)
    times = {float(text) for text in re.findall(r"jobs: ([\d.]+) s;", capsys.readouterr().err)}
    assert len(times) > 2 and max(times) > 0.2
    jobs.close()
    drawing.join(5)
    assert not drawing.is_alive() and threading.active_count() <= before + 1  # tqdm's own
    capsys.readouterr()
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_bar_starts_no_thread() -> None:
    """It runs in a process of its own, where no earlier bar has started one."""
    code = "import threading; from medtransfer.progress import bar; list(bar(range(9))); print(threading.active_count())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_a_log_line_takes_the_place_of_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.log, "handlers", [logging.StreamHandler(sys.stderr)])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for number in track(range(2), "the work", 2):
        if number == 1:
            progress.log.warning("a remark")
    assert re.search(r"\rthe work: [^\r]+\r +\ra remark\n", capsys.readouterr().err)
    progress.log.warning("another")
    assert capsys.readouterr().err == "another\n"


def test_a_log_gets_sparse_lines(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="medtransfer")
    list(track(slow(clock, 6, 10.0), "the work", 6, "batch"))
    # Every 15 s at most, but the first after 5 s; none at 60 s, when the work is done.
    assert caplog.messages == [f"the work: {done}/6 batch, 0.1/s, {60 - 10 * done} s left" for done in (1, 3, 5)]
    caplog.clear()
    list(track(slow(clock, 8, 2.0), "short work", 8))
    assert caplog.messages == ["short work: 3/8 it, 0.5/s, 10 s left"]
    caplog.clear()
    list(track(slow(clock, 4, 1.0), "shorter work", 4))
    assert caplog.messages == []
    list(track(slow(clock, 2, 60.0), "slow work", 2, "candidates"))
    assert caplog.messages == ["slow work: 1/2 candidates, 60 s each, 60 s left"]


def test_the_first_line_comes_5_s_after_the_command_began(
    clock: list[float], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """As long as the first things that a command does take less, they say nothing; the next one does not wait as long again."""
    monkeypatch.setattr(progress, "STARTED", clock[0])
    caplog.set_level(logging.INFO, logger="medtransfer")
    list(track(slow(clock, 4, 1.0), "lists", 4))
    assert caplog.messages == []
    list(track(slow(clock, 4, 0.5), "states", 4))  # from 4 s on
    assert caplog.messages == ["states: 2/4 it, 2.0/s, 1 s left"]
    caplog.clear()
    list(track(slow(clock, 8, 1.0), "digests", 8))  # from 6 s on
    assert caplog.messages == ["digests: 5/8 it, 1.0/s, 3 s left"]


def test_a_log_line_takes_the_place_of_a_status(terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("medtransfer")
    monkeypatch.setattr(log, "handlers", [logging.StreamHandler(sys.stderr)])
    with status("rank: starting workers"):
        log.warning("a remark")
    log.warning("another")
    assert terminal() == f"{ERASED}rank: starting workers …{ERASED}a remark\n{ERASED}another\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_loading_is_said_on_a_terminal_and_leaves_nothing_behind(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with loading("score"):
        pass
    text = f"{ERASED}score: loading libraries …{ERASED}"
    assert capsys.readouterr().err == (text if terminal else "")


def test_a_status_is_erased_after_an_error_too(terminal: Callable[[], str]) -> None:
    with pytest.raises(ValueError), status("reading"):
        raise ValueError
    assert terminal() == f"{ERASED}reading …{ERASED}"


def test_an_outer_status_is_shown_again(terminal: Callable[[], str]) -> None:
    with status("reading"):
        with pytest.raises(ValueError), loading("report"):
            raise ValueError
    assert terminal() == f"{ERASED}reading …{ERASED}report: loading libraries …{ERASED}reading …{ERASED}"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_long_label_leaves_room_for_counts_and_times(columns: int) -> None:
    """As of a fine-tuning that starts from weights with a long name."""
    label = "finetune e300 full s123124 · tf_efficientnet_lite0-in1k-imagenet → covid224: "
    text = progress_bar.Bar.format_meter(3, 15, 90.0, ncols=columns, prefix=label, unit="epochs")
    assert text.startswith("fin") and len(text) <= columns and " 20%|" in text
    assert columns == 40 or "covid224" in text
    assert columns == 40 or "3/15 [01:30<06:00, 30.00s/epochs]" in text
    short = progress_bar.Bar.format_meter(3, 15, 90.0, ncols=columns, prefix="rank: ", unit="epochs")
    assert short.startswith("rank:  20%|")


def test_the_time_left_of_jobs_goes_on_between_their_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten of the first twenty were finished before, and took no time."""
    bar, now = progress_bar.Bar(total=20, desc="race", unit="epochs", disable=False), [0.0]
    try:
        monkeypatch.setattr(bar, "_time", lambda: bar.start_t + now[0])
        bar.reuse(10)
        assert bar.format_dict["rate"] is None
        now[0] = 30.0
        bar.update(5)  # 6 s each
        left = []
        for now[0] in (30.0, 40.0, 50.0):
            left.append(round((bar.total - bar.n) / bar.format_dict["rate"]))
        assert left == [30, 24, 24]  # less by the clock, but not less than what the others but one will take
    finally:
        bar.close()
    assert "15/20 epochs [" in capsys.readouterr().err.split("\r")[-2]


def test_what_was_done_before_says_nothing_about_the_pace(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="medtransfer"):
        assert len(list(track(slow(clock, 3, 16.0), "finetune", 10, "epochs", 7))) == 3
    assert caplog.messages == ["finetune: 8/10 epochs, 16 s each, 32 s left", "finetune: 9/10 epochs, 16 s each, 16 s left"]


def test_long_parts_have_lines_of_their_own(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="medtransfer")
    assert len(list(track_within(slow(clock, 8, 20.0), "epoch 4 of finetune", 8, "batches", 60.0))) == 8
    assert caplog.messages == [
        "epoch 4 of finetune: 3/8 batches, 20 s each, 2 min left", "epoch 4 of finetune: 6/8 batches, 20 s each, 40 s left",
    ]  # fmt: skip
    assert len(list(track_within(slow(clock, 5, 10.0), "epoch 5 of finetune", 5, "batches", 60.0))) == 5
    assert len(caplog.messages) == 2


def test_long_parts_have_a_bar_of_their_own_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(track_within(range(3), "short", 3)) == [0, 1, 2] and "short" not in capsys.readouterr().err
    monkeypatch.setattr(progress, "LONG", 0.01)
    for _ in track_within(range(3), "long", 3):
        time.sleep(0.15)
    assert "long" in capsys.readouterr().err


def test_a_tally_counts_what_others_do(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """Two of eight were done before, and the first of two that run at once tells no pace yet."""
    caplog.set_level(logging.INFO, logger="medtransfer")
    with Tally("rank", 8, "candidates", at_once=2) as tally:
        tally.reuse(2)
        for clock[0] in (120.0, 140.0, 160.0):
            tally.count()
        tally.expect(10)
        clock[0] = 180.0
        tally.count()
    assert tally.done == 6
    assert caplog.messages == [
        "rank: 4/8 candidates, 20 s each, 80 s left", "rank: 5/8 candidates, 20 s each, 60 s left",
        "rank: 6/10 candidates, 20 s each, 80 s left",
    ]  # fmt: skip


def test_a_tally_is_a_bar_on_a_terminal(terminal: Callable[[], str]) -> None:
    with Tally("score", 3, "checkpoints") as tally:
        tally.reuse()
        tally.count(2)
    assert "score:   0%|" in (shown := terminal()) and "| 3/3 checkpoints [" in shown
