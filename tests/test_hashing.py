"""Canonical JSON, digests, and hashes of files."""

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from medtransfer import hashing
from medtransfer.hashing import canonical_json, digest, file_sha256, files_sha256


def test_canonical_json_is_unique() -> None:
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert digest({"x": 1, "y": {"p": 1, "q": 2}}) == digest({"y": {"q": 2, "p": 1}, "x": 1})
    assert digest((1, 2)) == digest([1, 2])


def test_a_digest_is_the_head_of_the_sha256() -> None:
    whole = hashlib.sha256(b'{"a":1}').hexdigest()
    assert digest({"a": 1}) == whole[:12]
    assert digest({"a": 1}, 16) == whole[:16]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_values_that_json_lacks_have_no_digest(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        digest({"a": value})


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("in_a_row", [1, 3, 16])
def test_files_are_hashed_in_their_order_whatever_their_size(tmp_path: Path, in_a_row: int) -> None:
    contents = [bytes([number]) * size for number, size in enumerate((0, 3 * hashing.CHUNK + 5, 7, hashing.CHUNK))]
    paths = [tmp_path / str(number) for number in range(4)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    assert list(files_sha256(paths, in_a_row=in_a_row)) == [hashlib.sha256(content).hexdigest() for content in contents]


def test_small_files_are_hashed_without_a_buffer_for_large_ones(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(50)]
    for path in paths:
        path.write_bytes(path.name.encode())
    tracemalloc.start()
    try:
        assert list(files_sha256(paths)) == [hashlib.sha256(path.name.encode()).hexdigest() for path in paths]
        assert tracemalloc.get_traced_memory()[1] < hashing.CHUNK
    finally:
        tracemalloc.stop()


def test_files_that_are_read_when_hashing_is_interrupted_are_not_read_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"abc")
    hashed = files_sha256([tmp_path / "small", Path("/dev/zero")])  # which has no end
    assert next(hashed) == hashlib.sha256(b"abc").hexdigest()
    hashed.close()  # type: ignore[attr-defined]
