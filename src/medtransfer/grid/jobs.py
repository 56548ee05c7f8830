"""Params go in; the jobs of a study come out, each with the jobs that it waits for; and one job is done here."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from medtransfer import study
from medtransfer.config import Params
from medtransfer.records import checkpoint_path, series_folder

CELL_FIELDS = ("target", "encoder", "origin", "epoch", "mode", "seed")


@dataclass(frozen=True)
class Job:
    """One piece of a study that one worker does.

    Attributes:
        kind: `prepare`, `pretrain`, `score` or `finetune`: the command that does it.
        target: that it works on; empty for a pretraining.
        encoder: whose checkpoints it makes or takes; empty for a preparation.
        origin: likewise.
        epoch: of the checkpoint, mode and seed: of a fine-tuning only.
    """

    kind: str
    target: str = ""
    encoder: str = ""
    origin: str = ""
    epoch: int = -1
    mode: str = ""
    seed: int = -1

    @property
    def name(self) -> str:
        """Give what people call it."""
        words = [self.target, self.encoder, self.origin]
        if self.kind == "finetune":
            words += [f"e{self.epoch:03d}", self.mode, f"s{self.seed}"]
        return f"{self.kind} {'-'.join(word for word in words if word)}"

    @property
    def needs(self) -> "frozenset[Job]":
        """Give the jobs that come before it."""
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
                *(Job("score", target, *one) for one, target in product(series, wanted.targets)),
                *(Job("finetune", *(getattr(cell, name) for name in CELL_FIELDS)) for cell in cells),
            ]
        )
    )


def is_left_out(params: Params, job: Job) -> bool:
    """Tell whether a pretraining that stopped early left out the checkpoint of a fine-tuning; ask when it is done."""
    if job.kind != "finetune" or params.pretrain.stop_on is None:
        return False
    return not checkpoint_path(series_folder(Path(params.pretrain.out), job.encoder, job.origin), job.epoch).exists()


def do(params: Params, job: Job) -> None:
    """Do one job in this process, or reuse what is finished."""
    from medtransfer.finetune.stage import Wanted

    names = {name: value for name in ("target", "encoder", "origin") if (value := getattr(job, name))}
    if job.kind == "finetune":
        study.finetune(params, [Wanted(*(getattr(job, name) for name in CELL_FIELDS))])
        return
    steps: dict[str, Callable[[Params], object]] = {
        "prepare": study.prepare, "pretrain": study.pretrain_apart, "score": study.score,
    }  # fmt: skip
    steps[job.kind](study.with_values(params, job.kind, **names))
