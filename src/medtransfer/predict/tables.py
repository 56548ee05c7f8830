"""Tables and summary of all predicted images."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from medtransfer.environment import code_digest
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.predict import labels
from medtransfer.predict.images import Image
from medtransfer.predict.job import Job
from medtransfer.progress import track
from medtransfer.records import BROKEN_ARRAYS, Prediction, read_values, write_text
from medtransfer.records.finished import forget_finished, read_finished, write_finished
from medtransfer.records.tables import as_csv, as_markdown
from medtransfer.wording import counted

CLASSES, PER_IMAGE, METRICS = "classes.csv", "per_image.csv", "metrics.csv"  # the last two with reference masks
UNITS = {"hd95": "hd95 (pixels)", "hd95_mm": "hd95 (mm)"}  # names in the table for people
Metrics = Callable[[], dict[str, float]]  # means over all images, computed when they are asked for


def table_names(job: Job) -> tuple[str, ...]:
    """Return the names of the tables of a job."""
    if job.of_images:
        return (labels.TABLE,)
    return (CLASSES, PER_IMAGE, METRICS) if job.masks else (CLASSES,)


def write_tables(
    job: Job, images: Sequence[Image], records: Sequence[Prediction], reused: int, force: bool
) -> tuple[str, Metrics]:  # fmt: skip
    """Write the tables of all images; return what was done, and the metrics, which are empty without reference masks."""
    finished = f" ({reused} were finished)" if reused else ""
    rows = [{"image": record.image, **row} for record in records for row in record.classes]
    if job.of_images:
        write_text(job.out / labels.TABLE, as_csv(rows))
        return f"predict: labels of {counted(len(images), 'image')} are in {job.out / labels.TABLE}{finished}", dict
    write_text(job.out / CLASSES, as_csv(rows))
    empty = [record.image for record in records if not any(row["pixels"] for row in record.classes)]
    kinds = Counter("volume" if image.is_volume else "picture" for image in images)
    described = " and ".join(counted(number, kind) for kind, number in sorted(kinds.items()))
    lines = [f"predict: masks of {described} are in {job.out}{finished}"]
    if empty:
        lines.append(f"No foreground is predicted in {len(empty)} of {len(images)}, such as {empty[0]}.")
    overlays = f"overlays are in {job.out / 'overlays'}, and " if job.section.overlays else ""
    lines.append(f"predict: {overlays}the pixels of each class are in {job.out / CLASSES}")
    if not job.masks:
        forget_finished(job.out)
        for name in (PER_IMAGE, METRICS):  # of earlier predictions
            (job.out / name).unlink(missing_ok=True)
        return "\n".join(lines), dict
    note = (
        "The images are compared at their own sizes. The metrics of the fine-tuning compare prepared images, of "
        f"{'x'.join(map(str, job.infos[0].input))} pixels, and may differ much."
    )
    request = digest([code_digest(), job.classes, job.regions, [[record.image, record.key] for record in records]])
    if not force and (done := read_finished(job.out, request)) and done.texts:
        return "\n".join([*lines, "", *done.texts, "", note]), lambda: _evaluate(job, images)[0]
    forget_finished(job.out)
    metrics, table = _evaluate(job, images)
    write_finished(job.out, request, [], [job.out / PER_IMAGE, job.out / METRICS], [table])
    return "\n".join([*lines, "", table, "", note]), lambda: metrics


def _evaluate(job: Job, images: Sequence[Image]) -> tuple[dict[str, float], str]:
    """Compute all metrics of the images against their reference masks, and write them; return them, also as a table."""
    from medtransfer.metrics.segmentation import SegmentationEvaluation

    total = SegmentationEvaluation(len(job.classes), job.classes, regions=job.regions)
    for image in track(images, "predict: metrics", len(images), "images"):
        path = job.counts(image)
        try:
            names, arrays = read_values(path)
            total.merge(names, [image.name] * len(names), arrays)
        except BROKEN_ARRAYS:
            raise InputError(f"expected the counts of {image.path} in {path}, but it is broken; predict with --force") from None
    evaluation = total.compute()
    write_text(job.out / PER_IMAGE, as_csv(evaluation.per_sample))
    rows = _by_class(evaluation.metrics, job.classes, job.regions)
    write_text(job.out / METRICS, as_csv(rows))
    return evaluation.metrics, as_markdown([{**row, "metric": UNITS.get(row["metric"], row["metric"])} for row in rows])


def _by_class(metrics: dict[str, float], classes: Sequence[str], regions: Iterable[str]) -> list[dict[str, Any]]:
    """Return one row per metric: its mean, and its value of each class, if there are several, and of each region."""
    names = [name for name in metrics if "_class_" not in name and "_region_" not in name]
    return [
        {
            "metric": name, "mean": metrics[name],
            **({c: metrics.get(f"{name}_class_{i}") for i, c in enumerate(classes, start=1)} if len(classes) > 1 else {}),
            **{f"region {r}": metrics.get(f"{name}_region_{i}") for i, r in enumerate(regions, start=1)},
        }
        for name in names
    ]  # fmt: skip
