"""Jobs of a study, their dependencies, and how to run one."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from medtransfer import study
from medtransfer.config import Params
from medtransfer.errors import InputError
from medtransfer.records import CellName, checkpoint_path, series_folder

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class Job:
    """A part of a study that one worker runs.

    Attributes:
        kind: its command: `prepare`, `pretrain`, `score` or `finetune`.
        target: name of the target; empty for a pretraining.
        encoder: encoder of the checkpoints that it makes or uses; empty for a preparation.
        origin: origin of these checkpoints; empty for a preparation.
        cell: cell to fine-tune; None for other kinds.
        parent: origin that a pretraining continues from or averages; empty for others.
    """

    kind: str
    target: str = ""
    encoder: str = ""
    origin: str = ""
    cell: CellName | None = None
    parent: str = field(default="", compare=False)

    @classmethod
    def of(cls, cell: CellName) -> "Job":
        """Return the job that fine-tunes a cell."""
        return cls("finetune", cell.target, cell.encoder, cell.origin, cell)

    @property
    def name(self) -> str:
        """Readable name."""
        names = [self.target, self.encoder, self.origin]
        return f"{self.kind} {self.cell.name if self.cell else '-'.join(filter(None, names))}"

    @property
    def needs(self) -> "frozenset[Job]":
        """Jobs that must be done before."""
        if self.kind in {"prepare", "pretrain"}:
            return frozenset({Job("pretrain", encoder=self.encoder, origin=self.parent)} if self.parent else ())
        return frozenset({Job("prepare", self.target), Job("pretrain", encoder=self.encoder, origin=self.origin)})

    def run(self, params: Params) -> None:
        """Run the job in this process, or reuse its finished result."""
        if self.cell:
            study.finetune(params, [self.cell])
            return
        names = {name: value for name in ("target", "encoder", "origin") if (value := getattr(self, name))}
        steps: dict[str, Callable[[Params], object]] = {
            "prepare": partial(study.prepare, may_lack_files=True), "pretrain": study.pretrain_apart, "score": study.score,
        }  # fmt: skip
        steps[self.kind](study.with_values(params, self.kind, **names))

    def is_import(self, params: Params) -> bool:
        """Return whether the job imports weights instead of training an encoder."""
        return self.kind == "pretrain" and not study.is_trained(params, self.origin)

    def devices(self, params: Params) -> int:
        """Return the number of devices that the job computes on."""
        return params.pretrain.devices if self.kind == "pretrain" and not self.is_import(params) else 1

    def needs_gpu(self, params: Params) -> bool:
        """Return whether the job uses a GPU where there is one: preparations and imports of weights do not."""
        if self.kind == "prepare" or self.is_import(params):
            return False
        return getattr(params, self.kind).accelerator != "cpu"


def plan(params: Params) -> list[Job]:
    """List the jobs of the study, each after those that it needs, but pretrainings in the study's order.

    A pretraining that stops early on a target also needs this target, and prepares it if it is a generated sample.
    """
    chosen = params.study
    series = study.study_series(params, {})
    return list(
        dict.fromkeys(
            [
                *(Job("prepare", target) for target in chosen.targets),
                *(
                    Job("pretrain", encoder=encoder, origin=origin, parent=study.parent_in(params, series, encoder, origin))
                    for encoder, origin in series
                ),
                *(Job("score", target, *names) for names, target in product(series, chosen.targets)),
                *(Job.of(cell) for cell in study.planned_cells(params)),
            ]
        )
    )


Refusals = dict[tuple[str, str, str], InputError]  # why cells of an encoder, a target and a mode cannot be fine-tuned


def check_inputs(params: Params, jobs: Sequence[Job], to_do: Sequence[Job]) -> Refusals:
    """Refuse wrong arguments of encoders, and fine-tunings none of which can be done, before the jobs that they need.

    Where some can be done, a warning says why others cannot: a job that fails does not stop the others.

    Args:
        params: params of the jobs.
        jobs: all jobs of the study.
        to_do: those that are not finished.

    Returns:
        Why some fine-tunings cannot be done.

    Raises:
        InputError: an encoder does not take an argument, or no fine-tuning can be done: the recipe is for no target, or for none of
            these.
    """
    for encoder, origin in dict.fromkeys((job.encoder, job.origin) for job in to_do if job.kind == "pretrain"):
        study.check_encoder(params, encoder, origin)
    unprepared = {job.target for job in to_do if job.kind == "prepare"}
    cells = [job.cell for job in jobs if job.cell]
    study.check_recipe(params, cells)
    refused = _refusals([cell for cell in cells if cell.target not in unprepared], partial(_check_alike, params))
    _refuse(cells, refused, refused)
    return refused


def check_models(params: Params, jobs: Sequence[Job], to_do: Sequence[Job], refused: Refusals) -> None:
    """Refuse encoders that cannot be built and decoders that do not fit, as `check_inputs` does; this may load PyTorch.

    Args:
        params: params of the jobs.
        jobs: all jobs of the study.
        to_do: those that are not finished.
        refused: what `check_inputs` returned.
    """
    to_train = {(job.encoder, job.origin) for job in to_do if job.kind == "pretrain"}
    cells = [job.cell for job in jobs if job.cell]
    left = [job.cell for job in to_do if job.cell and _alike(job.cell) not in refused]
    to_prepare = {job.target for job in to_do if job.kind == "prepare"}
    found = _refusals(left, partial(study.check_models, params, to_train=to_train, to_prepare=to_prepare, built={}))
    _refuse(cells, found, refused | found)


def _check_alike(params: Params, cells: Sequence[CellName]) -> None:
    """Refuse cells that are alike, as far as their targets are prepared and their checkpoints exist."""
    study.check_cells(params, cells)
    study.check_recorded_sizes(params, cells)


def _refuse(cells: Sequence[CellName], found: Refusals, known: Refusals) -> None:
    """Raise the first of the errors found if no cell can be fine-tuned by what is known, else warn of them."""
    if found and len(known) == len({_alike(cell) for cell in cells}):
        raise next(iter(found.values()))
    _warn(found)


def warn_of_refusals(params: Params, cells: Iterable[CellName]) -> None:
    """Say which cells cannot be fine-tuned on their prepared targets, and why."""
    _warn(_refusals(cells, partial(_check_alike, params)))


def _warn(refused: Refusals) -> None:
    for (encoder, target, mode), error in refused.items():
        log.warning("grid: no fine-tuning of %s on %s in the mode %s can be done: %s", encoder, target, mode, error)


def _alike(cell: CellName) -> tuple[str, str, str]:
    """Return what cells share that can all be fine-tuned, or none of them."""
    return cell.encoder, cell.target, cell.mode


def _refusals(cells: Iterable[CellName], check: Callable[[Sequence[CellName]], None]) -> Refusals:
    """Return why cells that are alike cannot be fine-tuned, as far as a check of them shows by now."""
    groups: dict[tuple[str, str, str], list[CellName]] = {}
    for cell in cells:
        groups.setdefault(_alike(cell), []).append(cell)
    refused = {}
    for names, group in groups.items():
        try:
            check(group)
        except InputError as error:
            refused[names] = error
    return refused


def is_left_out(params: Params, job: Any) -> bool:
    """Return whether a fine-tuning's checkpoint does not exist since its pretraining stopped early."""
    if job.cell is None or params.pretrain.stop_on is None:
        return False
    return not checkpoint_path(series_folder(Path(params.pretrain.out), job.encoder, job.origin), job.cell.epoch).exists()
