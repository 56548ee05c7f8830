"""Open the source of a pretraining: an ImageFolder, or a prepared target with labels of whole images."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtransfer.data.labelled_images import LabelledImages
from medtransfer.data.prepared_images import PreparedImages, check_source
from medtransfer.data.pretraining_images import SourceImages
from medtransfer.data.source_folders import SPLITS
from medtransfer.data.unlabelled_pictures import PlainPictures
from medtransfer.errors import InputError
from medtransfer.pretrain.recipe import Recipe
from medtransfer.records import TARGET_FILE, PreparedTarget
from medtransfer.tasks import TASKS

log = logging.getLogger("medtransfer")


def open_plain(root: Path, contract: Mapping[str, Any], seed: int, labelled: bool = True) -> LabelledImages | PlainPictures:
    """Open the training images without augmentation, of the size and with the normalisation of an input contract.

    Args:
        root: folder of the source.
        contract: input of the encoder.
        seed: seed of the images.
        labelled: whether the source has labels of images, which a pretext task does without.

    Raises:
        InputError: the folder holds neither.
    """
    if not labelled:
        return PlainPictures(root, contract)
    options: dict[str, Any] = {
        "mean": contract["mean"], "std": contract["std"], "train": False, "randaugment": None, "seed": seed,
    }  # fmt: skip
    if (root / TARGET_FILE).is_file():
        return PreparedImages(PreparedTarget.open(root).verify(), "train", contract["size"], **options)
    return SourceImages(root, "train", contract["size"], **options)


def open_images(root: Path, recipe: Recipe) -> dict[str, LabelledImages]:
    """Open the images of both splits, `train` and `val`.

    Args:
        root: folder of the source.
        recipe: recipe of the pretraining.

    Raises:
        InputError: the folder holds neither, its labels cannot be learned, or the recipe cannot be followed on them.
    """
    if not (root / TARGET_FILE).is_file():
        return {
            split: SourceImages(
                root, split, recipe.size, mean=recipe.mean, std=recipe.std, train=split == "train", randaugment=recipe.randaugment,
                seed=recipe.seed, resampling=recipe.resampling,
            )
            for split in SPLITS
        }  # fmt: skip
    target = PreparedTarget.open(root).verify()
    check_source(target)
    for note in TASKS[target.info.task].check(target, ("train", "validation")):
        log.warning("pretrain: %s", note)
    images: dict[str, LabelledImages] = {
        split: PreparedImages(
            target, split, recipe.size, mean=recipe.mean, std=recipe.std, train=split == "train", randaugment=recipe.randaugment,
            seed=recipe.seed, resampling=recipe.resampling,
        )
        for split in SPLITS
    }  # fmt: skip
    if (recipe.cutmix or recipe.mixup) and not images["train"].exclusive:
        raise InputError(
            f"expected cutmix 0 and mixup 0 in pretrain.origins.{recipe.origin}, since {root} has independent labels, some of "
            f"which may be unknown, but got {recipe.cutmix:g} and {recipe.mixup:g}; set both to 0"
        )
    return images
