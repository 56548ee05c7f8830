"""Work of a study: training images, optimiser steps and images of its cells and pretrainings, from its params alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medtransfer import study
from medtransfer.config import Params, TrainedOrigin
from medtransfer.config.schema.study_file import Split
from medtransfer.config.study_files import Part
from medtransfer.data.subsets import count_of
from medtransfer.errors import InputError
from medtransfer.modes import MODES
from medtransfer.pretrain.start import source_of
from medtransfer.records import TARGET_FILE, CellName, PreparedTarget


@dataclass(frozen=True)
class Work:
    """What a training takes at most: fewer where it stops early.

    Attributes:
        steps: optimiser steps; of a mode whose head is trained on stored features, the batches of the one pass for them.
        images: images in these steps.
    """

    steps: int
    images: int

    def __add__(self, other: "Work") -> "Work":
        """Return the sum."""
        return Work(self.steps + other.steps, self.images + other.images)


NOTHING = Work(0, 0)


def count_images(part: Part, target: str) -> tuple[int, int] | None:
    """Return a target's training and validation images, of the prepared one or as published; None where neither is known."""
    folder = Path(part.params.prepare.out) / target
    if (folder / TARGET_FILE).exists():
        counts = PreparedTarget.open(folder).info.counts
        return counts.get("train", 0), counts.get("validation", 0)
    if (published := part.about.images.get(target)) is None:
        return None
    if isinstance(published, Split):
        return published.train, published.validation
    validation = round(published * part.params.prepare.targets[target].validation)
    return published - validation, validation


def trained_on(params: Params, cell: CellName, train: int, validation: int) -> int:
    """Return how many images a cell trains on; about as many where whole groups (patients) are set apart.

    Args:
        params: params of the study.
        cell: the cell.
        train: training images of the target.
        validation: its validation images.

    Raises:
        InputError: the fine-tuning would be refused, since it is to hold out validation images of a target that has some, or
            beside folds, or there are fewer images than its size.
    """
    if params.finetune.validation and (cell.folds or validation):
        held = "beside folds, whose groups are the validation images" if cell.folds else "of a target that has validation images"
        raise InputError(
            f"expected finetune.validation 0 {held}, but got {params.finetune.validation:g} ({cell.target}); set it to 0"
        )
    if cell.folds:
        left = round((train + validation) * (cell.folds - 1) / cell.folds)
    else:
        left = train if validation else round(train * (1 - params.finetune.validation))
    return left if cell.size is None else count_of(cell.size, left)


def work_of(params: Params, cell: CellName, images: int) -> Work:
    """Return the work of a cell that trains on a number of images."""
    section = params.finetune
    batches = math.ceil(images / section.batch_size)
    if MODES[cell.mode].on_features:
        return Work(batches, images)
    steps = min(batches, section.epoch_steps or batches)
    return Work(section.train_epochs * steps, section.train_epochs * min(images, steps * section.batch_size))


def pretrainings(part: Part) -> Iterator[tuple[tuple[str, str], Work | None]]:
    """Yield the series of a part that are trained, each with its work; None where its source images are not known."""
    params = part.params
    for encoder, origin in study.study_series(params, {}):
        if study.is_trained(params, origin):
            section = params.pretrain.model_copy(update={"encoder": encoder, "origin": origin})
            name, root = source_of(section)
            known = part.about.images.get(name) or _count_source(root)
            images = known.train if isinstance(known, Split) else known
            yield (encoder, origin), None if images is None else _pretraining(params, encoder, origin, images)


def _pretraining(params: Params, encoder: str, origin: str, images: int) -> Work:
    settings = params.pretrain.origins[origin]
    assert isinstance(settings, TrainedOrigin)
    batch = settings.batch_size
    size = batch if isinstance(batch, int) else batch.get(encoder, batch.get("default", params.pretrain.lr_batch))
    steps = max(1, images // size)  # an incomplete last step is dropped
    return Work(params.pretrain.epochs * steps, params.pretrain.epochs * min(images, steps * size))


def _count_source(root: Path) -> int | None:
    """Count the training images of a source; None where it is not here."""
    if (root / TARGET_FILE).exists():
        return PreparedTarget.open(root).info.counts.get("train")
    if not (root / "train").is_dir():
        return None
    return sum(1 for path in (root / "train").glob("*/*") if not path.name.startswith("."))
