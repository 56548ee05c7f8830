"""Which inputs of a stage are missing, and can be made from samples."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.config import Params
from medtransfer.config.loaded_files import prepare_command
from medtransfer.errors import InputError
from medtransfer.records import (
    TARGET_FILE,
    CellName,
    PreparedTarget,
    TargetInfo,
    checkpoint_path,
    epoch_records,
    find_checkpoint,
    series_folder,
)
from medtransfer.study.cells import is_sample

if TYPE_CHECKING:
    from medtransfer.config import Pretrain

log = logging.getLogger("medtransfer")
_NAMED: set[tuple[str, str]] = set()  # targets, and in what they differ, that this process has warned of


@dataclass(frozen=True)
class Missing:
    """Inputs that are missing and can be made from samples.

    Attributes:
        targets: names of targets.
        series: encoder and origin of each pretraining.
    """

    targets: list[str]
    series: list[tuple[str, str]]


def missing_for_score(params: Params) -> Missing:
    """Return what the score of the section `score` lacks; errors as `find_missing`."""
    section = params.score
    return find_missing(params, [section.target], [(section.encoder, section.origin, None)])


def missing_for_cells(params: Params, cells: list[CellName]) -> Missing:
    """Return what fine-tuning these cells lacks; errors as `find_missing` and `require_masks`."""
    require_masks(params, cells)
    checkpoints = [(cell.encoder, cell.origin, cell.epoch) for cell in cells]
    return find_missing(params, [cell.target for cell in cells], checkpoints)


def is_prepared(params: Params, name: str) -> bool:
    """Return whether a target was prepared by the settings that the params have for it; its files are not compared."""
    try:
        return not _differing(params, name, _stored_settings(params, name))
    except InputError:
        return False


def warn_of_changed(params: Params, targets: Iterable[str]) -> None:
    """Log once which prepared targets were made by other settings than the params have for them; they are used as they are.

    Raises:
        InputError: the record of one cannot be read.
    """
    for name in dict.fromkeys(targets):
        stored = _stored_settings(params, name)
        differing = _differing(params, name, stored) if stored else ""  # a target that was made by hand has none
        if differing and (name, differing) not in _NAMED:
            _NAMED.add((name, differing))
            log.warning(
                "%s was prepared by other settings than those of prepare.targets.%s, and is used as it is (%s): prepare it "
                "again with `%s`, or restore the settings", Path(params.prepare.out) / name, name, differing, prepare_command(name),
            )  # fmt: skip


def _stored_settings(params: Params, name: str) -> dict[str, Any]:
    return TargetInfo.read(Path(params.prepare.out) / name / TARGET_FILE).settings


def _differing(params: Params, name: str, stored: dict[str, Any]) -> str:
    """Return what differs between the settings that a target was prepared by and those that the params have for it."""
    from medtransfer.prepare.settings import describe_differing, settings_of

    target = params.prepare.targets[name]
    settings = settings_of(
        reader=target.reader, size=target.size, subset=target.subset, split=target.split, validation=target.validation,
        allow_duplicates=target.allow_duplicates, options=target.options,
    )  # fmt: skip
    return describe_differing(stored, settings)


def require_masks(params: Params, cells: Iterable[CellName]) -> None:
    """Refuse to fine-tune on targets that are described as images without masks."""
    for name in dict.fromkeys(cell.target for cell in cells):
        target = params.prepare.targets.get(name)
        if target and target.reader == "folder" and target.options.get("masks", "") is None:
            raise InputError(
                f"expected masks to fine-tune on, but prepare.targets.{name} says `masks: null`; name the folder of masks there, "
                "or score the target only"
            )


def find_missing(params: Params, targets: Iterable[str], checkpoints: Iterable[tuple[str, str, int | None]] = ()) -> Missing:
    """Find the targets and pretrainings that are missing and can be made from samples.

    Args:
        params: parameters that describe the inputs.
        targets: names of prepared targets.
        checkpoints: encoder, origin and epoch of checkpoints; None for any epoch.

    Raises:
        InputError: an input is missing and cannot be made from samples.
    """
    folders = {name: Path(params.prepare.out) / name for name in targets}
    missing = [name for name, folder in folders.items() if not (folder / TARGET_FILE).exists()]
    for name in missing:
        if not is_sample(params, Path(params.prepare.targets[name].root)):
            PreparedTarget.open(folders[name])  # raises
    warn_of_changed(params, [name for name in folders if name not in missing])
    series = dict.fromkeys((encoder, origin) for encoder, origin, epoch in checkpoints if _lacks(params, encoder, origin, epoch))
    return Missing(missing, list(series))


def _lacks(params: Params, encoder: str, origin: str, epoch: int | None) -> bool:
    """Return whether a checkpoint is missing and can be made from samples."""
    from medtransfer.pretrain.start import has_start, source_of

    folder = series_folder(Path(params.pretrain.out), encoder, origin)
    if epoch_records(folder) if epoch is None else checkpoint_path(folder, epoch).exists():
        return False
    section = params.pretrain.model_copy(update={"origin": origin})
    if epoch_records(folder) and not has_start(section):  # it was named on the command line of `pretrain`
        find_checkpoint(folder, epoch or 0)  # raises
    if not (is_sample(params, source_of(section)[1]) and _is_trained(section, epoch)):
        find_checkpoint(folder, epoch or 0)  # raises
    return True


def _is_trained(section: "Pretrain", epoch: int | None) -> bool:
    """Return whether a section's origin trains and saves an epoch; this loads torch."""
    from medtransfer.pretrain.stage import kind_of

    kind = kind_of(section)
    return kind.trains and epoch in (None, *kind.epochs(section))
