"""SIGTERM and Ctrl-C, deferred until a block ends."""

import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from medtransfer import signals
from medtransfer.signals import Stopped, stop_on_sigterm, stop_though_ignored, stops_later


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Handle SIGTERM as the commands do; a block on a busy machine may take long."""
    monkeypatch.setattr(signals, "SECONDS_TO_STOP_LATER", 600.0)
    before = signal.getsignal(signal.SIGTERM)
    stop_on_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("number", "stop"), [(signal.SIGTERM, Stopped), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_within_a_destructor_is_handled_after_it(
    stopping: None, number: signal.Signals, stop: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Python ignores what is raised there."""
    done: list[str] = []

    class Destroyed:
        def __del__(self) -> None:
            signal.raise_signal(number)
            done.append("never")

    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    stop_though_ignored()
    with pytest.raises(stop):
        Destroyed()
        done.append("after")
        for _ in range(1000):
            time.sleep(0.01)
    assert done == ["after"]


def test_other_errors_that_python_ignores_are_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Destroyed:
        def __del__(self) -> None:
            raise ValueError("destroyed")

    shown: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: shown.append(ignored.exc_value))
    stop_though_ignored()
    Destroyed()
    assert [str(error) for error in shown] == ["destroyed"]


@pytest.mark.parametrize(("number", "stop"), [(signal.SIGTERM, Stopped), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_is_handled_after_the_block(stopping: None, number: signal.Signals, stop: type[BaseException]) -> None:
    done, before = [], signal.getsignal(number)
    with pytest.raises(stop), stops_later():
        with stops_later():
            signal.raise_signal(number)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert number == signal.SIGTERM or signal.getsignal(number) is before


def test_a_second_signal_is_handled_at_once(stopping: None) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), stops_later():
        signal.raise_signal(signal.SIGINT)
        done.append("first")
        signal.raise_signal(signal.SIGINT)
        done.append("second")
    assert done == ["first"]


def test_a_block_that_takes_too_long_is_stopped(stopping: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SECONDS_TO_STOP_LATER", 0.05)
    with pytest.raises(Stopped), stops_later():
        signal.raise_signal(signal.SIGTERM)
        while True:
            time.sleep(0.01)


def test_an_error_in_the_block_is_the_context_of_the_stop(stopping: None) -> None:
    with pytest.raises(Stopped) as caught, stops_later():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError("both")
    assert caught.value.code == 143 and isinstance(caught.value.__context__, ValueError)


def test_handlers_are_restored(stopping: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stops_later():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_do_not_change_handlers(stopping: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with stops_later():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
