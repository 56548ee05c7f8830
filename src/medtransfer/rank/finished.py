"""Whether a ranking is finished: what it was made of has not changed, and its files and runs are there."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer import tracking
from medtransfer.config import Params
from medtransfer.config.loaded_files import repeated_options
from medtransfer.environment import code_digest
from medtransfer.errors import InputError
from medtransfer.finetune.protocol import Protocol
from medtransfer.hashing import digest, without
from medtransfer.indicators.registry import ALL, INDICATORS
from medtransfer.rank.candidates import Candidate
from medtransfer.rank.identity import head_digest, identify
from medtransfer.rank.settings import scoring
from medtransfer.records.finished import read_finished, write_finished
from medtransfer.records.ranked import RankedCandidate

if TYPE_CHECKING:
    from medtransfer.rank.ranking import Ranking
    from medtransfer.records import TargetInfo
    from medtransfer.records.evidence import EvidenceRow

PAGE, TEXT = "ranking.html", "ranking.md"
CANDIDATES = "candidates"  # folder of their records, below that of the ranking
ADDED = {"sources": (), "continues": False}  # fields of a candidate that say nothing about others, in the names of their records
# Say where and how fast candidates are measured; what they are and how they are measured is digested.
NOT_IN_REQUEST = {"launcher", "workers", "candidates"}
NOT_IN_SCORES = {"target", "encoder", "origin", "out", "accelerator", "batch_size"}


def record_file(candidate: Candidate, out: Path) -> Path:
    """Return the file of a candidate's record, below the folder of the ranking."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", candidate.name)
    return out / CANDIDATES / f"{name}-{digest(without(asdict(candidate), ADDED), 6)}.json"


def count_unmeasured(params: Params, candidates: Sequence[Candidate], has_masks: bool) -> int:
    """Count the candidates whose records lack an indicator, as far as it shows without PyTorch.

    Whether the others are current is not asked. Without masks, an indicator that no record has is taken to need them.
    """
    measured = [_measured(record_file(candidate, Path(params.rank.out))) for candidate in candidates]
    asked = set(INDICATORS if ALL in params.rank.indicators else params.rank.indicators)
    if has_masks:
        asked.add(params.rank.by)
    elif any(measured):
        asked &= set().union(*measured)
    return sum(not names or not asked <= names for names in measured)


def _measured(file: Path) -> set[str]:
    try:
        return set(RankedCandidate.read(file).indicators)
    except InputError:  # missing, of another version or broken
        return set()


def request_of(
    params: Params, candidates: Sequence[Candidate], target: "TargetInfo", evidence: "Sequence[EvidenceRow]"
) -> str | None:  # fmt: skip
    """Return the digest of everything that the ranking and its words are made of; None if the weights of one are missing."""
    try:
        weights = [[identify(candidate, params.score.seed), head_digest(candidate)] for candidate in candidates]
    except InputError:  # its worker says so, and the others are measured
        return None
    report = params.report
    sections = [params.rank.model_dump(mode="json", exclude=NOT_IN_REQUEST)]
    sections += [scoring(params).model_dump(mode="json", exclude=NOT_IN_SCORES)]
    return digest([
        code_digest(), RankedCandidate.form(), sections, list(INDICATORS) if ALL in params.rank.indicators else [],
        [params.finetune.mode, Protocol.of(params.finetune).key, report.confidence, report.draws, report.seed, report.least],
        [params.race.eta, repeated_options()],
        [asdict(candidate) for candidate in candidates], weights, asdict(target), [asdict(row) for row in evidence],
    ])  # fmt: skip


def is_finished(out: Path, request: str | None) -> bool:
    """Return whether a folder holds the ranking of a request, as it was written, and the store its runs."""
    done = read_finished(out, request) if request else None
    return done is not None and set(done.cells) <= {run.tags[tracking.CELL] for run in tracking.read_runs("rank", only=())}


def finish(out: Path, request: str | None, ranking: "Ranking", files: Sequence[Path]) -> None:
    """Record that a ranking is finished, unless a candidate was left out, which the next ranking tries again."""
    if request is not None and not ranking.left_out:
        write_finished(out, request, [candidate.cell for candidate in ranking.candidates], files)
