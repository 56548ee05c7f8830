"""What can be refused before checkpoints are made, which takes far longer than to prepare targets."""

from collections.abc import Collection, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.config import Params
from medtransfer.environment import require_device
from medtransfer.errors import InputError
from medtransfer.records import CellName, CheckpointInfo, PreparedTarget, epoch_records, series_folder
from medtransfer.study.cells import is_sample, is_trained, planned_cells, study_series, with_values
from medtransfer.study.inputs import require_masks

if TYPE_CHECKING:
    from medtransfer.encoders.contract import Encoder

Series = tuple[str, str]  # encoder and origin


def check_encoder(params: Params, encoder: str, origin: str) -> None:
    """Refuse arguments of an entry of `pretrain.encoders` that its encoder does not take, without loading it.

    Checkpoints that exist are left alone: an earlier version may have made them, whose encoder took other arguments.
    """
    from medtransfer.pretrain import start

    if _first_record(params, encoder, origin) is None:
        start.check_encoder(with_values(params, "pretrain", encoder=encoder, origin=origin).pretrain)


def check_built(params: Params, encoder: str, origin: str) -> None:
    """Refuse an encoder that cannot be built, or does not take the images of its source, before samples are made for it.

    That takes longer than to load PyTorch. Checkpoints that exist are left alone, as in `check_encoder`.
    """
    from medtransfer.pretrain.recipe import check_size
    from medtransfer.pretrain.start import parent_origin, source_of

    section = with_values(params, "pretrain", encoder=encoder, origin=origin).pretrain
    if not is_trained(params, origin) or _first_record(params, encoder, origin) or not is_sample(params, source_of(section)[1]):
        return
    built = _build(params, encoder, origin)
    if built is not None and parent_origin(section) is None:  # else its images have the size of those before
        check_size(built, section.size)


def check_cells(params: Params, cells: Iterable[CellName]) -> None:
    """Refuse cells whose recipe or mode does not fit their targets, as far as these are prepared."""
    from medtransfer.finetune.targets import check_targets

    cells = list(cells)
    require_masks(params, cells)
    check_targets(params.finetune, cells, Path(params.prepare.out))


def check_recipe(params: Params, cells: Iterable[CellName]) -> None:
    """Refuse a recipe that is for no target of cells, whether they are prepared or not."""
    from medtransfer.finetune.targets import check_recipe

    check_recipe(params.finetune, cells)


def check_score(params: Params) -> None:
    """Refuse a target that lacks what the indicators of the section `score` need, and a missing device; this loads them."""
    from medtransfer.score.requested import check_target

    require_device(params.score.accelerator, params.score.precision)
    check_target(params.score, Path(params.prepare.out))


def check_sizes(params: Params, pairs: Iterable[tuple[Series, str]], fine_tuned: bool = False) -> None:
    """Refuse images of a size that an encoder does not take, and a decoder that does not fit one that is to be trained.

    Args:
        params: validated params.
        pairs: encoder and origin of a pretraining, and the name of a prepared target. The records of its checkpoints say which
            sizes its encoder takes; encoders that are to be trained are built, once each; others are left alone.
        fine_tuned: whether the targets are fine-tuned on, by `finetune.decoder`.

    Raises:
        InputError: an encoder or a model cannot be built, or an encoder does not take the images of a target.
    """
    built = dict[Series, "Encoder | None"]()
    for series, name in dict.fromkeys(pairs):
        target = PreparedTarget.open(Path(params.prepare.out) / name)
        if (info := _recorded(params, *series)) is not None:
            target.require_size(info.multiple, series[0])
            continue
        if series not in built:
            built[series] = _build(params, *series)
        if (encoder := built[series]) is not None:
            target.require_size(encoder.multiple, series[0])
            if fine_tuned:
                _check_model(encoder, target.info.task, len(target.info.classes), params.finetune.decoder)


def check_recorded_sizes(params: Params, cells: Iterable[CellName]) -> None:
    """Refuse images of a size that the encoder of checkpoints does not take, as far as there are some; this loads no encoder."""
    pairs = dict.fromkeys(((cell.encoder, cell.origin), cell.target) for cell in cells)
    check_sizes(params, [pair for pair in pairs if _recorded(params, *pair[0]) is not None])


