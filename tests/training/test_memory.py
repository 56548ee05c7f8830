"""Freed memory is kept with glibc; other C libraries are left alone."""

import ctypes
import platform
from unittest.mock import Mock, call

from medtransfer.training.memory import KEPT, LARGEST, keep_freed_memory


def test_glibc_supports_it():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_both_thresholds_are_set_and_another_library_is_left_alone(monkeypatch):
    library = Mock()
    monkeypatch.setattr(ctypes, "CDLL", library)
    library.return_value.mallopt.return_value = 1
    assert keep_freed_memory()
    assert library.return_value.mallopt.call_args_list == [call(-1, KEPT), call(-3, LARGEST)]
    library.return_value = object()
    assert not keep_freed_memory()
    library.side_effect = OSError("no such library")
    assert not keep_freed_memory()
