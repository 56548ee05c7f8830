"""The stages that make results on disk; each makes the sample inputs that it lacks."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.environment import require_device
from medtransfer.errors import InputError, TemporaryError
from medtransfer.launchers import is_main_process, without_launcher
from medtransfer.modes import MODES, require_decoder
from medtransfer.records import CellName, PreparedTarget
from medtransfer.study.cells import is_sample, is_trained, with_values
from medtransfer.study.checks import check_built, check_cells, check_encoder, check_models, check_score, check_sizes
from medtransfer.study.inputs import Missing, find_missing, missing_for_cells, missing_for_score
from medtransfer.study.stopper import stopper_of
from medtransfer.study.store import command

log = logging.getLogger("medtransfer")


def samples(params: Params) -> None:
    """Write the generated datasets."""
    from medtransfer.prepare.samples import write_samples

    section = params.samples
    write_samples(
        Path(section.out), section.seed, patients=section.patients, lungs=section.lungs, retinas=section.retinas,
        pictures=section.pictures,
    )  # fmt: skip


def prepare(
    params: Params, force: bool = False, keep_definition: bool = False, may_lack_files: bool = False
) -> PreparedTarget:  # fmt: skip
    """Prepare the target that `prepare.target` names; generated datasets are made first if they are missing.

    Args:
        params: validated params.
        force: whether to prepare it again even if it is unchanged.
        keep_definition: whether to write its settings beside it, since no file of parameters has them.
        may_lack_files: whether a finished one is reused, too, where its dataset is no longer here.
    """
    from medtransfer.config.load import DEFINITION
    from medtransfer.prepare.definition import as_yaml
    from medtransfer.prepare.stage import prepare as prepare_target

    name = params.prepare.target
    target = params.prepare.targets[name]
    _need_samples(params, Path(target.root))
    keep_definition |= (Path(params.prepare.out) / name / DEFINITION).exists()
    return prepare_target(
        name, reader=target.reader, root=Path(target.root), size=target.size, subset=target.subset, split=target.split,
        validation=target.validation, allow_duplicates=target.allow_duplicates, options=target.options,
        out=Path(params.prepare.out), force=force, definition=as_yaml(target) if keep_definition else None,
        may_lack_files=may_lack_files,
    )  # fmt: skip


@command("pretrain", needs=lambda params, force=False: _check_pretrain(params))
def pretrain(params: Params, force: bool = False) -> Path:
    """Make the checkpoints of `pretrain.encoder` and `pretrain.origin`: train, or import weights."""
    from medtransfer.pretrain.stage import kind_of, run
    from medtransfer.pretrain.start import source_of

    section = params.pretrain
    if not kind_of(section).trains:
        return run(section, None, force)
    _pretrain_parent(params)
    if section.stop_on:
        _make(params, find_missing(params, [section.stop_on]))
        check_sizes(params, [((section.encoder, section.origin), section.stop_on)])
    stopper = stopper_of(params)
    _need_samples(params, source_of(section)[1])
    return run(section, stopper, force)


def _check_pretrain(params: Params) -> None:
    """Refuse seeds that DVC cannot name, and a stopping rule that does not exist, also where nothing stops."""
    from medtransfer.selectors.rules import find_stopping_rule

    if params.study.pretraining_seeds and "pretrain@" in os.environ.get("DVC_STAGE", ""):
        raise InputError(
            "expected study.pretraining_seeds to be empty in a stage of DVC, whose dvc.yaml names one folder per origin, but it "
            "lists seeds; give each an entry of pretrain.origins with its `seed` and list these in study.origins, or run "
            "`medtransfer grid`"
        )
    find_stopping_rule(params.pretrain.stop_rule, "pretrain.stop_rule")
    check_encoder(params, params.pretrain.encoder, params.pretrain.origin)
    check_built(params, params.pretrain.encoder, params.pretrain.origin)


def _pretrain_parent(params: Params) -> None:
    """Make the checkpoints of the origin that `pretrain.origin` continues from, unless they are finished."""
    from medtransfer.pretrain.start import check_chain, parent_to_make

    check_chain(params.pretrain)
    if is_main_process() and (parent := parent_to_make(params.pretrain)) is not None:
        log.info("pretrain: %s continues from %s, which is made first", params.pretrain.origin, parent)
        with tracking.project_run_set_aside():
            pretrain_apart(with_values(params, "pretrain", origin=parent))


def _missing_for_score(params: Params, force: bool = False) -> Callable[[], None]:
    """Return what makes the missing inputs of a scoring."""
    missing = missing_for_score(params)
    _check_pretrainings(params, missing)
    if missing.targets or missing.series:
        from medtransfer.score.options import options_of

        options_of(params.score)

    def check() -> None:
        check_score(params)
        check_sizes(params, [(series, params.score.target) for series in missing.series])

    return partial(_make, params, missing, check)


@command("score", needs=_missing_for_score)
def score(params: Params, force: bool = False) -> Path:
    """Score all checkpoints of an encoder and origin on a target; sample inputs are made first if they are missing."""
    from medtransfer.score.stage import run

    section = params.score
    return run(section, Path(params.pretrain.out), Path(params.prepare.out), force)


def _missing_for_finetune(params: Params, cells: list[CellName], force: bool = False) -> Callable[[], None]:
    """Return what makes the missing inputs of cells; what can be refused before they are made is."""
    missing = missing_for_cells(params, cells)
    _check_pretrainings(params, missing)
    _check_decoders(params, missing, cells)
    lacking = [cell for cell in cells if (cell.encoder, cell.origin) in missing.series]
    if missing.targets or missing.series:
        check_cells(params, cells)
        check_models(params, lacking, missing.series, missing.targets)

    def check() -> None:
        check_cells(params, cells)
        require_device(params.finetune.accelerator, params.finetune.precision)
        check_sizes(params, [((cell.encoder, cell.origin), cell.target) for cell in lacking], True)

    return partial(_make, params, missing, check)


@command("finetune", needs=_missing_for_finetune)
def finetune(params: Params, cells: list[CellName], force: bool = False) -> None:
    """Fine-tune cells; sample inputs are made first if they are missing."""
    from medtransfer.finetune.stage import run

    run(params.finetune, cells, Path(params.pretrain.out), Path(params.prepare.out), force)


def pretrain_apart(params: Params) -> None:
    """Pretrain before another stage; on several devices in a subprocess.

    The processes of a distributed job run their command from the start, so it must be one that ends after pretraining.

    Raises:
        InputError: the pretraining cannot use its input.
        TemporaryError: the subprocess failed for another reason, or died.
    """
    if params.pretrain.devices == 1 or not is_trained(params, params.pretrain.origin) or tracking.is_looking_up():
        pretrain(params)
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(yaml.safe_dump(params.model_dump(mode="json")), encoding="utf-8")
        words = [sys.executable, "-m", "medtransfer", "pretrain", "--params", str(file)]
        with subprocess.Popen(words, env=without_launcher()) as process:
            try:
                code = process.wait()
            except BaseException:
                process.terminate()  # so that it closes its run, too, before this process ends
                raise
    if code:
        section = params.pretrain
        sentence = f"the pretraining of {section.encoder}, {section.origin} ended with exit code {code}; its output says why"
        raise InputError(sentence) if code == 2 else TemporaryError(sentence)


def _need_samples(params: Params, root: Path) -> None:
    if is_sample(params, root):
        samples(params)


def _check_pretrainings(params: Params, missing: Missing) -> None:
    """Refuse missing pretrainings whose encoder does not take its arguments, or that continue from what nobody makes."""
    from medtransfer.pretrain.start import check_parents, parent_origin, parent_to_make

    for encoder, origin in missing.series:
        check_encoder(params, encoder, origin)
        section = with_values(params, "pretrain", encoder=encoder, origin=origin).pretrain
        check_parents(section)
        if (encoder, parent_origin(section)) not in missing.series:
            parent_to_make(section)
    for encoder, origin in missing.series:
        check_built(params, encoder, origin)


def _check_decoders(params: Params, missing: Missing, cells: Iterable[CellName]) -> None:
    """Refuse cells that would start from the decoder of a pretraining that trains none."""
    from medtransfer.pretrain.stage import kind_of

    for cell in cells:
        if MODES[cell.mode].decoder_transferred and (cell.encoder, cell.origin) in missing.series:
            kind = kind_of(with_values(params, "pretrain", origin=cell.origin).pretrain)
            require_decoder(kind.parts, f"one of the origin {cell.origin}")


def _make(params: Params, missing: Missing, check: Callable[[], None] = lambda: None) -> None:
    """Make missing inputs from samples; `check` refuses targets before encoders are trained for them."""
    for name in missing.targets:
        log.info("prepare: the sample target %s is made first", name)
        prepare(with_values(params, "prepare", target=name))
    if missing.series:
        check()
    with tracking.project_run_set_aside():
        for encoder, origin in missing.series:
            log.info("pretrain: the sample checkpoints of %s, %s are made first", encoder, origin)
            pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))
