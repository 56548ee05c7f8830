"""Order of the stages: each command connects the tracking store, makes missing sample inputs and runs its stage."""

import logging
import os
import subprocess
import sys
from dataclasses import asdict
from functools import wraps
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import yaml

from medtransfer import tracking
from medtransfer.config import Params, PretextOrigin, seeded_names
from medtransfer.errors import InputError, StageError, TemporaryError
from medtransfer.hashing import digest, file_sha256
from medtransfer.launchers import is_main_process, without_launcher
from medtransfer.progress import loading
from medtransfer.records import (
    TARGET_FILE,
    CellName,
    CheckpointInfo,
    PreparedTarget,
    checkpoint_path,
    find_checkpoint,
    series_folder,
)
from medtransfer.wording import are

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Any

    from medtransfer.analysis.described import Described
    from medtransfer.config import Pretrain, Replay
    from medtransfer.encoders.contract import Encoder
    from medtransfer.encoders.source_head import NoHead, SourceHead
    from medtransfer.pretrain.stopping import Stopper
    from medtransfer.selectors.rules import Observation

log = logging.getLogger("medtransfer")
P = ParamSpec("P")
R = TypeVar("R")
Inputs = tuple[list[str], list[tuple[str, str, int | None]]]  # targets; encoder, origin and epoch of checkpoints


RESULTS = ("pretrain", "score", "finetune")  # stages whose results on disk fill a store that lacks them


def reach_store(params: Params, stages: "Iterable[str]") -> None:
    """Connect to the tracking store before any work, and publish the results that it missed while it was unreachable.

    Args:
        params: where results on disk are.
        stages: stages that will write runs.

    Raises:
        InputError: the store cannot be reached, the experiment of a stage was deleted, or the store lacks the run that
            `mlflow run` opened.
    """
    tracking.require_experiments(stages)
    tracking.require_project_run()
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
    written = publish_checkpoints(Path(params.pretrain.out))
    written += publish_scores(params.score, prepared, Path(params.pretrain.out))
    written += publish_models(Path(params.finetune.out), prepared)
    if written:
        log.info("%s now in the tracking store, which lacked what is on disk", are(written, "result"))


def command(
    *stages: str, needs: "Callable[..., Inputs] | None" = None
) -> "Callable[[Callable[Concatenate[Params, P], R]], Callable[Concatenate[Params, P], R]]":
    """Decorate a function of params that writes runs: before it, the store is connected and missing inputs are made.

    Args:
        stages: stages of the runs.
        needs: returns the inputs from the same arguments; those that can neither be found nor made are refused first, before
            the store's libraries are loaded.
    """

    def decorate(function: "Callable[Concatenate[Params, P], R]") -> "Callable[Concatenate[Params, P], R]":
        @wraps(function)
        def run(params: Params, *args: P.args, **kwargs: P.kwargs) -> R:
            missing = _missing(params, *needs(params, *args, **kwargs)) if needs else ([], [])
            reach_store(params, stages)
            _make(params, *missing)
            return function(params, *args, **kwargs)

        return run

    return decorate


def samples(params: Params) -> None:
    """Write the generated datasets."""
    from medtransfer.prepare.samples import write_samples

    section = params.samples
    write_samples(
        Path(section.out), section.seed, patients=section.patients, lungs=section.lungs, retinas=section.retinas,
        pictures=section.pictures,
    )  # fmt: skip


