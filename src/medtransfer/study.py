"""Validated params go in; the stages run, each after what it needs; the only place that knows which feeds which."""

import logging
import subprocess
import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.errors import InputError, StageError
from medtransfer.hashing import digest
from medtransfer.locks import only_one
from medtransfer.records import PreparedTarget, checkpoint_path, series_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from medtransfer.encoders.contract import Encoder
    from medtransfer.finetune.stage import Wanted
    from medtransfer.pretrain.stopping import Stopper

log = logging.getLogger("medtransfer")


def samples(params: Params) -> None:
    """Write the generated datasets."""
    from medtransfer.prepare.samples import write_samples

    section = params.samples
    with only_one(Path(section.out)):
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
    with only_one(Path(params.prepare.out) / name):
        return prepare_target(
            name, reader=target.reader, root=Path(target.root), size=target.size, subset=target.subset, split=target.split,
            validation=target.validation, allow_duplicates=target.allow_duplicates, options=target.options,
            out=Path(params.prepare.out), force=force,
        )  # fmt: skip


def pretrain(params: Params, force: bool = False) -> Path:
    """Make the checkpoints of `pretrain.encoder` and `pretrain.origin`: train, or import weights."""
    from medtransfer.pretrain.stage import kind_of, run

    section = params.pretrain
    tracking.begin()
    if not kind_of(section).trains:
        return run(section, None, force)
    stopper = _stopper(params)
    _need_samples(params, Path(section.source_root))
    return run(section, stopper, force)


def score(params: Params, force: bool = False) -> Path:
    """Score all checkpoints of an encoder and origin on a target; sample inputs are made first if they are missing."""
    from medtransfer.score.stage import run

    section = params.score
    tracking.begin()
    with tracking.project_run_set_aside():
        _make_missing(params, [section.target], [(section.encoder, section.origin, None)])
    return run(section, Path(params.pretrain.out), Path(params.prepare.out), force)


def finetune(params: Params, wanted: "list[Wanted]", force: bool = False) -> None:
    """Fine-tune cells; sample inputs are made first if they are missing."""
    from medtransfer.finetune.stage import run

    tracking.begin()
    with tracking.project_run_set_aside():
        _make_missing(params, [one.target for one in wanted], [(one.encoder, one.origin, one.epoch) for one in wanted])
    run(params.finetune, wanted, Path(params.pretrain.out), Path(params.prepare.out), force)


def report(params: Params) -> str:
    """Compute the tables from the tracking store, which gets the results on disk that it lacks first."""
    from medtransfer.finetune.sync import publish as publish_models
    from medtransfer.report.stage import run
    from medtransfer.score.sync import publish as publish_scores

    tracking.begin()
    prepared = Path(params.prepare.out)
    with only_one(Path(params.report.out)):
        with tracking.project_run_set_aside():
            publish_scores(params.score, prepared)
            publish_models(Path(params.finetune.out), prepared)
        return run(params.report, _score_setting(params), params.score.pooling)


def search(params: Params, adopt: bool = False) -> str:
    """Search the setting of robustness that chooses best; with `adopt` its winner goes into params.yaml."""
    from medtransfer.search.stage import run

    tracking.begin()
    return run(params.search, _score_setting(params), params.score.pooling, Path("params.yaml") if adopt else None)


def replay(params: Params) -> str:
    """Replay the paper's released result files."""
    from medtransfer.papers.hidy2024.stage import run

    tracking.begin()
    with only_one(Path(params.replay.out)):
        return run(params.replay, params.report)


def _score_setting(params: Params) -> "dict[str, Any]":
    names = ("distance", "margin", "level", "split", "max_images", "seed", "repeats", "negative", "precision")
    return {name: getattr(params.score, name) for name in names}


def study(params: Params) -> str:
    """Walk the whole study, prepare to report; whatever is finished is reused."""
    chosen = params.study
    tracking.begin()
    with tracking.project_run_set_aside():
        for target in chosen.targets:
            prepare(with_values(params, "prepare", target=target))
        for encoder, origin in product(chosen.encoders, chosen.origins):
            pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))
            for target in chosen.targets:
                score(with_values(params, "score", encoder=encoder, origin=origin, target=target))
        finetune(params, study_cells(params, {}))
    return report(params)


def study_cells(params: Params, given: "Mapping[str, list[Any]]") -> "list[Wanted]":
    """List every cell of the study.

    Args:
        params: their section `study` names the cells.
        given: lists that stand in place of the study's: target, encoder, origin, epoch, mode, seed.
    """
    from medtransfer.finetune.stage import Wanted

    chosen = params.study
    series = product(given.get("encoder", chosen.encoders), given.get("origin", chosen.origins))
    names = [
        (target, encoder, origin, epoch)
        for target, (encoder, origin) in product(given.get("target", chosen.targets), list(series))
        for epoch in given.get("epoch", _epochs_at_hand(params, encoder, origin))
    ]
    ways = list(product(given.get("mode", chosen.modes), given.get("seed", chosen.seeds)))
    return [Wanted(*name, *way) for name in names for way in ways]


