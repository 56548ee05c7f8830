"""Maps of features that `medtransfer rank` drew of the candidates of a report, read from the tracking store."""

from collections import defaultdict
from collections.abc import Sequence

from medtransfer import tracking
from medtransfer.analysis.pool import Pool
from medtransfer.errors import InputError
from medtransfer.records.feature_map import FeatureMap

FEATURE_MAP = "feature_map"  # tag of a ranked candidate's run: the name of its map among the artifacts
MOST = 12  # maps of a target


def read_maps(pools: Sequence[Pool]) -> dict[str, dict[str, FeatureMap]]:
    """Read the maps of the weights that were fine-tuned, of each pretraining the latest checkpoint that has one.

    Args:
        pools: pools of the report.

    Returns:
        By target the maps by the name of the candidate, at most MOST of a target; targets without any are left out.
    """
    targets = {(pool.fields["target"], pool.digests["data"]) for pool in pools}
    ranked = tracking.read_runs("rank", only=("target", "data", "weights", "candidate", FEATURE_MAP))  # newest first
    drawn = [run for run in ranked if FEATURE_MAP in run.tags and (run.params["target"], run.params["data"]) in targets]
    if not drawn:
        return {}
    wanted = {run for pool in pools for run in pool.fine_tunings.values()}
    fine_tuned = tracking.read_runs("finetune", only=("target", "data", "weights", "encoder", "origin", "epoch"))
    weights = {(run.params["data"], run.params["weights"]): run.params for run in fine_tuned if run.id in wanted}
    latest = dict[tuple[str, str, str], tuple[int, tracking.StoredRun]]()
    for run in drawn:
        params = weights.get((run.params["data"], run.params["weights"]))
        if params is not None:
            series, epoch = (run.params["target"], params["encoder"], params["origin"]), int(params["epoch"])
            if series not in latest or epoch > latest[series][0]:
                latest[series] = (epoch, run)
    maps: dict[str, dict[str, FeatureMap]] = defaultdict(dict)
    for (target, *_), (_, run) in sorted(latest.items(), key=lambda item: item[0]):
        if len(maps[target]) < MOST and (drawn_map := _fetch(run)) is not None:
            maps[target][run.params["candidate"]] = drawn_map
    return {target: by_name for target, by_name in maps.items() if by_name}


def _fetch(run: tracking.StoredRun) -> FeatureMap | None:
    """Return the map of a run; None if its artifact is gone."""
    try:
        with tracking.artifact_folder(run.id, run.tags[FEATURE_MAP]) as path:
            return FeatureMap.read(path)
    except InputError:
        return None