def prepare(params: Params, force: bool = False, keep_definition: bool = False) -> PreparedTarget:
    """Prepare the target that `prepare.target` names; generated datasets are made first if they are missing.

    Args:
        params: validated params.
        force: whether to prepare it again even if it is unchanged.
        keep_definition: whether to write its settings beside it, since no file of parameters has them.
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
    )  # fmt: skip


@command("pretrain")
def pretrain(params: Params, force: bool = False) -> Path:
    """Make the checkpoints of `pretrain.encoder` and `pretrain.origin`: train, or import weights."""
    from medtransfer.pretrain.stage import kind_of, run
    from medtransfer.pretrain.start import source_of
    from medtransfer.selectors.rules import find_stopping_rule

    section = params.pretrain
    if params.study.pretraining_seeds and "pretrain@" in os.environ.get("DVC_STAGE", ""):
        raise InputError(
            "expected study.pretraining_seeds to be empty in a stage of DVC, whose dvc.yaml names one folder per origin, but it "
            "lists seeds; give each an entry of pretrain.origins with its `seed` and list these in study.origins, or run "
            "`medtransfer grid`"
        )
    find_stopping_rule(section.stop_rule, "pretrain.stop_rule")  # a mistake is an error also where nothing stops
    if not kind_of(section).trains:
        return run(section, None, force)
    _pretrain_parent(params)
    stopper = _stopper(params)
    _need_samples(params, source_of(section)[1])
    return run(section, stopper, force)


def _pretrain_parent(params: Params) -> None:
    """Make the checkpoints of the origin that `pretrain.origin` continues from, unless they are finished."""
    from medtransfer.pretrain.start import check_chain, parent_to_make

    check_chain(params.pretrain)
    if is_main_process() and (parent := parent_to_make(params.pretrain)) is not None:
        log.info("pretrain: %s continues from %s, which is made first", params.pretrain.origin, parent)
        with tracking.project_run_set_aside():
            pretrain_apart(with_values(params, "pretrain", origin=parent))


@command("score", needs=lambda params, force=False: _inputs_of_score(params))
def score(params: Params, force: bool = False) -> Path:
    """Score all checkpoints of an encoder and origin on a target; sample inputs are made first if they are missing."""
    from medtransfer.score.stage import run

    section = params.score
    return run(section, Path(params.pretrain.out), Path(params.prepare.out), force)


@command("finetune", needs=lambda params, cells, force=False: _inputs_of_cells(params, cells))
def finetune(params: Params, cells: list[CellName], force: bool = False) -> None:
    """Fine-tune cells; sample inputs are made first if they are missing."""
    from medtransfer.finetune.stage import run

    run(params.finetune, cells, Path(params.pretrain.out), Path(params.prepare.out), force)


@command(*RESULTS, "report")
def report(params: Params, everything: bool = False, short: bool = False, force: bool = False) -> str:
    """Compute the tables from the tracking store, after publishing the results on disk that it lacks.

    Args:
        params: of the study to judge.
        everything: whether to judge all fine-tunings in the store, also those by other parameters.
        short: whether to return the verdict and a small table alone.
        force: whether to compute them again even if nothing has changed.
    """
    from medtransfer.score.options import robustness_of, views_of

    publish(params)
    judged = None if everything else described(params)
    section, setting, views, eta = params.report, robustness_of(params.score), views_of(params.score), params.race.eta

    def make() -> tracking.Made:
        with loading("report"):
            from medtransfer.report.stage import run
        return run(section, setting, views, judged, eta)

    request = [section.model_dump(mode="json"), asdict(setting), asdict(views), judged and judged.values, eta]
    texts = tracking.make_of_store("report", Path(section.out), request, make, force=force)
    return texts[-1 if short else 0]


@command(*RESULTS)
def export_evidence(params: Params, out: Path, names: bool) -> str:
    """Export the outcomes of the tracking store, after publishing the results on disk that it lacks."""
    from medtransfer.evidence.stage import export_rows

    publish(params)
    return export_rows(out, Path(params.prepare.out), names)


@command("search")
def search(params: Params, everything: bool = False, force: bool = False) -> str:
    """Search for the setting of robustness, and the indicator, that choose best, on own results or the paper's replayed ones.

    Args:
        params: of the study to search on.
        everything: whether to search on all own results in the store, also those by other parameters.
        force: whether to search again even if nothing has changed.
    """
    from medtransfer.score.options import robustness_of, views_of

    section, default, views, drawn = params.search, robustness_of(params.score), views_of(params.score), params.report
    judged = None if everything or section.results == "replay" else described(params)

    def make() -> tracking.Made:
        with loading("search"):
            from medtransfer.papers.hidy2024.searchable import read_replayed
            from medtransfer.search.results import read_own
            from medtransfer.search.stage import run

        if section.results == "replay":
            results = read_replayed()
        else:
            settings = set(product(section.distances, section.levels))
            results = read_own(default, settings, views, drawn.least, judged, section.indicators)
        return run(section, results, default, drawn.confidence, drawn.margin)

    used = [drawn.least, drawn.confidence, drawn.margin]
    request = [section.model_dump(mode="json"), asdict(default), asdict(views), judged and judged.values, used]
    return tracking.make_of_store("search", Path(section.out), request, make, force=force)[0]


@command(*RESULTS, "explain")
def explain(params: Params, force: bool = False) -> str:
    """Show what goes with the test results over the checkpoints of the study, or over those of the paper's replayed results."""
    from medtransfer.score.options import robustness_of, views_of

    section, setting, views, drawn = params.explain, robustness_of(params.score), views_of(params.score), params.report
    checkpoints, prepared = Path(params.pretrain.out), Path(params.prepare.out)
    judged, records = None, []
    if section.results == "own":
        publish(params)
        judged = described(params)
        records = sorted([*checkpoints.glob("*/epoch-*.json"), *prepared.glob(f"*/{TARGET_FILE}")])

    def make() -> tracking.Made:
        with loading("explain"):
            from medtransfer.analysis.pools import collect
            from medtransfer.explain.cases import Cases, read_own
            from medtransfer.explain.stage import run
            from medtransfer.papers.hidy2024.explainable import read_replayed_cases

        def read(features: Path) -> Cases:
            if section.results == "replay":
                return read_replayed_cases()
            pools, left_out = collect(setting, views, judged)
            return read_own(pools, left_out, checkpoints, prepared, features, params.score, drawn.least)

        return run(section, read, drawn.confidence)

    measured = [[str(record), file_sha256(record)] for record in records]
    sections = [section.model_dump(mode="json"), params.score.model_dump(mode="json"), drawn.least, drawn.confidence]
    request = [sections, judged and judged.values, measured]
    return tracking.make_of_store("explain", Path(section.out), request, make, force=force)[0]


