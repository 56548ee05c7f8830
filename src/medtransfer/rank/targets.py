"""The target of a ranking: a prepared one, or a folder of images, with masks or without."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from medtransfer import study
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.indicators.registry import find_indicators
from medtransfer.prepare.stage import prepare
from medtransfer.records import MASKS_FILE, TARGET_FILE, PreparedTarget

log = logging.getLogger("medtransfer")
NAME = "images"  # of the target that is prepared from a folder


def open_target(params: Params) -> PreparedTarget:
    """Prepare the target of a ranking, or reuse it.

    Raises:
        InputError: the images cannot be used.
    """
    section = params.rank
    if section.images is not None:
        return _prepare_folder(Path(section.images), section.masks and Path(section.masks), params)
    if section.masks is not None:
        raise InputError("expected rank.images beside rank.masks, but it is null; name the folder of the images, too")
    folder = Path(params.prepare.out) / section.target
    if not (folder / TARGET_FILE).exists():
        study.prepare(study.with_values(params, "prepare", target=section.target))
    return PreparedTarget.open(folder)


def _prepare_folder(images: Path, masks: Path | str | None, params: Params) -> PreparedTarget:
    """Prepare a folder of images below the folder of the ranking; every image is one to rank on."""
    folders = [folder.resolve() for folder in (images, masks) if isinstance(folder, Path)]
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise InputError(f"expected a folder of pictures at {missing[0]}, but there is none; correct rank.images or rank.masks")
    root = Path(os.path.commonpath([folder.parent for folder in folders]))
    names = [folder.relative_to(root).as_posix() for folder in folders]
    options = {"images": names[0], "masks": names[1] if len(names) > 1 else None, "only": True, **params.rank.options}
    height, width = params.rank.size
    return prepare(
        NAME, reader="folder", root=root, size=(height, width), subset=False, split="none", validation=0.0,
        allow_duplicates=True, options=options, out=Path(params.rank.out) / "target",
    )  # fmt: skip


def fitting_indicators(names: Sequence[str], target: PreparedTarget) -> list[str]:
    """Return the indicators that the target has labels for, and log those that are left out.

    Raises:
        InputError: a name is unknown, or none is left.
    """
    indicators = find_indicators(names, "rank.indicators")
    kept = [indicator.name for indicator in indicators if target.has_masks or "labels" not in indicator.needs]
    if left_out := [indicator.name for indicator in indicators if indicator.name not in kept]:
        log.warning("rank: without masks, %s cannot be measured", ", ".join(left_out))
    if not kept:
        raise InputError(
            f"expected {MASKS_FILE} in {target.folder}, which {', '.join(left_out)} need, but there is none; add masks, or "
            "name an indicator that needs none, such as robustness"
        )
    return kept
