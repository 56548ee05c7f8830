"""Comparisons of encoders by linear CKA on the targets of a report, read from the tracking store."""

from collections import defaultdict
from collections.abc import Sequence

from medtransfer import tracking
from medtransfer.analysis.pool import Pool
from medtransfer.errors import InputError
from medtransfer.records.similarity import Similarity

SIMILARITY = "similarity"  # tag of the run of a comparison: the name of its record among the artifacts
MOST = 4  # comparisons of a target


def read_similarities(pools: Sequence[Pool]) -> dict[str, list[Similarity]]:
    """Read the comparisons on the images of the pools' targets.

    Args:
        pools: pools of the report.

    Returns:
        By target the newest comparisons, at most MOST, newest first; targets without any are left out.
    """
    targets = {(pool.fields["target"], pool.digests["data"]) for pool in pools}
    compared: dict[str, list[Similarity]] = defaultdict(list)
    for run in tracking.read_runs("cka", only=("target", "data", SIMILARITY)):  # newest first
        target = run.params["target"]
        if (target, run.params["data"]) not in targets or len(compared[target]) == MOST:
            continue
        if SIMILARITY in run.tags and (similarity := _fetch(run)) is not None:
            compared[target].append(similarity)
    return {target: compared[target] for target in sorted(compared) if compared[target]}


def _fetch(run: tracking.StoredRun) -> Similarity | None:
    """Return the record of a run; None if its artifact is gone."""
    try:
        with tracking.artifact_folder(run.id, run.tags[SIMILARITY]) as path:
            return Similarity.read(path)
    except InputError:
        return None
