"""The target of a ranking: a prepared one, or a folder of images, with masks or without."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medtransfer import study
from medtransfer.config import Params
from medtransfer.data.picture_folders import SUFFIXES
from medtransfer.errors import InputError
from medtransfer.indicators.registry import find_indicators
from medtransfer.indicators.requirements import fits, without
from medtransfer.prepare.readers.contract import list_entries, list_folders
from medtransfer.prepare.stage import prepare
from medtransfer.rank.candidates import Candidate
from medtransfer.records import MASKS_FILE, TARGET_FILE, CheckpointInfo, PreparedTarget
from medtransfer.selectors.score_names import score_label

log = logging.getLogger("medtransfer")


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
    name = section.target or params.study.targets[0]
    folder = Path(params.prepare.out) / name
    if not (folder / TARGET_FILE).exists():
        study.prepare(study.with_values(params, "prepare", target=name))
    else:
        study.warn_of_changed(params, [name])
    return PreparedTarget.open(folder)


def _prepare_folder(images: Path, masks: Path | str | None, params: Params) -> PreparedTarget:
    """Prepare a folder of images below the folder of the ranking; every image is one to rank on."""
    folders = [folder.resolve() for folder in (images, masks) if isinstance(folder, Path)]
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise InputError(f"expected a folder of pictures at {missing[0]}, but there is none; correct rank.images or rank.masks")
    root = Path(os.path.commonpath([folder.parent for folder in folders]))
    names = [folder.relative_to(root).as_posix() for folder in folders]
    if len(folders) == 1:
        _refuse_masks_among(folders[0])
    options = {"images": names[0], "masks": names[1] if len(names) > 1 else None, "only": True, **params.rank.options}
    height, width = params.rank.size
    return prepare(
        _name(folders[0]), reader="folder", root=root, size=(height, width), subset=False, split="none", validation=0.0,
        allow_duplicates=True, options=options, out=Path(params.rank.out) / "target",
    )  # fmt: skip


def _name(folder: Path) -> str:
    """Return the name of a folder with its parent's, as a target may be called."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{folder.parent.name} {folder.name}").strip("-")[:60] or "images"


def _refuse_masks_among(folder: Path) -> None:
    """Refuse a folder whose subfolders hold pictures of the same names, which are images and their masks."""
    names: dict[frozenset[str], Path] = {}
    for sub in list_folders(folder):
        stems = frozenset(path.stem for path in list_entries(sub) if path.suffix.lower() in SUFFIXES)
        if stems and (other := names.setdefault(stems, sub)) != sub:
            raise InputError(
                f"expected images in {folder}, but {other.name}/ and {sub.name}/ hold pictures of the same names, as images and "
                "masks do; name one as images (--images), the other as masks (--masks)"
            )


def check_images(target: PreparedTarget, split: str) -> None:
    """Refuse images that cannot be ranked on: a single one, or such that do not vary.

    Raises:
        InputError: there is one image, or all are constant.
    """
    rows = np.unique(target.samples(split)["row"])
    if len(target.samples(split)) < 2:
        raise InputError(f"expected at least 2 images to rank on in {target.folder}, but got 1; add images")
    if all((target.images[row] == target.images[row].flat[0]).all() for row in rows):  # ends at the first that varies
        raise InputError(
            f"expected images that vary in {target.folder}, but each of the {len(rows)} has one value only; look at them"
        )


def check_sizes(target: PreparedTarget, candidates: Sequence[Candidate], prepared: bool) -> None:
    """Refuse images of a size that no candidate takes, before any is loaded; the records of checkpoints say which they take.

    Where a candidate's architecture is that of no checkpoint, or some candidates take the images, each is left to its measurement.

    Args:
        target: the images.
        candidates: what is to be ranked.
        prepared: as for `PreparedTarget.require_size`.

    Raises:
        InputError: no candidate takes them.
    """
    checkpoints = [candidate for candidate in candidates if candidate.kind == "checkpoint"]
    known = {candidate.architectures: CheckpointInfo.read(Path(candidate.file)) for candidate in checkpoints}
    if any(candidate.architectures not in known for candidate in candidates):
        return
    strictest = max(known.values(), key=lambda info: info.multiple)
    if not any(target.fits(info.multiple) for info in known.values()):
        target.require_size(strictest.multiple, strictest.encoder, prepared)  # raises


def fitting_indicators(names: Sequence[str], target: PreparedTarget) -> list[str]:
    """Return the indicators that the target has labels for, and log those that are left out.

    Raises:
        InputError: a name is unknown, or none is left.
    """
    indicators = find_indicators(names, "rank.indicators")
    kept = [indicator.name for indicator in indicators if fits(indicator, target)]
    if left_out := [indicator.name for indicator in indicators if indicator.name not in kept]:
        log.warning("rank: %s cannot be measured %s", ", ".join(map(score_label, left_out)), without(target))
    if not kept:
        need = "need" if len(left_out) > 1 else "needs"
        raise InputError(
            f"expected {MASKS_FILE} in {target.folder}, which {', '.join(left_out)} {need}, but there is none; add masks (--masks "
            "beside --images), or name an indicator that needs none, such as robustness"
        )
    return kept
