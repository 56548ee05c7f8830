"""Remove what earlier predictions in the same folder wrote and the new ones do not; only files that our records name."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medtransfer.errors import InputError
from medtransfer.predict.images import Image
from medtransfer.predict.job import Job
from medtransfer.predict.labels import TABLE
from medtransfer.predict.tables import CLASSES, METRICS, PER_IMAGE
from medtransfer.records import Prediction
from medtransfer.records.finished import FILE

FOLDERS = {"mask": "masks", "overlay": "overlays", "probabilities": "probabilities", "labels": "labels"}  # by kind of file


def reopen(job: Job, image: Image) -> Mapping[str, str]:
    """Mark an earlier prediction of an image as unfinished, and return its files by kind.

    Its record names them until the new one is written, so that the same command removes them after an interruption, too; what an
    interrupted prediction wrote itself is named nowhere if another command follows.
    """
    try:
        earlier = Prediction.read(job.record(image))
    except InputError:
        job.record(image).unlink(missing_ok=True)
        return {}
    replace(earlier, key="").write(job.record(image))
    return earlier.outputs


def remove_files(job: Job, image: Image, earlier: Mapping[str, str], written: Mapping[str, Path]) -> None:
    """Remove the files of an earlier prediction that the new one did not write, and folders that are empty then."""
    for kind, name in earlier.items():
        path = job.out / name
        if Path(name).parts[:1] != (FOLDERS.get(kind),) or ".." in Path(name).parts or path in written.values():
            continue
        if path.is_file() or path.is_symlink():  # a folder of this name is not ours
            path.unlink(missing_ok=True)
        for folder in list(path.parents)[: len(Path(name).parts) - 1]:
            if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
    if earlier and not job.masks:
        job.counts(image).unlink(missing_ok=True)


def other_tables(job: Job) -> list[Path]:
    """Return the tables of the other kind of model, masks or labels, if the folder has predictions of one."""
    kind, tables = ("mask", (CLASSES, PER_IMAGE, METRICS, FILE)) if job.of_images else ("labels", (TABLE,))
    found = [path for name in tables if (path := job.out / name).exists()]
    records = (job.out / "files").rglob("*.json") if found else ()
    return found if any(kind in outputs for outputs in map(_outputs, records)) else []


def _outputs(record: Path) -> Mapping[str, str]:
    """Return the files that a record names; none where it is broken."""
    try:
        return Prediction.read(record).outputs
    except InputError:
        return {}
