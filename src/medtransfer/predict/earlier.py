"""Replace what earlier predictions in the same folder wrote: only files that our records name, and none that was changed since."""

import errno
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from itertools import count
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.hashing import file_sha256
from medtransfer.predict.images import Image
from medtransfer.predict.job import FOLDERS, Job
from medtransfer.predict.labels import TABLE
from medtransfer.predict.tables import CLASSES, METRICS, PER_IMAGE
from medtransfer.records import Prediction, write_bytes
from medtransfer.records.atomic import remove_partial
from medtransfer.records.finished import FILE

log = logging.getLogger("medtransfer")
CHANGED = "changed"  # folder of what was changed since it was predicted
TABLES = {"mask": (CLASSES, PER_IMAGE, METRICS, FILE), "labels": (TABLE,)}  # by what a model predicts


def reopen(job: Job, image: Image, files: Iterable[str], digests: Mapping[str, str]) -> set[str]:
    """Mark the prediction of an image as unfinished before its files are written.

    The record names those files and the earlier ones until the new record is written, so that whatever is predicted after an
    interruption removes them, too. Files in their places that are not as we wrote them are moved to a folder `changed`.

    Args:
        job: what is done.
        image: the image.
        files: what will be written, below the folder of the prediction.
        digests: SHA-256 of those of these files that a reader may correct.

    Returns:
        The files that the record named before.
    """
    record = job.record(image)
    try:
        earlier = Prediction.read(record)
    except InputError:  # there is none, or it is broken
        earlier = Prediction(image.name, "", [], {}, [], 0.0)
    named = {*earlier.outputs.values(), *earlier.attempted}
    for name in sorted({*_ours(named), *files}):
        path = job.out / name
        if path.is_file() and (name not in named or _is_changed(path, record, earlier, name)):
            _move_aside(job, name)
    known = {name: sorted({*earlier.digests.get(name, ()), digest}) for name, digest in digests.items()}
    attempted = sorted({*earlier.attempted, *files})
    replace(earlier, key="", digests=earlier.digests | known, attempted=attempted).write(record)
    return named


def find_changed(job: Job, predictions: Iterable[Prediction]) -> list[Path]:
    """Return the masks and labels of finished predictions that someone changed since; in the tables they are as predicted."""
    return [
        job.out / name for done in predictions for name in done.digests
        if name in done.outputs.values() and file_sha256(job.out / name) not in done.digests[name]
    ]  # fmt: skip


def remove_files(job: Job, image: Image, earlier: Set[str], written: Collection[str]) -> None:
    """Remove the earlier files of an image that its new prediction did not write, and folders that are empty then."""
    for name in _ours(earlier - set(written)):
        path = job.out / name
        if path.is_file() or path.is_symlink():  # a folder of this name is not ours
            path.unlink(missing_ok=True)
        if path.parent.is_dir():
            remove_partial(path)
        for folder in list(path.parents)[: len(Path(name).parts) - 1]:
            if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
    if earlier and not job.masks:
        job.counts(image).unlink(missing_ok=True)


def _ours(names: Iterable[str]) -> Iterator[str]:
    """Yield the names of files in the folders that predictions write to; a record that someone edited may hold others."""
    for name in names:
        first, *rest = Path(name).parts or ("",)
        if first in FOLDERS.values() and ".." not in rest:
            yield name


def _is_changed(path: Path, record: Path, earlier: Prediction, name: str) -> bool:
    """Return whether a file is not as we wrote it; earlier versions noted no digests, but wrote the record last, too."""
    if name in earlier.digests:
        return file_sha256(path) not in earlier.digests[name]
    return bool(earlier.key) and not earlier.digests and path.stat().st_mtime_ns > record.stat().st_mtime_ns


def _move_aside(job: Job, name: str) -> None:
    """Keep a file that is not as we wrote it, or that no record names; of a link the content."""
    folders = (job.out / (CHANGED if number == 1 else f"{CHANGED}-{number}") for number in count(1))
    path, kept = job.out / name, next(path for folder in folders if not os.path.lexists(path := folder / name))
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.is_symlink():
            raise OSError(errno.EXDEV, "a link may not lead to its file from elsewhere")
        path.rename(kept)
    except OSError as error:
        if error.errno != errno.EXDEV:  # its folder may be a link to another disk
            raise
        write_bytes(kept, path.read_bytes())
        path.unlink()
    log.warning("predict: %s differs from what was predicted, or no record names it; it is kept as %s", path, kept)


def other_tables(job: Job) -> list[Path]:
    """Return the tables of the other kind of model, masks or labels, if the folder has predictions of one."""
    kind = "mask" if job.of_images else "labels"
    found = [path for name in TABLES[kind] if (path := job.out / name).exists()]
    records = (job.out / "files").rglob("*.json") if found else ()
    return found if any(kind in outputs for outputs in map(_outputs, records)) else []


def own_tables(job: Job) -> list[Path]:
    """Return the tables of this kind of model, which say nothing any more once a prediction in them is replaced."""
    return [job.out / name for name in TABLES["labels" if job.of_images else "mask"]]


def _outputs(record: Path) -> Mapping[str, str]:
    """Return the files that a record names; none where it is broken."""
    try:
        return Prediction.read(record).outputs
    except InputError:
        return {}
