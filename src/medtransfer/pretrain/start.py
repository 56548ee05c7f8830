"""Where a continued pretraining starts from, and which images it is trained on."""

from pathlib import Path
from typing import NamedTuple

from medtransfer.config import ContinuedOrigin, PretextOrigin, Pretrain, TrainedOrigin
from medtransfer.config.schema import SoupOrigin
from medtransfer.errors import InputError
from medtransfer.records import CheckpointInfo, checkpoint_path, find_checkpoint, list_checkpoints, read_kept, series_folder
from medtransfer.records.pretraining import PRETRAINING_FILE, STATE_FILE

AT = "@"  # between an origin and an epoch


class Start(NamedTuple):
    """The checkpoint that a pretraining continues from.

    Attributes:
        path: its record.
        info: contents of the record.
    """

    path: Path
    info: CheckpointInfo


def check_encoder(section: Pretrain) -> None:
    """Refuse arguments of the section's encoder that its architecture does not take, without loading it.

    Raises:
        InputError: there is one, or one is missing, or timm has no such model.
    """
    from medtransfer.encoders.arguments import check_arguments

    spec = section.encoders[section.encoder]
    try:
        check_arguments(spec.build, spec.arguments)
    except InputError as error:
        raise InputError(f"{error}, in pretrain.encoders.{section.encoder}") from None


def source_of(section: Pretrain) -> tuple[str, Path]:
    """Return name and folder of the source that the section's origin is trained on."""
    origin = section.origins[section.origin]
    if not isinstance(origin, ContinuedOrigin | PretextOrigin):
        return section.source, Path(section.source_root)
    return origin.source or section.source, Path(origin.source_root or section.source_root)


def parent_origin(section: Pretrain) -> str | None:
    """Return the origin that the section's origin continues from; None if it starts at random or from a file or folder."""
    name = _named(section).partition(AT)[0] if _continues(section) else ""
    return name if name in section.origins else None


def parent_to_make(section: Pretrain) -> str | None:
    """Return the origin to pretrain or import first; None where nothing is lacking.

    A finished one is taken as it is: what the section says of source, length or rate may be meant for its own origin alone.

    Raises:
        InputError: it is lacking, and the section does not say which source it is to be trained on.
    """
    origin, parent = section.origins[section.origin], parent_origin(section)
    if parent is None:
        return None
    folder = series_folder(Path(section.out), section.encoder, parent)
    if (folder / PRETRAINING_FILE).exists():
        return None
    assert isinstance(origin, ContinuedOrigin)
    if isinstance(section.origins[parent], TrainedOrigin) and None in (origin.source, origin.source_root):
        raise InputError(
            f"expected a finished pretraining in {folder} to continue from, since pretrain.source is that of {section.origin}, but "
            f"there is none; run `medtransfer pretrain --origin {parent}` first, or set source and source_root in "
            f"pretrain.origins.{section.origin}"
        )
    return parent


def needed_origin(section: Pretrain) -> str | None:
    """Return the origin whose checkpoints the section's origin continues from or averages; None if it needs no other."""
    origin = section.origins[section.origin]
    return origin.of if isinstance(origin, SoupOrigin) else parent_origin(section)


def has_start(section: Pretrain) -> bool:
    """Return whether the section says what its origin continues from, or it continues from nothing."""
    origin = section.origins[section.origin]
    return not isinstance(origin, ContinuedOrigin) or (origin.start or section.start) is not None


