"""Order of the stages: each command connects the tracking store, makes missing sample inputs and runs its stage."""

import logging
import subprocess
import sys
from functools import wraps
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import yaml

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.errors import StageError
from medtransfer.hashing import digest
from medtransfer.records import TARGET_FILE, CellName, PreparedTarget, checkpoint_path, find_checkpoint, series_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from medtransfer.encoders.contract import Encoder
    from medtransfer.pretrain.stopping import Stopper

log = logging.getLogger("medtransfer")
P = ParamSpec("P")
R = TypeVar("R")


def reach_store(params: Params) -> None:
    """Connect to the tracking store before any work, and publish the results that it missed while it was unreachable.

    Raises:
        InputError: the store cannot be reached.
    """
    tracking.connect()
    if not tracking.missed_runs():
        return
    publish(params)
    for run in tracking.missed_runs():  # another `out`, changed files, or a stage without a result on disk
        log.warning("the tracking store lacks the run %s, and its result is not on disk: run %s again", run.name, run.stage)
        run.drop()


def publish(params: Params) -> None:
    """Write the runs of all results on disk that the tracking store lacks."""
    from medtransfer.finetune.sync import publish as publish_models
    from medtransfer.pretrain.sync import publish as publish_checkpoints
    from medtransfer.score.sync import publish as publish_scores

    prepared = Path(params.prepare.out)
    publish_checkpoints(Path(params.pretrain.out))
    publish_scores(params.score, prepared)
    publish_models(Path(params.finetune.out), prepared)


def command(function: "Callable[Concatenate[Params, P], R]") -> "Callable[Concatenate[Params, P], R]":
    """Decorate a function of params so that it connects to the tracking store before any work."""

    @wraps(function)
    def run(params: Params, *args: P.args, **kwargs: P.kwargs) -> R:
        reach_store(params)
        return function(params, *args, **kwargs)

    return run


def samples(params: Params) -> None:
    """Write the generated datasets."""
    from medtransfer.prepare.samples import write_samples

    section = params.samples
    write_samples(
        Path(section.out), section.seed, patients=section.patients, lungs=section.lungs, retinas=section.retinas,
        pictures=section.pictures,
    )  # fmt: skip


def prepare(params: Params, force: bool = False) -> PreparedTarget:
    """Prepare the target that `prepare.target` names; generated datasets are made first if they are missing."""
    from medtransfer.prepare.stage import prepare as prepare_target

    name = params.prepare.target
    target = params.prepare.targets[name]
    _need_samples(params, Path(target.root))
    return prepare_target(
        name, reader=target.reader, root=Path(target.root), size=target.size, subset=target.subset, split=target.split,
        validation=target.validation, allow_duplicates=target.allow_duplicates, options=target.options,
        out=Path(params.prepare.out), force=force,
    )  # fmt: skip


@command
def pretrain(params: Params, force: bool = False) -> Path:
    """Make the checkpoints of `pretrain.encoder` and `pretrain.origin`: train, or import weights."""
    from medtransfer.pretrain.stage import kind_of, run
    from medtransfer.selectors.rules import find_stopping_rule

    section = params.pretrain
    find_stopping_rule(section.stop_rule, "pretrain.stop_rule")  # a mistake is an error also where nothing stops
    if not kind_of(section).trains:
        return run(section, None, force)
    stopper = _stopper(params)
    _need_samples(params, Path(section.source_root))
    return run(section, stopper, force)


@command
def score(params: Params, force: bool = False) -> Path:
    """Score all checkpoints of an encoder and origin on a target; sample inputs are made first if they are missing."""
    from medtransfer.score.stage import run

    section = params.score
    _make_missing(params, [section.target], [(section.encoder, section.origin, None)])
    return run(section, Path(params.pretrain.out), Path(params.prepare.out), force)