def check_models(
    params: Params, cells: Iterable[CellName], to_train: Collection[Series], to_prepare: Collection[str] = (),
    built: "dict[Series, Encoder | None] | None" = None,
) -> None:  # fmt: skip
    """Refuse an encoder that cannot be built, or does not take the images of a target, and a decoder that does not fit one.

    What can fail is built, without memory: encoders that are to be trained, and models with another decoder than the
    encoder's own; this loads PyTorch. Targets that are still to be prepared are taken to be of masks.

    Args:
        params: validated params.
        cells: cells to fine-tune.
        to_train: encoder and origin of the pretrainings that are to do.
        to_prepare: names of the targets that are to be prepared, some of them again.
        built: encoders that earlier calls have built, to which those of this call are added; None: of this call alone.
    """
    decoder, built = params.finetune.decoder, {} if built is None else built
    for series, name in dict.fromkeys(((cell.encoder, cell.origin), cell.target) for cell in cells):
        if series not in to_train and decoder is None:
            continue
        if series not in built:
            built[series] = _build(params, *series) if series in to_train else _rebuild(_recorded(params, *series))
        if (encoder := built[series]) is None:
            continue
        if name not in to_prepare:
            target = PreparedTarget.open(Path(params.prepare.out) / name)
            target.require_size(encoder.multiple, series[0])
            _check_model(encoder, target.info.task, len(target.info.classes), decoder)
        elif decoder is not None:
            _check_model(encoder, "segmentation", 1, decoder)


def check_study(params: Params) -> None:
    """Refuse prepared targets that cannot be fine-tuned on or scored as the study says; all of them are prepared."""
    check_cells(params, planned_cells(params))
    series = study_series(params, {})
    if all(_first_record(params, *names) for names in series):
        return
    require_device(params.finetune.accelerator, params.finetune.precision)
    for target in params.study.targets:
        check_score(with_values(params, "score", target=target))
    check_sizes(params, product(series, params.study.targets), bool(params.study.modes))


def _check_model(encoder: "Encoder", task: str, classes: int, decoder: str | None) -> None:
    """Raise InputError if no model can be built for the classes of a target."""
    from medtransfer.encoders.without_values import without_values
    from medtransfer.tasks import TASKS

    with without_values():
        TASKS[task].model(encoder, classes, decoder)


def _build(params: Params, encoder: str, origin: str) -> "Encoder | None":
    """Build an encoder that is to be trained; None for imports, which may add arguments, as a fusion does."""
    spec = params.pretrain.encoders[encoder]
    return _without_memory(spec.build, spec.arguments) if is_trained(params, origin) else None


def _rebuild(info: CheckpointInfo | None) -> "Encoder | None":
    """Build the encoder of a checkpoint; None where that fails, which is said where it is used."""
    try:
        return None if info is None else _without_memory(info.build, info.arguments)
    except InputError:
        return None


def _without_memory(build: str, arguments: Mapping[str, Any]) -> "Encoder | None":
    """Build an encoder without memory; None for one that needs numbers, which is built where it is used alone.

    Raises:
        InputError: it cannot be built.
    """
    from medtransfer.encoders.build import build_encoder
    from medtransfer.encoders.without_values import without_values

    try:
        with without_values():
            return build_encoder(build, **arguments)
    except (NotImplementedError, RuntimeError):
        return None


def _recorded(params: Params, encoder: str, origin: str) -> CheckpointInfo | None:
    """Return the record of a checkpoint of this encoder as the params describe it; None where there is none that can be read.

    The record of an encoder that the params do not name holds as it is: a race takes any checkpoint by its folder.
    """
    if (record := _first_record(params, encoder, origin)) is None:
        return None
    try:
        info = CheckpointInfo.read(record)
    except InputError:  # said where the checkpoint is used, unless it is made again before
        return None
    if (spec := params.pretrain.encoders.get(encoder)) is None:
        return info
    described = {name: value for name, value in spec.arguments.items() if name != "pretrained"}  # never recorded
    return (
        info if info.build == spec.build and all(info.arguments.get(name) == value for name, value in described.items()) else None
    )


def _first_record(params: Params, encoder: str, origin: str) -> Path | None:
    return next(iter(epoch_records(series_folder(Path(params.pretrain.out), encoder, origin))), None)
