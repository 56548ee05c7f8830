"""A run that a lost store did not get goes in; a small file keeps it, and the next command that reaches the store sends it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medtransfer.hashing import digest
from medtransfer.locks import only_one
from medtransfer.records import in_one_line, parse_json, require_file, write_json
from medtransfer.tracking import store
from medtransfer.tracking.retry import StoreLost
from medtransfer.tracking.run_record import Record

log = logging.getLogger("medtransfer")


@dataclass
class Kept:
    """All that was logged to one run, as JSON takes it.

    Attributes:
        params: as texts.
        tags: as texts.
        curves: values by metric and step; final metrics have the step 0.
        datasets: as the arguments of `Run.log_dataset`.
        artifacts: (absolute path, folder in the run) of each file or folder.
        started: when the run was opened, in milliseconds since 1970.
    """

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    datasets: list[Sequence[str]] = field(default_factory=list)
    artifacts: list[tuple[str, str | None]] = field(default_factory=list)
    started: int = field(default_factory=lambda: int(time.time() * 1000))


def keep(stage: str, name: str, cell: str, kept: Kept) -> None:
    """Write what the store did not get to a file of the working tree, with the state of the files that belong to it."""
    path = _folder() / f"{stage}-{cell}.json"
    uri = store.store_uri()
    head = {"store": store.shown(uri), "address": digest(uri), "stage": stage, "name": name, "cell": cell}
    head["files"] = _stamp(kept.artifacts)
    write_json(path, {**head, **_with_texts(asdict(kept))})
    log.warning("the tracking store lacks the run %s; its results are kept, and the next command sends them", name)


def begin() -> None:
    """Reach the store before any work, and send it what earlier commands could not.

    Raises:
        InputError: the store does not answer.
    """
    store.connect()
    if not any(_folder().glob("*.json")):
        return
    with only_one(_folder()):
        for path in sorted(_folder().glob("*.json")):
            _send(path)


def _send(path: Path) -> None:
    from medtransfer.tracking.bulk import send_run

    try:
        found = parse_json(require_file(path, "a run that was kept", "remove it").read_text(encoding="utf-8"))
        if found["address"] != digest(store.store_uri()):
            log.info("the run %s waits for the tracking store %s", found["name"], found["store"])
            return
        if found["files"] != _stamp(found["artifacts"]):
            log.warning("the files of the run %s have changed since: it is not sent; run %s again", found["name"], found["stage"])
            path.unlink()
            return
        send_run(found["stage"], _record(found), int(found["started"]))
    except StoreLost as fault:
        log.warning("%s", fault)
        return
    except Exception as fault:  # a damaged file, or a run that the store refuses, must not stop every command from now on
        aside = path.replace(path.with_suffix(".refused"))
        log.warning("a run that was kept cannot be sent (%s); it lies in %s", in_one_line(fault), aside)
        return
    log.info("the tracking store got the run %s, which was kept", found["name"])
    path.unlink()


def _record(found: dict[str, Any]) -> Record:
    artifacts = {}
    for text, folder in found["artifacts"]:
        path = Path(text)
        artifacts[(folder or "") if path.is_dir() else f"{folder}/{path.name}" if folder else path.name] = path
    curves = {name: {int(step): float(value) for step, value in curve.items()} for name, curve in found["curves"].items()}
    datasets = [(name, key, Path(folder), context) for name, key, folder, context in found["datasets"]]
    return Record(found["name"], found["cell"], found["params"], {}, curves, found["tags"], artifacts, datasets)


def _with_texts(values: dict[str, Any]) -> dict[str, Any]:
    """Write the numbers of curves as texts: JSON has no NaN."""
    curves = {name: {step: repr(float(value)) for step, value in curve.items()} for name, curve in values["curves"].items()}
    return {**values, "curves": curves}


def _stamp(artifacts: Sequence[Sequence[str | None]]) -> str:
    """Give a digest of names, sizes and times of the files that belong to a run."""
    files = []
    for text, _ in artifacts:
        path = Path(str(text))
        files += sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return digest([[str(one), one.stat().st_size, one.stat().st_mtime_ns] if one.exists() else [str(one)] for one in files])


def _folder() -> Path:
    return store.own_folder() / "unsent"
