"""Which of the images to predict are of the samples that a model was trained on."""

from collections.abc import Sequence
from pathlib import Path

from medtransfer.hashing import file_sha256
from medtransfer.predict.images import Image
from medtransfer.predict.target import open_target
from medtransfer.records import ModelInfo


def find_seen(images: Sequence[Image], infos: Sequence[ModelInfo], prepared: Path) -> list[str]:
    """Return the names of the images that are, by their bytes, of the training or validation samples of a model's target.

    Args:
        images: the images.
        infos: records of the models.
        prepared: folder of all prepared targets; a target that is not there, or was prepared in another way, tells nothing.
    """
    targets = {(info.cell["target"], info.cell["data"]) for info in infos}
    known = {sha256 for name, data in targets for sha256 in _trained_on(name, data, prepared)}
    return [image.name for image in images if known and any(file_sha256(file) in known for file in image.files)]


def _trained_on(name: str, data: str, prepared: Path) -> set[str]:
    """Return the SHA-256 of the source files of a target's samples that are not for testing."""
    target = open_target(name, data, prepared)
    if target is None:
        return set()
    kept = target.index[target.index["split"] != "test"]
    return {target.info.sources[source] for source in kept["source"].unique() if source in target.info.sources}
