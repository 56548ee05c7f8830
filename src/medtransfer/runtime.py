"""A seed or a path goes in; reproducible random state, revisions and the running environment come out."""

import hashlib
import importlib.metadata
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS_TO_STOP_LATER = 5.0
PACKAGES = ("torch", "torchvision", "timm", "albumentations", "mlflow", "numpy", "pandas")


def derive_seed(*parts: int | str) -> int:
    """Give a 63-bit seed that depends on every part and on nothing else.

    Args:
        parts: what the random numbers belong to, such as (seed, epoch, index).
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_everything(seed: int) -> None:
    """Set the global states of random, numpy and torch, and ask torch for deterministic kernels where they exist."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def canonical_json(value: Any) -> str:
    """Write a value as JSON in the one form that is hashed: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, length: int = 12) -> str:
    """Give the first `length` hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def file_sha256(path: Path) -> str:
    """Give the SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def git_revision(folder: Path) -> str:
    """Give the commit of the working tree at `folder`, with `-dirty` when it has changes, or `none` outside git."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "none"
    return answer.stdout.strip()


def versions() -> dict[str, str]:
    """Give the installed versions of the libraries that results depend on, keyed `version.<package>`."""
    return {f"version.{name}": importlib.metadata.version(name) for name in PACKAGES}


def workspace(folder: Path | None = None) -> Path:
    """Give the folder that holds the tracking store: the working tree, also from inside a queued DVC experiment.

    DVC runs queued experiments in a temporary copy under `.dvc/tmp/exps`, which it deletes afterwards.
    """
    here = (folder or Path.cwd()).resolve()
    for parent in (here, *here.parents):
        if parent.name == "exps" and parent.parts[-3:-1] == (".dvc", "tmp"):
            return parent.parents[2]
    return here


def is_main_process() -> bool:
    """Tell whether this process is the one that writes and logs (rank 0 of a distributed job)."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def quiet_libraries() -> None:
    """Let the project's own lines through and the libraries' warnings only."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("medtransfer").setLevel(logging.INFO)
    for name in ("alembic", "mlflow", "urllib3", "lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their errors come as exceptions, which end in one sentence


class Stopped(SystemExit):
    """The process was asked to end (SIGTERM), as schedulers and service managers do."""


def stop_on_sigterm() -> None:
    """Let SIGTERM end the work as Ctrl-C does: runs are closed, locks fall, nothing is half-written; a second one ends at once."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Stopped(128 + number)

    signal.signal(signal.SIGTERM, stop)


@contextmanager
def stops_later() -> Iterator[None]:
    """Let the block end, or a few seconds pass, before SIGTERM or Ctrl-C is heard; a second one is heard at once."""
    if threading.current_thread() is not threading.main_thread():  # signals are heard by the main thread alone
        yield
        return
    heard: list[int] = []
    alarms: list[Any] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}

    def note(number: int, frame: object) -> None:
        if heard:
            hear(number)
        heard.append(number)
        alarms.append(signal.signal(signal.SIGALRM, lambda *_: hear(number)))
        signal.setitimer(signal.ITIMER_REAL, SECONDS_TO_STOP_LATER)

    def hear(number: int) -> None:
        ours[signal.Signals(number)](number, None)

    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if heard:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarms[0])
            hear(heard[0])