@command
def finetune(params: Params, cells: list[CellName], force: bool = False) -> None:
    """Fine-tune cells; sample inputs are made first if they are missing."""
    from medtransfer.finetune.stage import run

    _make_missing(params, [cell.target for cell in cells], [(cell.encoder, cell.origin, cell.epoch) for cell in cells])
    run(params.finetune, cells, Path(params.pretrain.out), Path(params.prepare.out), force)


@command
def report(params: Params) -> str:
    """Compute the tables from the tracking store, after publishing the results on disk that it lacks."""
    from medtransfer.report.stage import run
    from medtransfer.score.options import options_of, views_of

    publish(params)
    return run(params.report, options_of(params.score).robustness, views_of(params.score))


@command
def search(params: Params) -> str:
    """Search for the robustness setting that chooses best, on own results or the paper's replayed ones."""
    from medtransfer.papers.hidy2024.searchable import read_replayed
    from medtransfer.score.options import options_of, views_of
    from medtransfer.search.results import read_own
    from medtransfer.search.stage import run

    section, default = params.search, options_of(params.score).robustness
    if section.results == "replay":
        results = read_replayed()
    else:
        results = read_own(default, set(product(section.distances, section.levels)), views_of(params.score))
    return run(section, results, default)


@command
def replay(params: Params) -> str:
    """Replay the paper's released result files."""
    from medtransfer.papers.hidy2024.stage import run

    return run(params.replay, params.report)


@command
def study(params: Params) -> str:
    """Run the whole study, from prepare to report; whatever is finished is reused."""
    chosen = params.study
    with tracking.project_run_set_aside():
        for target in chosen.targets:
            prepare(with_values(params, "prepare", target=target))
        for encoder, origin in product(chosen.encoders, chosen.origins):
            pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))
            for target in chosen.targets:
                score(with_values(params, "score", encoder=encoder, origin=origin, target=target))
        finetune(params, study_cells(params, {}))
    return report(params)


def study_cells(params: Params, given: "Mapping[str, list[Any]]") -> list[CellName]:
    """List every cell of the study.

    Args:
        params: parameters whose section `study` names the cells.
        given: lists that replace the study's, by field of CellName.
    """
    chosen = params.study
    series = product(given.get("encoder", chosen.encoders), given.get("origin", chosen.origins))
    names = [
        (target, encoder, origin, epoch)
        for target, (encoder, origin) in product(given.get("target", chosen.targets), list(series))
        for epoch in given.get("epoch", _available_epochs(params, encoder, origin))
    ]
    repeats = list(product(given.get("mode", chosen.modes), given.get("seed", chosen.seeds)))
    return [CellName(*name, *repeat) for name in names for repeat in repeats]


def study_epochs(params: Params, origin: str) -> list[int]:
    """List the epochs of all checkpoints that an origin makes."""
    from medtransfer.pretrain.stage import kind_of

    section = params.pretrain.model_copy(update={"origin": origin})
    return list(kind_of(section).epochs(section))


def _available_epochs(params: Params, encoder: str, origin: str) -> list[int]:
    """List the planned epochs, or those that were saved if the pretraining may have stopped early."""
    planned = study_epochs(params, origin)
    folder = series_folder(Path(params.pretrain.out), encoder, origin)
    if params.pretrain.stop_on is None or not any(folder.glob("epoch-*.json")):
        return planned
    return [epoch for epoch in planned if checkpoint_path(folder, epoch).exists()]


def pretrain_apart(params: Params) -> None:
    """Pretrain before another stage; on several devices in a subprocess.

    The processes of a distributed job run their command from the start, so it must be one that ends after pretraining.
    """
    if params.pretrain.devices == 1:
        pretrain(params)
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(yaml.safe_dump(params.model_dump(mode="json")), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "medtransfer", "pretrain", "--params", str(file)], check=False)
    if done.returncode:
        raise StageError(
            f"the pretraining of {params.pretrain.encoder} ended with exit code {done.returncode}; its output is above"
        )


def with_values(params: Params, section: str, **values: object) -> Params:
    """Return a copy of the params with some values of a section changed."""
    changed = getattr(params, section).model_copy(update=values)
    return params.model_copy(update={section: changed})