def study_epochs(params: Params, origin: str) -> list[int]:
    """List the epochs of all checkpoints that an origin makes."""
    from medtransfer.pretrain.stage import kind_of

    section = params.pretrain.model_copy(update={"origin": origin})
    return list(kind_of(section).epochs(section))


def _epochs_at_hand(params: Params, encoder: str, origin: str) -> list[int]:
    """List the planned epochs; of a pretraining that may have stopped early, those that it saved."""
    planned = study_epochs(params, origin)
    folder = series_folder(Path(params.pretrain.out), encoder, origin)
    if params.pretrain.stop_on is None or not any(folder.glob("epoch-*.json")):
        return planned
    return [epoch for epoch in planned if checkpoint_path(folder, epoch).exists()]


def pretrain_apart(params: Params) -> None:
    """Pretrain for a stage that comes after; on several devices as a command of its own.

    The processes of a distributed job run their command from the start, so it must be one that ends with pretraining.
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
            f"the pretraining of {params.pretrain.encoder} ended with exit code {done.returncode}; its lines are above"
        )


def with_values(params: Params, section: str, **values: object) -> Params:
    """Give params with some values of a section changed."""
    changed = getattr(params, section).model_copy(update=values)
    return params.model_copy(update={section: changed})


def _is_sample(params: Params, root: Path) -> bool:
    return Path(params.samples.out).resolve() in root.resolve().parents


def _need_samples(params: Params, root: Path) -> None:
    if _is_sample(params, root):
        samples(params)


def _make_missing(params: Params, targets: list[str], checkpoints: list[tuple[str, str, int | None]]) -> None:
    """Make missing sample inputs; what is missing and cannot be made is an InputError before any work."""
    lacking = dict.fromkeys(name for name in targets if _lacks_target(params, name))
    series = dict.fromkeys((one[0], one[1]) for one in checkpoints if _lacks_checkpoints(params, *one))
    for name in lacking:
        log.info("prepare: the sample target %s is made first", name)
        prepare(with_values(params, "prepare", target=name))
    for encoder, origin in series:
        log.info("pretrain: the sample checkpoints of %s, %s are made first", encoder, origin)
        pretrain_apart(with_values(params, "pretrain", encoder=encoder, origin=origin))


def _lacks_target(params: Params, name: str) -> bool:
    folder = Path(params.prepare.out) / name
    if not (folder / "dataset.json").exists() and _is_sample(params, Path(params.prepare.targets[name].root)):
        return True
    PreparedTarget.open(folder)
    return False


def _lacks_checkpoints(params: Params, encoder: str, origin: str, epoch: int | None) -> bool:
    folder = series_folder(Path(params.pretrain.out), encoder, origin)
    from medtransfer.pretrain.stage import kind_of

    planned = study_epochs(params, origin)
    epochs = planned if epoch is None else [epoch]
    if all(checkpoint_path(folder, one).exists() for one in epochs):
        return False
    if any(folder.glob("epoch-*.json")) and epoch is None:
        return False  # the user's own choice of checkpoints
    source = Path(params.pretrain.source_root)
    known = epoch is None or epoch in planned
    trained = kind_of(params.pretrain.model_copy(update={"origin": origin})).trains
    if not (known and trained and _is_sample(params, source)):
        wanted = "" if epoch is None else f" of epoch {epoch}"
        raise InputError(
            f"expected a checkpoint{wanted} in {folder}, but there is none; run `medtransfer pretrain --encoder {encoder} "
            f"--origin {origin}` with that epoch among its checkpoints"
        )
    return True


def _stopper(params: Params) -> "Stopper | None":
    """Build the online rule on `pretrain.stop_on` from the score section's default, pooled as its rule says for the mode."""
    name = params.pretrain.stop_on
    if name is None:
        return None
    from medtransfer.indicators.robustness.measure import ViewSettings, measure_pairs
    from medtransfer.indicators.robustness.triplet import POOLED
    from medtransfer.pretrain.recipe import recipe_of
    from medtransfer.pretrain.stopping import Stopper
    from medtransfer.training.device import open_fabric

    with tracking.project_run_set_aside():
        _make_missing(params, [name], [])
    target = PreparedTarget.open(Path(params.prepare.out) / name).verify()
    section, pooled = params.score, POOLED[params.score.pooling][params.finetune.mode]
    settings = ViewSettings(section.split, section.max_images, section.seed, section.repeats, section.negative)
    contract = recipe_of(params.pretrain).input

    def measure(encoder: "Encoder") -> float:
        fabric = open_fabric(params.pretrain.accelerator, 1, section.precision)
        pairs = measure_pairs(
            encoder, target, settings, contract, section.batch_size, fabric.device, fabric.autocast, f"robustness on {name}"
        )
        return pairs.robustness(section.distance, section.level, pooled, section.margin)

    default = [section.distance, section.margin, section.level, pooled]
    return Stopper(name, digest([target.info.fingerprint, vars(settings), default]), measure)
