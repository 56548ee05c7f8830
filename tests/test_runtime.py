"""Seeds, digests, revisions and the folder of the tracking store."""

import hashlib
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medtransfer.environment import git_revision, is_main_process, versions, workspace
from medtransfer.hashing import canonical_json, digest, file_sha256
from medtransfer.seeds import derive_seed, seed_everything
from medtransfer.signals import Stopped, stop_on_sigterm, stops_later


def test_a_seed_is_the_hash_of_its_parts() -> None:
    expected = int.from_bytes(hashlib.blake2b(b"(7, 'epoch', 3)", digest_size=8).digest(), "little") // 2
    assert derive_seed(7, "epoch", 3) == expected


def test_seeds_differ_by_every_part_its_kind_and_order() -> None:
    parts: list[tuple[int | str, ...]] = [(1, 2), (2, 1), (12,), ("1", 2), (1, "2"), (1, 2, 0), (), (1,)]
    assert len({derive_seed(*one) for one in parts}) == len(parts)


def test_seeds_fit_into_a_signed_64_bit_number() -> None:
    seeds = [derive_seed(number) for number in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # and use the range


def test_the_global_seed_repeats_every_generator() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    seed_everything(2**40 + 1)  # numpy takes 32 bits only
    first = draw()
    assert draw() != first
    seed_everything(2**40 + 1)
    assert draw() == first


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert digest({"x": 1, "y": {"p": 1, "q": 2}}) == digest({"y": {"q": 2, "p": 1}, "x": 1})
    assert digest((1, 2)) == digest([1, 2])


def test_a_digest_is_the_head_of_the_sha256() -> None:
    whole = hashlib.sha256(b'{"a":1}').hexdigest()
    assert digest({"a": 1}) == whole[:12]
    assert digest({"a": 1}, 16) == whole[:16]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_hold_has_no_digest(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        digest({"a": value})


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_the_revision_is_the_commit_and_says_when_it_is_dirty(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def revision() -> str:
        git_revision.cache_clear()  # as in another process
        return git_revision(tmp_path)

    assert revision() == "none"
    git("init", "--quiet")
    assert revision() == "none"  # no commit yet
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "--quiet", "-m", "one")
    git("tag", "-a", "v1", "-m", "a tag does not take the commit's place")
    commit = git("rev-parse", "HEAD")
    assert revision() == commit
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == commit  # a process asks once
    assert revision() == f"{commit}-dirty"


def test_versions_name_the_libraries() -> None:
    found = versions()
    assert found["version.torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["version.numpy"] == np.__version__


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("project", "project"),
        ("project/.dvc/tmp/exps/tmp1a2b", "project"),
        ("project/.dvc/tmp/exps/standalone/tmp1a2b/src", "project"),
        ("project/exps/one", "project/exps/one"),
        ("project/.dvc/tmp/other/x", "project/.dvc/tmp/other/x"),
    ],
)
def test_the_workspace_of_a_queued_experiment_is_the_project(tmp_path: Path, inside: str, expected: str) -> None:
    (tmp_path / inside).mkdir(parents=True)
    assert workspace(tmp_path / inside) == (tmp_path / expected).resolve()


def test_the_workspace_is_the_current_folder_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert workspace() == tmp_path.resolve()


@pytest.mark.parametrize(
    ("environment", "main"),
    [
        ({}, True),
        ({"RANK": "0"}, True),
        ({"RANK": "3"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "1"}, True),
    ],
)
def test_only_rank_zero_writes(environment: dict[str, str], main: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is main


@pytest.fixture
def stopping() -> Iterator[None]:
    """Hear SIGTERM as the commands do."""
    before = signal.getsignal(signal.SIGTERM)
    stop_on_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("number", "stop"), [(signal.SIGTERM, Stopped), (signal.SIGINT, KeyboardInterrupt)])
def test_a_stop_is_heard_when_the_block_has_ended(stopping: None, number: signal.Signals, stop: type[BaseException]) -> None:
    done, before = [], signal.getsignal(number)
    with pytest.raises(stop), stops_later():
        with stops_later():
            signal.raise_signal(number)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert number == signal.SIGTERM or signal.getsignal(number) is before


def test_a_second_stop_is_heard_at_once(stopping: None) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), stops_later():
        signal.raise_signal(signal.SIGINT)
        done.append("first")
        signal.raise_signal(signal.SIGINT)
        done.append("second")
    assert done == ["first"]


def test_what_goes_wrong_in_the_block_is_told_beside_the_stop(stopping: None) -> None:
    with pytest.raises(Stopped) as caught, stops_later():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError("both")
    assert caught.value.code == 143 and isinstance(caught.value.__context__, ValueError)


def test_without_a_stop_nothing_changes_and_threads_do_not_touch_signals(stopping: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stops_later():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    seen = []

    def work() -> None:
        with stops_later():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