def check_chain(section: Pretrain, named: bool = False) -> None:
    """Check, before anything is loaded, what the section's origin continues from.

    Args:
        section: validated params.
        named: whether the command line names a checkpoint, so that the origin must use it.

    Raises:
        InputError: origins continue from each other in a circle, or there is no checkpoint to start from.
    """
    if named and not _continues(section):
        others = [name for name, origin in section.origins.items() if isinstance(origin, ContinuedOrigin)]
        raise InputError(
            f"expected an --origin of the kind continued for --from, one of {', '.join(others) or 'none'}, but {section.origin} is "
            f"of the kind {section.origins[section.origin].kind}; name one, or define it in pretrain.origins"
        )
    origin = section.origins[section.origin]
    if (
        named
        and isinstance(origin, ContinuedOrigin)
        and None not in (origin.start, section.start)
        and origin.start != section.start
    ):
        raise InputError(
            f"expected no --from beside --origin {section.origin}, whose entry of pretrain.origins says from: {origin.start}, but "
            f"got {section.start}; leave it out, or change the entry"
        )
    root = check_parents(section)
    if _continues(root):
        find_start(root)


def check_parents(section: Pretrain) -> Pretrain:
    """Follow the origins that the section's origin continues from; return the section of the first, which continues from none.

    Raises:
        InputError: origins continue from each other in a circle, or one does not say from what.
    """
    seen = [section.origin]
    while (parent := parent_origin(section)) is not None:
        if parent in seen:
            raise InputError(
                f"expected origins of which the first continues from none, but got {' from '.join([*seen, parent])}; correct "
                f"`from` in pretrain.origins.{section.origin}"
            )
        seen.append(parent)
        section = section.model_copy(update={"origin": parent})
    return section


def find_start(section: Pretrain) -> Start | None:
    """Find the checkpoint that the section's origin continues from; None for origins that start at random.

    Of a folder or an origin without an epoch it is the epoch that an early stop kept, or else the last.

    Raises:
        InputError: there is none, it is unfinished, or it is in the folder of the section's own checkpoints.
    """
    if not _continues(section):
        return None
    text, own = _named(section), series_folder(Path(section.out), section.encoder, section.origin)
    name, _, epoch = text.partition(AT)
    if name in section.origins:
        start = _in_folder(series_folder(Path(section.out), section.encoder, name), epoch, text)
    else:
        start = _in_folder(Path(text), "", text) if Path(text).is_dir() else _file(Path(text))
    if start.path.parent.resolve() == own.resolve():
        raise InputError(
            f"expected a checkpoint of another pretraining to continue from, but {text} is in {own}, where this one writes its "
            "own; name another --origin for it"
        )
    return start


def _continues(section: Pretrain) -> bool:
    return isinstance(section.origins[section.origin], ContinuedOrigin)


def _named(section: Pretrain) -> str:
    """Return what an origin continues from, as it is written."""
    origin = section.origins[section.origin]
    assert isinstance(origin, ContinuedOrigin)
    if (text := origin.start or section.start) is None:
        raise InputError(
            f"expected a checkpoint that the origin {section.origin} continues from, but got none; name one as pretrain.from "
            f"(`medtransfer pretrain --from`) or as pretrain.origins.{section.origin}.from: an origin, or a file or folder of "
            "checkpoints"
        )
    return text


def _file(path: Path) -> Start:
    record = path.with_suffix(".json")
    if not (path.name.startswith("epoch-") and record.is_file()):
        raise InputError(
            f"expected an origin of pretrain.origins, a folder of checkpoints or one of them, epoch-NNN.json, to continue from, "
            f"but {path} is none; correct --from, or import the weights as an origin first (docs/how-to/weights.md)"
        )
    return Start(record, CheckpointInfo.read(record))


def _in_folder(folder: Path, epoch: str, text: str) -> Start:
    if epoch:
        if not epoch.isdecimal():
            raise InputError(
                f"expected an origin and an epoch to continue from, such as simple{AT}10, but got {text!r}; correct it"
            )
        return Start(*find_checkpoint(folder, int(epoch)))
    if not (folder / PRETRAINING_FILE).exists() and (folder / STATE_FILE).exists():
        raise InputError(
            f"expected a finished pretraining in {folder} to continue from, but it was interrupted; run it again to its end, or "
            "name one of its epochs"
        )
    kept = read_kept(folder)
    last = max(list_checkpoints(folder)) if kept is None else kept
    path = checkpoint_path(folder, last)
    return Start(path, CheckpointInfo.read(path))