@command("replay")
def replay(params: Params, force: bool = False) -> str:
    """Replay a paper: its released result files, or its claims on its printed tables."""
    return _replay_released(params, force) if params.replay.paper == "hidy" else _replay_printed(params.replay, force)


def _replay_released(params: Params, force: bool) -> str:
    from medtransfer.papers.hidy2024.named_files import named_files

    section, drawn, eta = params.replay, params.report, params.race.eta
    files = named_files(section)  # what is missing is refused before libraries are loaded

    def make() -> tracking.Made:
        with loading("replay"):
            from medtransfer.papers.hidy2024.stage import run
        return run(section, drawn, eta)

    request = [[file_sha256(file) for file in files], drawn.model_dump(mode="json"), eta]
    return tracking.make_of_store("replay", Path(section.out), request, make, force=force, own_runs=True)[0]


def _replay_printed(section: "Replay", force: bool) -> str:
    def make() -> tracking.Made:
        with loading("replay"):
            from medtransfer.papers.printed.stage import run
        return run(section)

    return tracking.make_of_store("replay", Path(section.out) / section.paper, section.paper, make, force=force)[0]


@command(*RESULTS, "report")
def study(params: Params, short: bool = False) -> str:
    """Run the whole study, from prepare to report; whatever is finished is reused. `short` as for `report`."""
    chosen = params.study
    with tracking.project_run_set_aside():
        for target in chosen.targets:
            prepare(with_values(params, "prepare", target=target))
        for encoder, origin in study_series(params, {}):
            pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))
            for target in chosen.targets:
                score(with_values(params, "score", encoder=encoder, origin=origin, target=target))
        finetune(params, study_cells(params, {}))
    return report(params, short=short)


