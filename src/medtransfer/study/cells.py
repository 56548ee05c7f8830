"""What a study consists of: its pretrainings, their epochs and the cells to fine-tune, and the parameters of a part."""

import logging
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer.config import Params, PretextOrigin, seeded_names
from medtransfer.errors import InputError
from medtransfer.records import TARGET_FILE, CellName, CheckpointInfo, PreparedTarget, checkpoint_path, epoch_records, series_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from medtransfer.analysis.described import Described

log = logging.getLogger("medtransfer")


def study_cells(params: Params, given: "Mapping[str, list[Any]]") -> list[CellName]:
    """List every cell of the study; a mode that starts the decoder has those whose checkpoints hold one, unless `given` names it.

    Args:
        params: parameters whose section `study` names the cells.
        given: lists that replace the study's, by field of CellName.
    """
    from medtransfer.modes import MODES

    chosen = params.study
    names = [
        (target, encoder, origin, epoch)
        for target, (encoder, origin) in product(given.get("target", chosen.targets), study_series(params, given))
        for epoch in given.get("epoch", _chosen_epochs(params, encoder, origin))
    ]
    repeats = list(product(given.get("mode", chosen.modes), given.get("seed", chosen.seeds)))
    portions = list_portions(
        given.get("size", chosen.sizes), given.get("fold", [None]), given.get("folds", [chosen.folds])
    )  # fmt: skip
    return [
        CellName(*name, *repeat, **portion) for name in names for repeat in repeats for portion in portions
        if "mode" in given or not MODES[repeat[0]].decoder_transferred or _has_decoder(params, name[2], name[3])
    ]  # fmt: skip


def planned_cells(params: Params) -> list[CellName]:
    """List every cell of the study as if no pretraining stopped early.

    Raises:
        InputError: `study.epochs` names one that no origin of the study saves.
    """
    require_epochs(params)
    return study_cells(with_values(params, "pretrain", stop_on=None), {})


def unknown_ends(params: Params) -> list[tuple[str, str]]:
    """List the pretrainings of the study, by encoder and origin, that may have stopped early, if their checkpoints are not here."""
    if params.pretrain.stop_on is None:
        return []
    checkpoints = Path(params.pretrain.out)
    return [names for names in study_series(params, {}) if not _records(series_folder(checkpoints, *names))]


def require_epochs(params: Params) -> None:
    """Refuse epochs in `study.epochs` that no origin of the study saves, which would be left out of every series."""
    chosen = params.study.epochs
    if isinstance(chosen, str):
        return
    saved = sorted({epoch for _, origin in study_series(params, {}) for epoch in study_epochs(params, origin)})
    if unknown := sorted(set(chosen) - set(saved)):
        raise InputError(
            f"expected study.epochs among those that its origins save ({', '.join(map(str, saved))}), but got "
            f"{', '.join(map(str, unknown))}; correct them, or pretrain.checkpoints"
        )


def _has_decoder(params: Params, origin: str, epoch: int) -> bool:
    """Return whether a checkpoint holds a decoder that a study transfers; random weights once have no use for a random one."""
    entry = params.pretrain.origins[origin]
    once = params.study.random == "once" and len(params.study.modes) > 1
    return isinstance(entry, PretextOrigin) and entry.has_decoder and bool(epoch or not once)


def list_portions(
    sizes: "Iterable[float | None]", fold: "Iterable[int | None]", folds: "Iterable[int | None]"
) -> "list[dict[str, Any]]":  # fmt: skip
    """List the fields `size`, `fold` and `folds` of cells, one per combination.

    Args:
        sizes: sizes of subsets.
        fold: folds to validate on; None for each in turn.
        folds: numbers of folds; None for none.
    """
    wanted, divisions = list(fold), list(folds)
    validated = [
        (number, count) for count in divisions for one in wanted
        for number in (range(1, count + 1) if one is None and count else [one])
    ]  # fmt: skip
    return [{"size": size, "fold": number, "folds": count} for size in sizes for number, count in dict.fromkeys(validated)]


def study_series(params: Params, given: "Mapping[str, list[Any]]") -> list[tuple[str, str]]:
    """List the encoders and origins of the study, with one origin per pretraining seed; `given` as for `study_cells`."""
    chosen = params.study
    origins = [name for origin in given.get("origin", chosen.origins) for name in origin_names(params, origin)]
    return list(dict.fromkeys(product(given.get("encoder", chosen.encoders), origins)))


