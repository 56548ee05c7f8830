"""Jobs of a study: which there are, which each waits for, and how to do one."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from medtransfer import study
from medtransfer.config import Params
from medtransfer.records import CellName, checkpoint_path, series_folder


@dataclass(frozen=True)
class Job:
    """One piece of a study that one worker does.

    Attributes:
        kind: `prepare`, `pretrain`, `score` or `finetune`: the command that does it.
        target: that it works on; empty for a pretraining.
        encoder: whose checkpoints it makes or takes; empty for a preparation.
        origin: likewise.
        cell: that it fine-tunes; None for every other kind.
    """

    kind: str
    target: str = ""
    encoder: str = ""
    origin: str = ""
    cell: CellName | None = None

    @classmethod
    def of(cls, cell: CellName) -> "Job":
        """Return the job that fine-tunes a cell."""
        return cls("finetune", cell.target, cell.encoder, cell.origin, cell)

    @property
    def name(self) -> str:
        """What people call it."""
        words = [self.target, self.encoder, self.origin]
        return f"{self.kind} {self.cell.name if self.cell else '-'.join(word for word in words if word)}"

    @property
    def needs(self) -> "frozenset[Job]":
        """The jobs that come before it."""
        if self.kind in {"prepare", "pretrain"}:
            return frozenset()
        return frozenset({Job("prepare", self.target), Job("pretrain", encoder=self.encoder, origin=self.origin)})


def plan(params: Params) -> list[Job]:
    """List the jobs of the study, each after those that it needs.

    A pretraining that stops early on a target needs that target, too: it makes it itself where it is a generated one.
    """
    wanted = params.study
    series = list(product(wanted.encoders, wanted.origins))
    planned = params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"stop_on": None})})
    cells = study.study_cells(planned, {})
    return list(
        dict.fromkeys(
            [
                *(Job("prepare", target) for target in wanted.targets),
                *(Job("pretrain", encoder=encoder, origin=origin) for encoder, origin in series),
                *(Job("score", target, *names) for names, target in product(series, wanted.targets)),
                *(Job.of(cell) for cell in cells),
            ]
        )
    )


def is_left_out(params: Params, job: Job) -> bool:
    """Whether a finished pretraining that stopped early has no checkpoint for a fine-tuning."""
    if job.cell is None or params.pretrain.stop_on is None:
        return False
    return not checkpoint_path(series_folder(Path(params.pretrain.out), job.encoder, job.origin), job.cell.epoch).exists()


def do(params: Params, job: Job) -> None:
    """Do one job in this process, or reuse what is finished."""
    if job.cell:
        study.finetune(params, [job.cell])
        return
    names = {name: value for name in ("target", "encoder", "origin") if (value := getattr(job, name))}
    steps: dict[str, Callable[[Params], object]] = {
        "prepare": study.prepare, "pretrain": study.pretrain_apart, "score": study.score,
    }  # fmt: skip
    steps[job.kind](study.with_values(params, job.kind, **names))
