"""Predict an image and write its files."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medtransfer.hashing import file_sha256
from medtransfer.metrics.segmentation import SegmentationEvaluation
from medtransfer.predict import labels, outputs
from medtransfer.predict.earlier import CORRECTED, remove_files, reopen
from medtransfer.predict.images import Image, Pixels, read_pixels
from medtransfer.predict.job import Job
from medtransfer.predict.model import Model, load_model
from medtransfer.predict.pixels import rule_of
from medtransfer.predict.reference_masks import read_reference
from medtransfer.prepare.conversions import Conversions
from medtransfer.records import Prediction, write_text, write_values
from medtransfer.records.tables import as_csv


def load_models(job: Job, checkpoints: Path) -> list[Model]:
    """Load the models of a job; see `load_model`."""
    return [load_model(folder, checkpoints, job.section.accelerator, job.section.precision) for folder in job.folders]


def predict_image(
    job: Job, models: Sequence[Model], image: Image, key: str, conversions: Conversions, others: Sequence[Path] = ()
) -> Prediction:  # fmt: skip
    """Predict an image, write its files, remove those of an earlier prediction that it has not, and write its record last.

    Args:
        job: what is done.
        models: its models.
        image: the image.
        key: digest of everything that its prediction depends on.
        conversions: notes whether the image is coloured or transparent.
        others: tables of another kind of model, which the first prediction of this one replaces.

    Raises:
        InputError: the image or its reference mask cannot be used.
    """
    begin = time.monotonic()
    pixels = _read(job, image, conversions)
    files = job.files(image, pixels[0])
    if job.of_images:
        classes = _label_rows(job, models, pixels)
        earlier = reopen(job, image, files)
        write_text(files["labels"], as_csv(classes))
    else:
        masks, probabilities, evaluation = _predict_masks(job, models, image, pixels)
        classes = outputs.measure(masks, pixels[0], job.classes)
        earlier = reopen(job, image, files)
        if evaluation is not None:
            write_values(job.counts(image), *evaluation.state())
        if probabilities is not None:
            outputs.write_probabilities(files["probabilities"], image, pixels[0], probabilities)
        outputs.write_labels(files["mask"], image, pixels[0], masks)
        if "overlay" in files:
            outputs.write_overlay(files["overlay"], pixels[0], masks, job.classes)
    done = Prediction(
        image=image.name, key=key, models=[[str(model.folder), model.info.key] for model in models],
        outputs={kind: path.relative_to(job.out).as_posix() for kind, path in files.items()},
        classes=classes, seconds=time.monotonic() - begin,
        digests={kind: file_sha256(files[kind]) for kind in CORRECTED if kind in files},
    )  # fmt: skip
    for table in others:  # while a record tells that they are ours
        table.unlink(missing_ok=True)
    remove_files(job, image, earlier, set(done.outputs.values()))
    done.write(job.record(image))
    return done


def _read(job: Job, image: Image, conversions: Conversions) -> list[Pixels]:
    """Read the pixels of an image as each model's target stores them."""
    return [
        read_pixels(image, rule_of(info), info.channels, limits[image.name], conversions)
        for info, limits in zip(job.infos, job.limits, strict=True)
    ]  # fmt: skip


def _predict_masks(
    job: Job, models: Sequence[Model], image: Image, stored: Sequence[Pixels]
) -> tuple[np.ndarray, np.ndarray | None, SegmentationEvaluation | None]:  # fmt: skip
    """Predict the slices of an image.

    Returns:
        Labels uint8 (N, H, W); probabilities (N, outputs, H, W) where they are kept; the comparison with a reference mask.
    """
    pixels = stored[0]
    truth = read_reference(image, pixels, job.masks[image.name], job.rule) if job.masks else None
    names = [f"{image.name}#{index}" for index in range(len(pixels.slices))]
    size = pixels.geometry.pixel_spacing(pixels.axis) if pixels.geometry else None
    evaluation = SegmentationEvaluation(len(job.classes), job.classes, dict.fromkeys(names, size) if size else None, job.regions)
    task, thresholds = models[0].task, models[0].info.thresholds
    masks, kept = [], []
    for index in range(len(pixels.slices)):
        probabilities = _mean(job, models, stored, index)  # (outputs, H, W)
        masks.append(task.decide(probabilities[None], thresholds)[0].numpy())
        if truth is not None:
            evaluation.update(probabilities[None], torch.from_numpy(truth[index][None]), [names[index]], [image.name])
        if job.section.probabilities:
            kept.append(probabilities.numpy())
    return np.stack(masks), np.stack(kept) if kept else None, evaluation if truth is not None else None


def _label_rows(job: Job, models: Sequence[Model], stored: Sequence[Pixels]) -> list[dict[str, Any]]:
    """Predict the labels of every slice of an image, a row for each."""
    probabilities = torch.stack([_mean(job, models, stored, index) for index in range(len(stored[0].slices))])  # (slices, classes)
    return labels.describe(probabilities, models[0].task, models[0].info)


def _mean(job: Job, models: Sequence[Model], stored: Sequence[Pixels], index: int) -> torch.Tensor:
    """Return the probabilities of a slice, averaged over the models."""
    parts = [model.predict_stored(item.slices[index], job.plan) for model, item in zip(models, stored, strict=True)]
    return torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]