def parent_in(params: Params, series: "Collection[tuple[str, str]]", encoder: str, origin: str) -> str:
    """Return the origin, among the series of a study, that another one continues from or averages; empty if there is none."""
    from medtransfer.pretrain.start import needed_origin

    parent = needed_origin(params.pretrain.model_copy(update={"origin": origin}))
    return parent if parent and (encoder, parent) in series else ""


def origin_names(params: Params, origin: str) -> list[str]:
    """List the names under which the study uses an origin: one per pretraining seed if it trains."""
    return seeded_names(origin, params.pretrain.origins[origin], params.study.pretraining_seeds)


def study_epochs(params: Params, origin: str) -> list[int]:
    """List the epochs of all checkpoints that an origin makes."""
    from medtransfer.pretrain.epochs import epochs_of

    return list(epochs_of(params.pretrain.model_copy(update={"origin": origin})))


def _chosen_epochs(params: Params, encoder: str, origin: str) -> list[int]:
    """List the available epochs that `study.epochs` and `study.random` choose."""
    chosen, available = params.study, _available_epochs(params, encoder, origin)
    epochs = [0, available[-1]] if chosen.epochs == "last" else available if chosen.epochs == "all" else chosen.epochs
    first = next((other for name, other in study_series(params, {}) if name == encoder), origin)
    random = chosen.random == "each" or (chosen.random == "once" and origin == first)
    return [epoch for epoch in available if epoch in epochs and (epoch or random)]


def _available_epochs(params: Params, encoder: str, origin: str) -> list[int]:
    """List the planned epochs, or those that were saved if the pretraining may have stopped early."""
    planned = study_epochs(params, origin)
    folder = series_folder(Path(params.pretrain.out), encoder, origin)
    if params.pretrain.stop_on is None or not _records(folder):
        return planned
    return [epoch for epoch in planned if checkpoint_path(folder, epoch).exists()]


def _records(folder: Path, consequence: str = "") -> list[Path]:
    """List the records of a pretraining; a folder that cannot be read has none, which is said if a consequence is given.

    What is stored counts without it, and what needs its weights refuses it.
    """
    try:
        return epoch_records(folder)
    except InputError as error:
        if consequence:
            log.warning("%s: %s: %s", folder.name, consequence, error)
        return []


def is_trained(params: Params, origin: str) -> bool:
    """Return whether an origin trains on the source images; others import weights."""
    from medtransfer.pretrain.epochs import trains

    return trains(params.pretrain.model_copy(update={"origin": origin}))


def described(params: Params) -> "Described":
    """Return the study that the parameters describe: their protocol, the prepared targets and the checkpoints on disk."""
    from medtransfer.analysis.described import Described
    from medtransfer.finetune.protocol import ADDED, Protocol

    prepared, checkpoints = Path(params.prepare.out), Path(params.pretrain.out)
    data = {}
    for name in (name for name in params.prepare.targets if (prepared / name / TARGET_FILE).exists()):
        try:
            data[name] = PreparedTarget.open(prepared / name).info.fingerprint
        except InputError as error:  # it may be no part of the study
            log.warning("results on the target %s are judged whatever its data, since %s", name, error)
    pretraining = {}
    for series in product(params.pretrain.encoders, params.pretrain.origins):
        if found := _records(series_folder(checkpoints, *series), "results of its fine-tunings are judged whatever its weights"):
            pretraining[series] = CheckpointInfo.read(found[0]).pretraining
    seeded = frozenset(origin for origin in params.pretrain.origins if origin_names(params, origin) != [origin])
    names: dict[str, Collection[str]] = {
        "target": params.prepare.targets, "encoder": params.pretrain.encoders, "origin": params.pretrain.origins,
    }  # fmt: skip
    protocol = Protocol.of(params.finetune)
    recipe = {name: (str(value), str(ADDED.get(name, value))) for name, value in asdict(protocol).items()}
    return Described(protocol.key, data, pretraining, seeded, names, params.study.epochs == "all", recipe)


def is_sample(params: Params, root: Path) -> bool:
    """Return whether a folder is one of the generated datasets, which are made where they are missing."""
    return Path(params.samples.out).resolve() in root.resolve().parents


def with_values(params: Params, section: str, **values: object) -> Params:
    """Return a copy of the params with some values of a section changed."""
    changed = getattr(params, section).model_copy(update=values)
    return params.model_copy(update={section: changed})
