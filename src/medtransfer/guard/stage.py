"""Stage `guard`: fine-tune checkpoints and the random initialisation shortly, and say whether pretraining helps."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer import study, tracking
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.guard.comparison import Guard
from medtransfer.guard.verdict import summary, verdict
from medtransfer.hashing import digest
from medtransfer.launchers import require_processes
from medtransfer.locks import exclusive
from medtransfer.records import CellName, find_checkpoint, list_checkpoints, read_kept, series_folder, write_json
from medtransfer.tasks import TASKS
from medtransfer.tryouts.scores import Scores, read_scores
from medtransfer.tryouts.training import Training, Tryouts
from medtransfer.tryouts.validation import one_portion, open_validated, recorded_portion
from medtransfer.wording import counted

log = logging.getLogger("medtransfer")
SHARE = 4  # the schedule is this many times shorter than that of `finetune`, unless a length is given


def run(params: Params) -> str:
    """Compare checkpoints with no pretraining, and return the text for the terminal; see `compare`."""
    return "\n".join(verdict(compare(params)))


def compare(params: Params) -> Guard:
    """Fine-tune shortly, and write `guard.json` and the run; fine-tunings that are finished are reused.

    Args:
        params: params, whose section `guard` names the checkpoints, and `finetune` the recipe.

    Raises:
        InputError: a checkpoint or the target cannot be used, or a launcher started the command several times.
        StageError: a fine-tuning failed.
    """
    require_processes(1, "the guard")
    section, name = params.guard, params.guard.target or params.study.targets[0]
    epochs = _epochs(params)
    study.reach_store(params, ("finetune", "guard"))
    with exclusive(Path(section.out)):
        with tracking.project_run_set_aside():
            guard = _compare(params, name, epochs)
        _write(guard, Path(section.out), recorded_portion(params))
    return guard


def _epochs(params: Params) -> list[int]:
    """Return the checkpoints to compare: those named, or the one that an early stop kept, or the last.

    Raises:
        InputError: one of them is missing, or there is none but epoch 0.
    """
    section = params.guard
    folder = series_folder(Path(params.pretrain.out), section.encoder, section.origin)
    for epoch in (0, *section.epoch):
        find_checkpoint(folder, epoch)
    if section.epoch:
        return list(dict.fromkeys(section.epoch))
    kept = read_kept(folder)
    epoch = max(list_checkpoints(folder)) if kept is None else kept
    if not epoch:
        raise InputError(f"expected a checkpoint after epoch 0 in {folder}, but there is none; run `medtransfer pretrain`")
    log.info("guard: epoch %d of %s is compared with epoch 0", epoch, folder.name)
    return [epoch]


def _compare(params: Params, name: str, epochs: Sequence[int]) -> Guard:
    section, recipe = params.guard, params.finetune
    target, held = open_validated(params, name, section.validation)
    seeds = [recipe.seed + number for number in range(section.seeds)]
    length = section.train_epochs or -(-recipe.train_epochs // SHARE)
    scores = _train(params, name, (0, *epochs), seeds, length, held)
    metric = TASKS[target.info.task].primary
    return Guard(
        name, section.encoder, section.origin, recipe.mode, metric, epochs, scores, seeds, length,
        recipe.train_epochs, len(set(target.samples("validation")["group"])), held, params.report.confidence,
        metric.floor(params.report.least),
    )  # fmt: skip


def _train(params: Params, target: str, epochs: Sequence[int], seeds: Sequence[int], length: int, held: float) -> Scores:
    """Fine-tune from every checkpoint with every seed, and read the scores."""
    section, out, portion = params.guard, Path(params.guard.out), one_portion(params)
    values = {
        "out": str(out / f"{length:03d}-epochs"), "validation": held, "evaluate": "validation", "overlays": 0, "keep": "metrics",
    }  # fmt: skip
    cells = [
        [CellName(target, section.encoder, section.origin, epoch, params.finetune.mode, seed, **portion) for seed in seeds]
        for epoch in epochs
    ]
    models = [[Training(cell, length, tuple(values.items())) for cell in row] for row in cells]
    jobs = [job for row in models for job in row]
    log.info("guard: %d starts x %s x %s", len(epochs), counted(len(seeds), "seed"), counted(length, "epoch"))
    tryouts = Tryouts(params, "guard", section.launcher, section.workers, jobs, out / "logs", len(jobs) * length)
    try:
        tryouts.train(jobs, "correct this")
    finally:
        tryouts.close()
    return read_scores([[job.folder for job in row] for row in models])


def _write(guard: Guard, out: Path, portion: dict[str, Any]) -> None:
    """Write the file and the run, with the portion of the training images that was used."""
    found, metric = summary(guard) | portion, guard.metric.name
    write_json(out / "guard.json", found)
    run_params = {
        "target": guard.target, "encoder": guard.encoder, "origin": guard.origin, "mode": guard.mode,
        "epochs": " ".join(map(str, guard.epochs)), "train_epochs": guard.train_epochs, "seeds": len(guard.seeds),
        "patients": guard.patients, "verdict": " ".join(guard.compared(epoch) for epoch in guard.epochs), "choice": guard.choice,
        **portion,
    }  # fmt: skip
    intervals = {epoch: guard.interval(epoch) for epoch in guard.epochs}
    curves = {
        f"validation_{metric}": guard.means,
        "difference": {epoch: difference.value for epoch, difference in guard.differences.items()},
        "difference_low": {epoch: low for epoch, (low, _) in intervals.items()},
        "difference_high": {epoch: high for epoch, (_, high) in intervals.items()},
    }
    name = f"{guard.encoder}-{guard.origin} → {guard.target}"
    with tracking.once("guard", name, digest(found, 16), run_params, on_disk=True) as handle:
        if handle:
            handle.log_curves(curves)
            handle.log_artifact(out / "guard.json")