def _is_sample(params: Params, root: Path) -> bool:
    return Path(params.samples.out).resolve() in root.resolve().parents


def _need_samples(params: Params, root: Path) -> None:
    if _is_sample(params, root):
        samples(params)


def _make_missing(params: Params, targets: list[str], checkpoints: list[tuple[str, str, int | None]]) -> None:
    """Make missing inputs from samples.

    Args:
        params: parameters that describe the inputs.
        targets: names of prepared targets.
        checkpoints: encoder, origin and epoch of checkpoints; None for any epoch.

    Raises:
        InputError: an input is missing and cannot be made from samples; raised before any work.
    """
    folders = {name: Path(params.prepare.out) / name for name in targets}
    missing = [name for name, folder in folders.items() if not (folder / TARGET_FILE).exists()]
    for name in missing:
        if not _is_sample(params, Path(params.prepare.targets[name].root)):
            PreparedTarget.open(folders[name])  # raises
    series = dict.fromkeys((encoder, origin) for encoder, origin, epoch in checkpoints if _lacks(params, encoder, origin, epoch))
    for name in missing:
        log.info("prepare: the sample target %s is made first", name)
        prepare(with_values(params, "prepare", target=name))
    with tracking.project_run_set_aside():
        for encoder, origin in series:
            log.info("pretrain: the sample checkpoints of %s, %s are made first", encoder, origin)
            pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))


def _lacks(params: Params, encoder: str, origin: str, epoch: int | None) -> bool:
    """Return whether a checkpoint is missing and can be made from samples."""
    from medtransfer.pretrain.stage import kind_of

    folder = series_folder(Path(params.pretrain.out), encoder, origin)
    if any(folder.glob("epoch-*.json")) if epoch is None else checkpoint_path(folder, epoch).exists():
        return False
    section = params.pretrain.model_copy(update={"origin": origin})
    kind = kind_of(section)
    if not (kind.trains and epoch in (None, *kind.epochs(section)) and _is_sample(params, Path(section.source_root))):
        find_checkpoint(folder, epoch or 0)  # raises
    return True


def _stopper(params: Params) -> "Stopper | None":
    """Build what stops by `pretrain.stop_rule` on `pretrain.stop_by`, for the target `pretrain.stop_on` at `score`'s settings.

    If the indicator has one metric per pooling, the one that fits the mode of fine-tuning is watched.
    """
    name = params.pretrain.stop_on
    if name is None:
        return None
    from medtransfer.indicators.registry import find_indicators
    from medtransfer.indicators.streamed_pass import measure, require_labels
    from medtransfer.pretrain.stopping import Stopper
    from medtransfer.score.options import options_of, views_of
    from medtransfer.selectors.rules import find_stopping_rule
    from medtransfer.training.device import open_fabric

    rule = find_stopping_rule(params.pretrain.stop_rule, "pretrain.stop_rule")
    _make_missing(params, [name], [])
    target = PreparedTarget.open(Path(params.prepare.out) / name).verify()
    section, options, views = params.score, options_of(params.score), views_of(params.score)
    (indicator,) = find_indicators([params.pretrain.stop_by], "pretrain.stop_by")
    require_labels([indicator], target, "pretrain.stop_by")
    setting = indicator.watched(options, params.finetune.mode)

    def score(encoder: "Encoder", contract: "Mapping[str, Any]") -> float:
        fabric = open_fabric(params.pretrain.accelerator, 1, section.precision)
        measured = measure(
            [indicator], encoder, target, views, options, contract=contract, batch_size=section.batch_size,
            device=fabric.device, autocast=fabric.autocast, label=f"{indicator.name} on {name}",
        )  # fmt: skip
        return measured[indicator.name].value(setting)

    identity = digest([target.info.fingerprint, vars(views), indicator.name, setting, params.pretrain.stop_rule])
    return Stopper(name, identity, score, indicator.name, indicator.higher_is_better, rule)