def described(params: Params) -> "Described":
    """Return the study that the parameters describe: their protocol, the prepared targets and the checkpoints on disk."""
    from medtransfer.analysis.described import Described
    from medtransfer.finetune.protocol import Protocol

    prepared, checkpoints = Path(params.prepare.out), Path(params.pretrain.out)
    data = {}
    for name in (name for name in params.prepare.targets if (prepared / name / TARGET_FILE).exists()):
        try:
            data[name] = PreparedTarget.open(prepared / name).info.fingerprint
        except InputError as error:  # it may be no part of the study
            log.warning("results on the target %s are judged whatever its data, since %s", name, error)
    pretraining = {}
    for series in product(params.pretrain.encoders, params.pretrain.origins):
        if first := next(iter(sorted(series_folder(checkpoints, *series).glob("epoch-*.json"))), None):
            pretraining[series] = CheckpointInfo.read(first).pretraining
    seeded = frozenset(origin for origin in params.pretrain.origins if origin_names(params, origin) != [origin])
    names: dict[str, Collection[str]] = {
        "target": params.prepare.targets, "encoder": params.pretrain.encoders, "origin": params.pretrain.origins,
    }  # fmt: skip
    return Described(Protocol.of(params.finetune).key, data, pretraining, seeded, names, params.study.epochs == "all")


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


def is_trained(params: Params, origin: str) -> bool:
    """Return whether an origin trains on the source images; others import weights."""
    from medtransfer.pretrain.epochs import trains

    return trains(params.pretrain.model_copy(update={"origin": origin}))


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
    if params.pretrain.stop_on is None or not any(folder.glob("epoch-*.json")):
        return planned
    return [epoch for epoch in planned if checkpoint_path(folder, epoch).exists()]


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
        command = [sys.executable, "-m", "medtransfer", "pretrain", "--params", str(file)]
        with subprocess.Popen(command, env=without_launcher()) as process:
            try:
                code = process.wait()
            except BaseException:
                process.terminate()  # so that it closes its run, too, before this process ends
                raise
    if code:
        section = params.pretrain
        sentence = f"the pretraining of {section.encoder}, {section.origin} ended with exit code {code}; its output says why"
        raise InputError(sentence) if code == 2 else TemporaryError(sentence)


def with_values(params: Params, section: str, **values: object) -> Params:
    """Return a copy of the params with some values of a section changed."""
    changed = getattr(params, section).model_copy(update=values)
    return params.model_copy(update={section: changed})


def is_sample(params: Params, root: Path) -> bool:
    """Return whether a folder is one of the generated datasets, which are made where they are missing."""
    return Path(params.samples.out).resolve() in root.resolve().parents


def _need_samples(params: Params, root: Path) -> None:
    if is_sample(params, root):
        samples(params)


def _inputs_of_score(params: Params) -> "Inputs":
    section = params.score
    return [section.target], [(section.encoder, section.origin, None)]


def _inputs_of_cells(params: Params, cells: list[CellName]) -> "Inputs":
    for name in dict.fromkeys(cell.target for cell in cells):
        target = params.prepare.targets.get(name)
        if target and target.reader == "folder" and target.options.get("masks", "") is None:
            raise InputError(
                f"expected masks to fine-tune on, but prepare.targets.{name} says `masks: null`; name the folder of masks there, "
                "or score the target only"
            )
    return [cell.target for cell in cells], [(cell.encoder, cell.origin, cell.epoch) for cell in cells]


