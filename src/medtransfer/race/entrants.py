"""Entrants of a race: checkpoints of ours, and which of them a ranking leaves in."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtransfer import study
from medtransfer.analysis.pruning import Pruning, left_in
from medtransfer.config import Params
from medtransfer.config.loaded_files import repeated_options
from medtransfer.errors import InputError
from medtransfer.indicators.registry import INDICATORS
from medtransfer.metrics.ties import rounded
from medtransfer.rank.candidates import Candidate, read_candidates
from medtransfer.rank.imports import how_to_import
from medtransfer.records import CellName, CheckpointInfo, series_folder
from medtransfer.records.json import parse_json
from medtransfer.records.lineage import are_random


@dataclass(frozen=True)
class Entrant:
    """A checkpoint that takes part.

    Attributes:
        name: unique within a race.
        encoder: encoder of the checkpoint.
        origin: its origin.
        epoch: its epoch of pretraining.
        weights: SHA-256 of its weights.
        continues: whether its pretraining continues from other weights, which are its epoch 0.
    """

    name: str
    encoder: str
    origin: str
    epoch: int
    weights: str
    continues: bool = False

    @property
    def is_random(self) -> bool:
        """Whether nothing was learned yet."""
        return self.epoch == 0 and not self.continues

    def cell(self, target: str, mode: str, seed: int, portion: Mapping[str, Any]) -> CellName:
        """Return the fine-tuning from this checkpoint; `portion` as of `one_portion`."""
        return CellName(target, self.encoder, self.origin, self.epoch, mode, seed, **portion)


def read_entrants(texts: Sequence[str], params: Params) -> list[Entrant]:
    """Read what the user named, as `rank` does; without names, the checkpoints of the study.

    Raises:
        InputError: a name is wrong, names no checkpoint of ours, or a checkpoint is not where fine-tuning looks for it.
    """
    out = Path(params.pretrain.out)
    texts = texts or [str(series_folder(out, *names)) for names in study.study_series(params, {})]
    return [_entrant(candidate, out) for candidate in read_candidates(texts, params)]


def _entrant(candidate: Candidate, out: Path) -> Entrant:
    if candidate.kind != "checkpoint":
        raise InputError(
            f"expected checkpoints of ours to fine-tune, but the candidate {candidate.name} is none; import it: "
            f"{how_to_import(candidate.kind)}"
        )
    info = CheckpointInfo.read(Path(candidate.file))
    home = series_folder(out, info.encoder, info.origin)
    if Path(candidate.series).resolve() != home.resolve():
        raise InputError(
            f"expected the checkpoint {candidate.file} in {home}, where fine-tuning looks for it; move its folder there, or set "
            "pretrain.out"
        )
    return Entrant(candidate.name, info.encoder, info.origin, info.epoch, info.weights, not are_random(info.parents))


@dataclass(frozen=True)
class Pruned:
    """What a ranking left out before the first rung.

    Attributes:
        by: indicator that decided.
        names: those that were pruned, the best first.
        kept: number of those that were not.
        so_far: how often it would have pruned the winner in the rankings of the store; None where no outcomes are known.
    """

    by: str
    names: tuple[str, ...]
    kept: int
    so_far: Pruning | None = None


def prune(
    entrants: Sequence[Entrant], ranking: Path, target: str, mode: str, eta: int, named: Sequence[str] = ()
) -> tuple[list[Entrant], Pruned]:  # fmt: skip
    """Leave in the best ceil(n / eta) by the indicator of a ranking, and all that it cannot distinguish from its best.

    Args:
        entrants: all entrants.
        ranking: `ranking.json` of `medtransfer rank`.
        target: name of the target that it must be of.
        mode: mode of transfer that it must be of.
        eta: factor of the race.
        named: how the user named the entrants, for messages; empty where they are those of the study.

    Raises:
        InputError: there is no ranking, or it is of another target or of other checkpoints, or it prefers nothing.
    """
    again = f"run `medtransfer rank --target {target}{_options(named)}` with the same candidates first"
    summary = _read(ranking, target, mode, again)
    by, names = summary["by"], {row["candidate"]: row["weights"] for row in summary["candidates"]}
    scores = {names[row["candidate"]]: row for row in summary["scores"] if row["indicator"] == by}
    if missing := [entrant.name for entrant in entrants if entrant.weights not in scores]:
        raise InputError(
            f"expected the weights of {missing[0]} in the ranking {ranking}, but they are not ({len(missing)} such); imported "
            f"weights are ranked by the name of their checkpoint: {again}"
        )
    rows = [scores[entrant.weights] for entrant in entrants]
    sign = 1 if INDICATORS[by].higher_is_better else -1
    values = [float("nan") if row["value"] is None else sign * row["value"] for row in rows]
    stay = left_in(values, eta, [index for index, row in enumerate(rows) if row["indistinguishable"]])
    order = sorted((index for index in range(len(rows)) if index not in stay), key=lambda index: -rounded(values[index]))
    left = [entrant for index, entrant in enumerate(entrants) if index in stay]
    return left, Pruned(by, tuple(entrants[index].name for index in order), len(left))


def _read(path: Path, target: str, mode: str, again: str) -> dict[str, Any]:
    """Read a ranking, and check that it says something about this race."""
    if not path.is_file():
        raise InputError(f"expected a ranking in {path} for race.start_from, but it does not exist; {again}")
    try:
        summary = parse_json(path.read_text(encoding="utf-8"))
        of, by = (summary["target"], summary["mode"]), summary["by"]
        _ = [(row["candidate"], row["weights"]) for row in summary["candidates"]]
        _ = [(row["candidate"], row["indicator"], row["value"], row["indistinguishable"]) for row in summary["scores"]]
    except (ValueError, KeyError, TypeError, json.JSONDecodeError):
        raise InputError(f"expected a ranking in {path}, but it is damaged; {again}") from None
    if of != (target, mode):
        raise InputError(f"expected a ranking on {target} for the mode {mode} in {path}, but it is of {of[0]}, {of[1]}; {again}")
    if by not in INDICATORS:
        raise InputError(
            f"expected a ranking by an indicator with labels in {path}, but it prefers nothing, as without masks; set "
            "race.start_from to null"
        )
    return dict(summary)


def _options(named: Sequence[str]) -> str:
    """Return the options of a command on the same candidates with the same params, each after a blank."""
    candidates = f" --candidates {' '.join(map(shlex.quote, named))}" if named else ""
    return f"{candidates}{repeated_options()}"
