"""Freed memory is kept with glibc; other C libraries are left alone."""

import ctypes
import platform
from typing import Any

import pytest

from medtransfer.training.memory import KEPT, LARGEST, keep_freed_memory


def test_glibc_supports_it():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_both_thresholds_are_set(monkeypatch):
    asked: list[tuple[int, int]] = []

    class Library:
        @staticmethod
        def mallopt(parameter: int, value: int) -> int:
            asked.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library)
    assert keep_freed_memory()
    assert asked == [(-1, KEPT), (-3, LARGEST)]


@pytest.mark.parametrize("library", [object(), None])
def test_another_library_is_left_alone(library, monkeypatch):
    def opened(name: None) -> Any:
        if library is None:
            raise OSError("no such library")
        return library

    monkeypatch.setattr(ctypes, "CDLL", opened)
    assert not keep_freed_memory()
