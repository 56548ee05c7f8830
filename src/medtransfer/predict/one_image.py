"""Predict images and write their files: a picture is predicted while the next one is read and others are drawn and written."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medtransfer.environment import count_cores
from medtransfer.errors import InputError
from medtransfer.metrics.segmentation import SegmentationEvaluation
from medtransfer.predict import labels, outputs
from medtransfer.predict.earlier import remove_files, reopen
from medtransfer.predict.images import Image, Pixels, read_pixels
from medtransfer.predict.job import Job
from medtransfer.predict.model import Model, load_model
from medtransfer.predict.pixels import rule_of
from medtransfer.predict.reference_masks import read_reference
from medtransfer.prepare.conversions import Conversions
from medtransfer.records import Prediction, write_bytes, write_values
from medtransfer.records.tables import as_csv

DRAWERS = 4  # overlays that are drawn at once, at most; besides their pictures two are in memory


@dataclass(frozen=True)
class Stored:
    """An image as it is given to the models.

    Attributes:
        pixels: its slices as each model's target stores them.
        truth: the slices of its reference mask, uint8 (N, H, W); None without.
        seconds: duration of reading.
    """

    pixels: Sequence[Pixels]
    truth: np.ndarray | None
    seconds: float


@dataclass(frozen=True)
class Predicted:
    """What the models say of an image.

    Attributes:
        rows: what its record shows: the pixels of each class, or the labels of each slice.
        seconds: duration of reading and predicting.
        masks: labels of pixels, uint8 (N, H, W); None where labels of images are predicted.
        probabilities: float32 (N, outputs, H, W), where they are kept.
        truth: the reference mask, uint8 (N, H, W), if there is one.
        evaluation: the comparison with it.
    """

    rows: list[dict[str, Any]]
    seconds: float
    masks: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    truth: np.ndarray | None = None
    evaluation: SegmentationEvaluation | None = None


def load_models(job: Job, checkpoints: Path) -> list[Model]:
    """Load the models of a job; see `load_model`."""
    return [load_model(folder, checkpoints, job.section.accelerator, job.section.precision) for folder in job.folders]


def predict_images(
    job: Job, models: Sequence[Model], images: Sequence[Image], keys: Mapping[str, str], conversions: Conversions,
    stale: Sequence[Path] = (),
) -> Iterator[Prediction | InputError]:  # fmt: skip
    """Predict images and write their files; yield the record of each, in their order, or why the image cannot be used.

    Args:
        job: what is done.
        models: its models.
        images: the images.
        keys: digest of everything that the prediction of an image depends on, by its name.
        conversions: notes which images are coloured, transparent or constant.
        stale: tables that say nothing any more once an image is predicted; they are written again when all are.
    """
    drawers = min(DRAWERS, count_cores()) if job.section.overlays else 1
    with ThreadPoolExecutor(1) as reading, ThreadPoolExecutor(drawers) as drawing, ThreadPoolExecutor(1) as writing:
        pending = deque[Future[Prediction]]()
        for image, stored in _read_ahead(reading, job, images, conversions):
            pending.append(_complete(drawing, writing, job, models, image, keys[image.name], stored, stale))
            while len(pending) > (0 if image.is_volume else drawers):  # of volumes a single one is in memory
                yield _outcome(pending.popleft())
        yield from map(_outcome, pending)


def _read_ahead(
    reading: ThreadPoolExecutor, job: Job, images: Sequence[Image], conversions: Conversions
) -> Iterator[tuple[Image, Future[Stored]]]:
    """Yield each image and what is read of it; of two pictures the second is read while the first is used."""
    ahead: Future[Stored] | None = None
    for image, following in zip(images, [*images[1:], None], strict=True):
        stored = ahead or reading.submit(_read, job, image, conversions)
        if following is None or image.is_volume or following.is_volume:
            ahead = None
        else:
            ahead = reading.submit(_read, job, following, conversions)
        yield image, stored


def _complete(
    drawing: ThreadPoolExecutor, writing: ThreadPoolExecutor, job: Job, models: Sequence[Model], image: Image, key: str,
    stored: Future[Stored], stale: Sequence[Path],
) -> Future[Prediction]:  # fmt: skip
    """Predict an image, and have its overlay drawn and its files written."""
    try:
        predicted = _predict(job, models, image, stored.result())
    except InputError as error:
        failed = Future[Prediction]()
        failed.set_exception(error)
        return failed
    pixels = stored.result().pixels[0]
    overlay = drawing.submit(_draw, job, pixels, predicted) if "overlay" in job.files(image, pixels) else None
    return writing.submit(_write, job, models, image, key, pixels, predicted, overlay, stale)


def _outcome(pending: Future[Prediction]) -> Prediction | InputError:
    try:
        return pending.result()
    except InputError as error:
        return error


def _read(job: Job, image: Image, conversions: Conversions) -> Stored:
    """Read an image and its reference mask."""
    begin = time.monotonic()
    pixels = [
        read_pixels(image, rule_of(info), info.channels, limits[image.name], conversions)
        for info, limits in zip(job.infos, job.limits, strict=True)
    ]  # fmt: skip
    shown = image.path.parent / Path(image.name).name if image.series else image.path  # series may share a folder
    conversions.see_stored(shown, pixels[0].slices)
    truth = read_reference(image, pixels[0], job.masks[image.name], job.rule) if job.masks else None
    return Stored(pixels, truth, time.monotonic() - begin)


def _draw(job: Job, pixels: Pixels, predicted: Predicted) -> tuple[bytes, float]:
    """Return the content of an overlay, and how long it was drawn."""
    begin = time.monotonic()
    assert predicted.masks is not None
    return outputs.draw_overlay(pixels, predicted.masks, job.classes, predicted.truth), time.monotonic() - begin


def _write(
    job: Job, models: Sequence[Model], image: Image, key: str, pixels: Pixels, predicted: Predicted,
    overlay: Future[tuple[bytes, float]] | None, stale: Sequence[Path],
) -> Prediction:  # fmt: skip
    """Write the files of an image, remove those of an earlier prediction that it has not, and write its record last."""
    drawn, seconds = (b"", 0.0) if overlay is None else overlay.result()
    begin = time.monotonic() - seconds
    files = job.files(image, pixels)
    names = {kind: path.relative_to(job.out).as_posix() for kind, path in files.items()}
    if predicted.masks is None:
        kind, content = "labels", as_csv(predicted.rows).encode()
    else:
        kind, content = "mask", outputs.encode_labels(files["mask"], image, pixels, predicted.masks)
    digest = sha256(content).hexdigest()
    earlier = reopen(job, image, names.values(), {names[kind]: digest})
    if predicted.evaluation is not None:
        write_values(job.counts(image), *predicted.evaluation.state())
    if predicted.probabilities is not None:
        outputs.write_probabilities(files["probabilities"], image, pixels, predicted.probabilities)
    write_bytes(files[kind], content)
    if overlay is not None:
        write_bytes(files["overlay"], drawn)
    for table in stale:  # while a record tells that they are ours
        table.unlink(missing_ok=True)
    remove_files(job, image, earlier, names.values())
    done = Prediction(
        image=image.name, key=key, models=[[str(model.folder), model.info.key] for model in models], outputs=names,
        classes=predicted.rows, seconds=predicted.seconds + time.monotonic() - begin, digests={names[kind]: [digest]},
        series=dict(image.series),
    )  # fmt: skip
    done.write(job.record(image))
    return done


def _predict(job: Job, models: Sequence[Model], image: Image, stored: Stored) -> Predicted:
    """Predict the slices of an image."""
    begin = time.monotonic()
    predict = _predict_labels if job.of_images else _predict_masks
    predicted = predict(job, models, image, stored)
    return replace(predicted, seconds=stored.seconds + time.monotonic() - begin)


def _predict_masks(job: Job, models: Sequence[Model], image: Image, stored: Stored) -> Predicted:
    pixels = stored.pixels[0]
    names = [f"{image.name}#{index}" for index in range(len(pixels.slices))]
    size = pixels.geometry.pixel_spacing(pixels.axis) if pixels.geometry else None
    evaluation = None
    if stored.truth is not None:
        evaluation = SegmentationEvaluation(
            len(job.classes), job.classes, dict.fromkeys(names, size) if size else None, job.regions
        )
    task, thresholds = models[0].task, models[0].info.thresholds
    masks, kept = [], []
    for index in range(len(pixels.slices)):
        probabilities = _mean(job, models, stored, index)  # (outputs, H, W)
        masks.append(task.decide(probabilities[None], thresholds)[0].numpy())
        if evaluation is not None and stored.truth is not None:
            evaluation.update(probabilities[None], torch.from_numpy(stored.truth[index][None]), [names[index]], [image.name])
        if job.section.probabilities:
            kept.append(probabilities.numpy())
    found = np.stack(masks)
    rows, probable = outputs.measure(found, pixels, job.classes), np.stack(kept) if kept else None
    return Predicted(rows, 0.0, found, probable, stored.truth, evaluation)


def _predict_labels(job: Job, models: Sequence[Model], image: Image, stored: Stored) -> Predicted:
    slices = range(len(stored.pixels[0].slices))
    probabilities = torch.stack([_mean(job, models, stored, index) for index in slices])  # (slices, classes)
    return Predicted(labels.describe(probabilities, models[0].task, models[0].info), 0.0)


def _mean(job: Job, models: Sequence[Model], stored: Stored, index: int) -> torch.Tensor:
    """Return the probabilities of a slice, averaged over the models."""
    parts = [model.predict_stored(item.slices[index], job.plan) for model, item in zip(models, stored.pixels, strict=True)]
    return torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]
