"""Evidence rows: from the fine-tunings in the tracking store, and from files that others exported."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer import __version__, tracking
from medtransfer.analysis.described import EVALUATED, is_tested
from medtransfer.analysis.pool import PORTION, portion_of
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.records import TARGET_FILE, PreparedTarget
from medtransfer.records.evidence import EvidenceRow, read_evidence
from medtransfer.tasks import TASKS
from medtransfer.tracking import StoredRun

log = logging.getLogger("medtransfer")
PARAMS = (
    "weights", "data", "protocol", "encoder", "origin", "source", "epoch", "target", "task", "classes", "mode", "seed", "primary",
    "train_epochs", "epoch_steps", "batch_size",
)  # fmt: skip
TAGS = ("seconds", "version.torch", "git_revision")
TRAINED = "trained_epochs"  # metric of fine-tunings that may stop early
TRAIN_IMAGES = "train_images"  # metric of fine-tunings on a portion
DIGITS = 6  # of outcomes


def all_rows(prepared: Path, imported: Path) -> list[EvidenceRow]:
    """Return the evidence of the store and of imported files; of rows with the same key one counts, an own one first.

    Args:
        prepared: folder of all prepared targets.
        imported: folder of imported evidence, which need not exist.
    """
    own, _ = own_rows(prepared)
    return merged(own, *(read_evidence(path) for path in sorted(imported.glob("*.csv"))))


def merged(*sources: Iterable[EvidenceRow]) -> list[EvidenceRow]:
    """Return the rows of all sources; of rows with the same key that of the first source that has one."""
    rows: dict[tuple[str, ...], EvidenceRow] = {}
    for source in sources:
        for row in source:
            rows.setdefault(row.key, row)
    return list(rows.values())


def own_rows(prepared: Path) -> tuple[list[EvidenceRow], int]:
    """Return the evidence of every finished fine-tuning of the store, and the number of those of an older format.

    What the store does not know of a target is read from its prepared folder; it is None where that is missing or holds
    other data.
    """
    metrics = {task.primary.name for task in TASKS.values()}
    newest: dict[str, StoredRun] = {}
    for run in tracking.read_runs(
        "finetune", only=(*PARAMS, *PORTION, *metrics, TRAINED, TRAIN_IMAGES, *TAGS, EVALUATED)
    ):  # newest first
        if is_tested(run):
            newest.setdefault(run.tags[tracking.CELL], run)
    runs = [run for run in newest.values() if set(PARAMS) <= run.params.keys() and run.params["primary"] in run.metrics]
    groups: dict[tuple[str, ...], list[StoredRun]] = defaultdict(list)
    for run in runs:
        groups[(*(run.params[name] for name in ("weights", "data", "mode", "primary")), _protocol(run.params))].append(run)
    described = {name: _describe(prepared / name) for name in {run.params["target"] for run in runs}}
    return [_row(group, described) for group in groups.values()], len(newest) - len(runs)


def _row(runs: Sequence[StoredRun], described: Mapping[str, Mapping[str, Any]]) -> EvidenceRow:
    """Summarise the seeds of fine-tunings from the same weights, which may have several names."""
    first = min(runs, key=lambda run: (run.params["encoder"], run.params["origin"], run.params["epoch"]))
    params, by_seed = first.params, dict[str, StoredRun]()
    for run in runs:
        by_seed.setdefault(run.params["seed"], run)
    counted = [by_seed[seed] for seed in sorted(by_seed)]
    values = [run.metrics[params["primary"]] for run in counted]
    facts = described[params["target"]]
    known = facts if facts.get("data") == params["data"] else {}
    if any(portion_of(params)):
        seen = first.metrics.get(TRAIN_IMAGES)
        known = {**known, "train_images": None if seen is None else round(seen), "train_groups": None}
    seconds = [float(run.tags["seconds"]) for run in counted if "seconds" in run.tags]
    epochs = round(float(np.mean([run.metrics.get(TRAINED, int(params["train_epochs"])) for run in counted])))
    return EvidenceRow(
        weights=params["weights"], data=params["data"], protocol=_protocol(params), encoder=params["encoder"],
        origin=params["origin"], source=params["source"], epoch=int(params["epoch"]), target=params["target"],
        task=params["task"], classes=int(params["classes"]), mode=params["mode"], metric=params["primary"],
        **{name: known.get(name) for name in ("raw", "reader", "train_images", "train_groups", "height", "width")},
        mean=round(float(np.mean(values)), DIGITS),
        std=round(float(np.std(values, ddof=1)), DIGITS) if len(values) > 1 else None, seeds=len(values),
        train_epochs=epochs, images_seen=_images_seen(params, known.get("train_images"), epochs),
        seconds=round(float(np.mean(seconds)), 1) if seconds else None, medtransfer=__version__,
        torch=first.tags.get("version.torch"), git_revision=first.tags.get("git_revision"),
    )  # fmt: skip


def _protocol(params: Mapping[str, str]) -> str:
    """Return the digest of the recipe; each portion of the training samples has one of its own."""
    portion = portion_of(params)
    return digest([params["protocol"], *portion]) if any(portion) else params["protocol"]


def _images_seen(params: Mapping[str, str], train_images: int | None, epochs: int) -> int | None:
    """Return the training images in all passes; None where their number is not known."""
    if train_images is None:
        return None
    steps = params["epoch_steps"]
    per_epoch = train_images if steps == "None" else min(train_images, int(steps) * int(params["batch_size"]))
    return epochs * per_epoch


def _describe(folder: Path) -> dict[str, Any]:
    """Return what a prepared target says about itself; empty, with a warning, if it cannot be read."""
    if not (folder / TARGET_FILE).exists():
        return {}
    try:
        target = PreparedTarget.open(folder)
        train = target.index[target.index["split"] == "train"]
    except InputError as error:
        log.warning("evidence on the target %s lacks what its prepared folder says, since %s", folder.name, error)
        return {}
    return {
        "data": target.info.fingerprint, "raw": target.info.raw, "reader": target.info.reader,
        "train_images": len(train), "train_groups": int(train["group"].nunique()),
        "height": target.info.input[0], "width": target.info.input[1],
    }  # fmt: skip