def _missing(
    params: Params, targets: list[str], checkpoints: list[tuple[str, str, int | None]]
) -> tuple[list[str], list[tuple[str, str]]]:
    """List the targets, and the encoders and origins of checkpoints, that are missing and can be made from samples.

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
    series = dict.fromkeys((encoder, origin) for encoder, origin, epoch in checkpoints if _lacks(params, encoder, origin, epoch))
    return missing, list(series)


def _make(params: Params, targets: list[str], series: list[tuple[str, str]]) -> None:
    """Make missing inputs from samples."""
    for name in targets:
        log.info("prepare: the sample target %s is made first", name)
        prepare(with_values(params, "prepare", target=name))
    with tracking.project_run_set_aside():
        for encoder, origin in series:
            log.info("pretrain: the sample checkpoints of %s, %s are made first", encoder, origin)
            pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))


def _lacks(params: Params, encoder: str, origin: str, epoch: int | None) -> bool:
    """Return whether a checkpoint is missing and can be made from samples."""
    from medtransfer.pretrain.start import source_of

    folder = series_folder(Path(params.pretrain.out), encoder, origin)
    if any(folder.glob("epoch-*.json")) if epoch is None else checkpoint_path(folder, epoch).exists():
        return False
    section = params.pretrain.model_copy(update={"origin": origin})
    if not (is_sample(params, source_of(section)[1]) and _is_trained(section, epoch)):
        find_checkpoint(folder, epoch or 0)  # raises
    return True


def _is_trained(section: "Pretrain", epoch: int | None) -> bool:
    """Return whether a section's origin trains and saves an epoch; this loads torch."""
    from medtransfer.pretrain.stage import kind_of

    kind = kind_of(section)
    return kind.trains and epoch in (None, *kind.epochs(section))


def _stopper(params: Params) -> "Stopper | None":
    """Build what stops by `pretrain.stop_rule` on `pretrain.stop_by`, for the target `pretrain.stop_on` at `score`'s settings.

    If the indicator has one metric per pooling, the one that fits the mode of fine-tuning is watched.
    """
    name = params.pretrain.stop_on
    if name is None:
        return None
    from medtransfer.indicators.contract import pick
    from medtransfer.indicators.registry import find_indicators
    from medtransfer.indicators.requirements import require_labels
    from medtransfer.indicators.streamed_pass import measure
    from medtransfer.pretrain.stopping import Stopper
    from medtransfer.score.options import options_of, settings_of, views_of
    from medtransfer.selectors.rules import Observation, find_stopping_rule
    from medtransfer.training.arithmetic import arithmetic
    from medtransfer.training.device import open_fabric

    rule = find_stopping_rule(params.pretrain.stop_rule, "pretrain.stop_rule")
    _make(params, *_missing(params, [name], []))
    target = PreparedTarget.open(Path(params.prepare.out) / name).verify()
    section, options, views = params.score, options_of(params.score), views_of(params.score)
    (indicator,) = find_indicators([params.pretrain.stop_by], "pretrain.stop_by")
    require_labels([indicator], target, "pretrain.stop_by")
    setting = indicator.watched(options, params.finetune.mode)

    def score(encoder: "Encoder", contract: "Mapping[str, Any]", head: "SourceHead | NoHead") -> "Observation":
        fabric = open_fabric(params.pretrain.accelerator, 1, section.precision)
        with arithmetic(fabric.device, tf32=section.tf32, reproducible=True):
            measured = measure(
                [indicator], encoder, target, views, options, contract=contract, batch_size=section.batch_size,
                device=fabric.device, autocast=fabric.autocast, label=f"{indicator.name} on {name}", head=head,
            )  # fmt: skip
        score = pick(measured[indicator.name].scores, setting)
        if broken := score.flags.get("nonfinite"):
            raise StageError(
                f"expected finite features of the encoder on {name} to stop by, but {broken} are not finite; lower pretrain.lr or "
                "clip the gradient (pretrain.clip_grad)"
            )
        if score.value is None:
            raise StageError(f"expected {indicator.name} on {name} to be defined, but it is not; set another pretrain.stop_by")
        replicates = indicator.replicates(measured[indicator.name], setting)
        if "error" in rule.needs and score.error is None and not replicates:
            raise StageError(
                f"expected a standard error of {indicator.name} on {name} for pretrain.stop_rule {params.pretrain.stop_rule}, but "
                "it has none; set score.blocks to 3 or more and use a target of at least 3 patients, or set another rule"
            )
        return Observation(score.value, score.error, None, replicates)

    identity = digest([target.info.fingerprint, settings_of(section), indicator.name, setting, params.pretrain.stop_rule])
    return Stopper(name, identity, score, indicator.name, indicator.higher_is_better, rule)
