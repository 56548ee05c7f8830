"""Stage `predict`: masks of new images in their own geometry, one finished file after the other."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medtransfer import tracking
from medtransfer.config import Predict
from medtransfer.data.intensities import Limits
from medtransfer.errors import InputError
from medtransfer.hashing import digest, file_sha256
from medtransfer.locks import exclusive
from medtransfer.metrics.segmentation import SegmentationEvaluation
from medtransfer.predict import labels, outputs
from medtransfer.predict.channel_files import list_cases
from medtransfer.predict.folders import read_models
from medtransfer.predict.images import Image, Pixels, list_images, read_pixels, shared_limits
from medtransfer.predict.model import Model, load_model
from medtransfer.predict.pixels import rule_of
from medtransfer.predict.publish import STAGE, publish
from medtransfer.predict.reference_masks import find_masks, read_reference, refuse_masks
from medtransfer.predict.windows import Plan
from medtransfer.prepare.mask_values import MaskRule, read_rule
from medtransfer.progress import track
from medtransfer.records import BROKEN_ARRAYS, ImageRule, Prediction, read_values, write_text, write_values
from medtransfer.records.tables import as_csv, as_markdown
from medtransfer.wording import are, counted

log = logging.getLogger("medtransfer")
TABLES = ("classes.csv", "per_image.csv", "metrics.csv")  # the last two with reference masks
FAULTS = 10  # images that are named at most where some cannot be predicted
REVISION = 2  # of what is written for the same image, models and options; files of an older one are written again


@dataclass(frozen=True)
class Job:
    """What is done with every image.

    Attributes:
        section: validated params.
        models: the models whose probabilities are averaged, ordered by their cells.
        limits: what becomes 0 and 255 in an image, by model and name, where a group has one scale.
        masks: file of each image's reference mask; empty without.
        rule: how their raw values become classes.
    """

    section: Predict
    models: Sequence[Model]
    limits: Sequence[dict[str, list[Limits] | None]]
    masks: dict[str, Path]
    rule: MaskRule

    @property
    def out(self) -> Path:
        """Folder of the predictions."""
        return Path(self.section.out)

    @property
    def plan(self) -> Plan:
        """How a picture is predicted."""
        return Plan(self.section.slide, self.section.overlap, tuple(sorted(set(self.section.flips))))

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.models[0].info.classes

    @property
    def regions(self) -> Mapping[str, Sequence[int]]:
        """Class numbers of each region by its name."""
        return self.models[0].info.regions

    def key(self, image: Image) -> str:
        """Digest of everything that the prediction of an image depends on."""
        section = self.section
        mask = file_sha256(self.masks[image.name]) if self.masks else None
        return digest([
            REVISION, [file_sha256(file) for file in image.files], [model.info.weights for model in self.models],
            [asdict(rule_of(model.info)) for model in self.models], [limits[image.name] for limits in self.limits],
            asdict(self.plan), section.precision, section.probabilities, section.overlays, mask, self.section.labels and sorted(
                self.section.labels.items(), key=str
            ), *([self.regions] if mask and self.regions else []),
        ], 16)  # fmt: skip


def run(section: Predict, checkpoints: Path, force: bool = False) -> str:
    """Predict all images, and say what was done, with the metrics where there are reference masks; see `predict`."""
    return predict(section, checkpoints, force)[1]


def predict(section: Predict, checkpoints: Path, force: bool = False) -> tuple[list[Prediction], str]:
    """Predict all images, or reuse what is finished.

    Args:
        section: validated params.
        checkpoints: folder of all pretrainings, where encoders that were frozen are looked up.
        force: whether to predict finished images again.

    Returns:
        The record of each image, and what was done, with the metrics where there are reference masks.

    Raises:
        InputError: a model, an image or a mask cannot be used.
    """
    if section.images is None:
        raise InputError("expected the images to predict in predict.images, but it is null; name them with --images")
    folders = [Path(folder) for folder in section.model]
    infos = read_models(folders)
    if infos[0].of_images:
        labels.check(section, infos[0])
    rule = _mask_rule(section, infos[0].classes)
    folder, suffix = Path(section.images), section.mask_suffix or ""
    images = list_cases(folder, section.channels) if section.channels else list_images(folder, suffix)
    if section.mask_suffix is None and not section.channels:
        refuse_masks(images, folder)
    masks = find_masks(images, Path(section.masks), suffix) if section.masks else {}
    _warn_of_layout(images, [rule_of(info) for info in infos])
    tracking.require_experiments([STAGE])
    models = [load_model(folder, checkpoints, section.accelerator, section.precision) for folder in folders]
    models.sort(key=lambda model: model.info.weights)  # so that their order does not count
    job = Job(section, models, [shared_limits(images, rule_of(model.info)) for model in models], masks, rule)
    with exclusive(job.out):
        finished = _complete_all(job, images, force)
        records = [record for record, _ in finished]
        text, metrics = _conclude(job, images, records, sum(reused for _, reused in finished))
        tables = (labels.TABLE,) if infos[0].of_images else TABLES if masks else TABLES[:1]
        publish(section, models, records, metrics, tables, force)
        return records, text


def _warn_of_layout(images: Sequence[Image], rules: Sequence[ImageRule]) -> None:
    """Say how slices are laid out if volumes are given to a model of 8-bit pictures, which may have seen them otherwise."""
    volumes = [image.name for image in images if image.is_volume]
    if volumes and any(rule.kind == "keep" for rule in rules):
        log.warning(
            "predict: the model was trained on pictures of 8 bits, and %d of the images are volumes, such as %s: of a slice x runs "
            "along the columns and y down the rows, array[:, :, z].T of a NIfTI file. If its pictures were saved without the "
            "transpose, the results are wrong: predict pictures that are made alike, or train it on volumes", len(volumes),
            volumes[0],
        )  # fmt: skip


def _mask_rule(section: Predict, classes: Sequence[str]) -> MaskRule:
    """Return how raw values of reference masks become classes: their numbers, unless `labels` says otherwise.

    Of labels that name no background 0 is the background.
    """
    values = section.labels
    if values is None and len(classes) > 1:
        values = dict(enumerate(("background", *classes)))
    elif values and "background" not in values.values() and all(isinstance(value, int) and value for value in values):
        values = {0: "background", **values}
    return read_rule(values, classes, None, segments=True)


def _paths(job: Job, image: Image) -> tuple[Path, Path]:
    """Return the record of an image, and its counts for the metrics."""
    folder = job.out / "files"
    return folder / f"{image.name}.json", folder / f"{image.name}.npz"


def _complete_all(job: Job, images: Sequence[Image], force: bool) -> list[tuple[Prediction, bool]]:
    """Return the record of each image, and whether it was finished; those that cannot be used are named after all others are done.

    Raises:
        InputError: an image or its reference mask cannot be used.
    """
    finished, faults, replaced = [], [], 0
    for image in track(images, "predict", len(images), "images"):
        known = _paths(job, image)[0].exists()
        try:
            finished.append(_complete(job, image, force))
            replaced += known and not finished[-1][1]
        except InputError as error:
            faults.append(str(error))
    _say_what_was_there(job, images, replaced)
    if not faults:
        return finished
    if len(images) == 1:
        raise InputError(faults[0])
    rest = f"; and {len(faults) - FAULTS} more" if len(faults) > FAULTS else ""
    raise InputError(
        f"{len(faults)} of {len(images)} images cannot be predicted, and the others are finished in {job.out}: mend or remove "
        f"these, and run the same command again, which then writes the tables, too: {'; '.join(faults[:FAULTS])}{rest}"
    )


def _say_what_was_there(job: Job, images: Sequence[Image], replaced: int) -> None:
    """Say what earlier predictions in the folder were replaced, and which stay beside those of these images."""
    if replaced:
        log.info("predict: %s replaced in %s", are(replaced, "earlier prediction"), job.out)
    files = job.out / "files"
    names = {path.relative_to(files).with_suffix("").as_posix() for path in files.rglob("*.json")}
    if others := len(names - {image.name for image in images}):
        log.info("predict: kept in %s, but not in its tables: %s of other images", job.out, counted(others, "prediction"))


def _complete(job: Job, image: Image, force: bool) -> tuple[Prediction, bool]:
    """Return the record of an image, and whether it was finished."""
    key, (record, counts) = job.key(image), _paths(job, image)
    if not force and (stored := _stored(job, record, counts, key)):
        return stored, True
    begin = time.monotonic()
    record.unlink(missing_ok=True)
    first = job.models[0].info
    if first.of_images:
        classes, written = _predict_labels(job, image)
    else:
        pixels = read_pixels(image, rule_of(first), first.channels, job.limits[0][image.name])
        masks, written = _predict(job, image, pixels, counts)
        written["mask"] = outputs.write_labels(job.out / "masks", image, pixels, masks)
        if job.section.overlays:
            written["overlay"] = outputs.write_overlay(job.out / "overlays", image, pixels, masks, job.classes)
        classes = outputs.measure(masks, pixels, job.classes)
    done = Prediction(
        image=image.name, key=key, models=[[str(model.folder), model.info.key] for model in job.models],
        outputs={kind: path.relative_to(job.out).as_posix() for kind, path in written.items()},
        classes=classes, seconds=time.monotonic() - begin,
    )  # fmt: skip
    done.write(record)
    return done, False


def _stored(job: Job, record: Path, counts: Path, key: str) -> Prediction | None:
    """Return the record of a finished image if nothing that it depends on has changed and its files exist."""
    try:
        done = Prediction.read(record)
    except InputError:
        return None
    files = [job.out / path for path in done.outputs.values()] + ([counts] if job.masks else [])
    return done if done.key == key and all(file.is_file() for file in files) else None


def _predict(job: Job, image: Image, pixels: Pixels, counts: Path) -> tuple[np.ndarray, dict[str, Path]]:
    """Predict the slices of an image: labels uint8 (N, H, W), and the further files that were written."""
    stored = [pixels, *(
        read_pixels(image, rule_of(model.info), model.info.channels, limits[image.name])
        for model, limits in zip(job.models[1:], job.limits[1:], strict=True)
    )]  # fmt: skip
    truth = read_reference(image, pixels, job.masks[image.name], job.rule) if job.masks else None
    names = [f"{image.name}#{index}" for index in range(len(pixels.slices))]
    size = pixels.geometry.pixel_spacing(pixels.axis) if pixels.geometry else None
    evaluation = SegmentationEvaluation(len(job.classes), job.classes, dict.fromkeys(names, size) if size else None, job.regions)
    task, thresholds = job.models[0].task, job.models[0].info.thresholds
    masks, kept = [], []
    for index in range(len(pixels.slices)):
        parts = [model.predict_stored(item.slices[index], job.plan) for model, item in zip(job.models, stored, strict=True)]
        probabilities = torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]  # (outputs, H, W)
        masks.append(task.decide(probabilities[None], thresholds)[0].numpy())
        if truth is not None:
            evaluation.update(probabilities[None], torch.from_numpy(truth[index][None]), [names[index]], [image.name])
        if job.section.probabilities:
            kept.append(probabilities.numpy())
    if truth is not None:
        write_values(counts, *evaluation.state())
    if not kept:
        return np.stack(masks), {}
    path = outputs.write_probabilities(job.out / "probabilities", image, pixels, np.stack(kept))
    return np.stack(masks), {"probabilities": path}


def _predict_labels(job: Job, image: Image) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """Predict the labels of every slice of an image: a row for each, and the file that they are written to."""
    stored = [
        read_pixels(image, rule_of(model.info), model.info.channels, limits[image.name])
        for model, limits in zip(job.models, job.limits, strict=True)
    ]  # fmt: skip
    probabilities = torch.stack(
        [
            torch.stack(
                [model.predict_stored(item.slices[index], job.plan) for model, item in zip(job.models, stored, strict=True)]
            ).mean(0)
            for index in range(len(stored[0].slices))
        ]
    )  # (slices, classes)
    rows = labels.describe(probabilities, job.models[0].task, job.models[0].info)
    path = job.out / "labels" / f"{image.name}.csv"
    write_text(path, as_csv(rows))
    return rows, {"labels": path}


def _conclude(
    job: Job, images: Sequence[Image], records: Sequence[Prediction], reused: int
) -> tuple[str, dict[str, float]]:  # fmt: skip
    """Write the tables of all images; return what was done, and the metrics, which are empty without reference masks."""
    if job.models[0].info.of_images:
        write_text(job.out / labels.TABLE, as_csv([{"image": record.image, **row} for record in records for row in record.classes]))
        finished = f" ({reused} were finished)" if reused else ""
        return f"predict: labels of {counted(len(images), 'image')} are in {job.out / labels.TABLE}{finished}", {}
    write_text(job.out / "classes.csv", as_csv([{"image": record.image, **row} for record in records for row in record.classes]))
    empty = [record.image for record in records if not any(row["pixels"] for row in record.classes)]
    kinds = Counter("volume" if image.is_volume else "picture" for image in images)
    described = " and ".join(counted(number, kind) for kind, number in sorted(kinds.items()))
    lines = [f"predict: masks of {described} are in {job.out}" + (f" ({reused} were finished)" if reused else "")]
    if empty:
        lines.append(f"No foreground is predicted in {len(empty)} of {len(images)}, such as {empty[0]}.")
    overlays = f"overlays are in {job.out / 'overlays'}, and " if job.section.overlays else ""
    lines.append(f"predict: {overlays}the pixels of each class are in {job.out / 'classes.csv'}")
    if not job.masks:
        for name in TABLES[1:]:  # of earlier predictions
            (job.out / name).unlink(missing_ok=True)
        return "\n".join(lines), {}
    metrics, table = _evaluate(job, images)
    return "\n".join([*lines, "", table]), metrics


def _evaluate(job: Job, images: Sequence[Image]) -> tuple[dict[str, float], str]:
    """Compute all metrics of the images against their reference masks, and write them; return them, also as a table."""
    total = SegmentationEvaluation(len(job.classes), job.classes, regions=job.regions)
    for image in images:
        path = _paths(job, image)[1]
        try:
            names, arrays = read_values(path)
            total.merge(names, [image.name] * len(names), arrays)
        except BROKEN_ARRAYS:
            raise InputError(f"expected the counts of {image.path} in {path}, but it is broken; predict with --force") from None
    evaluation = total.compute()
    write_text(job.out / "per_image.csv", as_csv(evaluation.per_sample))
    rows = _by_class(evaluation.metrics, job.classes, job.regions)
    write_text(job.out / "metrics.csv", as_csv(rows))
    return evaluation.metrics, as_markdown(rows)


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
