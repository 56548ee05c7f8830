"""A score run's per-image distances, or a list of released scores, go in; robustness by setting, epoch and margin comes out."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medtransfer import tracking
from medtransfer.analysis.pools import Pool
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.indicators.robustness.pairs import Pairs, read_pairs
from medtransfer.indicators.robustness.triplet import SortedGaps
from medtransfer.records import BROKEN_ARRAYS, checkpoint_path, in_one_line
from medtransfer.search.evaluate import Curve, Key, Listed

GROUP = ("encoder", "origin", "target")


@dataclass(frozen=True)
class Scored:
    """The scores of one pretraining on one target.

    Attributes:
        curves: robustness by key and epoch.
        digests: of the numbers behind the curves, by key.
        pairs: (distance, level) that every epoch was scored at, pooled and flattened.
        margins: the only ones, None where every margin can be computed.
    """

    curves: Mapping[Key, Mapping[int, Curve]]
    digests: Mapping[Key, str]
    pairs: frozenset[tuple[str, int]]
    margins: frozenset[float] | None


def read_run(configuration: Pool, wanted: Collection[tuple[str, int]]) -> Scored:
    """Read the distances of a configuration's score run.

    Args:
        configuration: whose epochs with a score are read.
        wanted: (distance, level) to keep; of the others only the names are kept.

    Raises:
        InputError: a file is missing or broken.
    """
    gaps: dict[Key, dict[int, SortedGaps]] = defaultdict(dict)
    there: list[set[Key]] = []
    with tracking.artifact_folder(configuration.score_run, "scores") as folder:
        for epoch in map(int, sorted(configuration.robustness)):
            pairs = _read_epoch(folder, epoch, configuration)
            there.append(set(pairs.d_pos))
            for key in (key for key in pairs.d_pos if key[:2] in wanted):
                gaps[key][epoch] = SortedGaps(pairs.d_pos[key], pairs.d_neg[key])
    return Scored(dict(gaps), {key: _fingerprint(found) for key, found in gaps.items()}, _whole(set.intersection(*there)), None)


def _read_epoch(folder: Path, epoch: int, configuration: Pool) -> Pairs:
    path = checkpoint_path(folder, epoch).with_suffix(".npz")
    try:
        return read_pairs(path)
    except BROKEN_ARRAYS as fault:
        raise InputError(
            f"expected the per-image distances of {configuration.name}, epoch {epoch}, as the artifact scores/{path.name} of the "
            f"run {configuration.score_run}, but they cannot be read ({in_one_line(fault)}); "
            "make them again with `medtransfer score --force`"
        ) from None


def _fingerprint(found: Mapping[int, SortedGaps]) -> str:
    whole = hashlib.sha256()
    for epoch, one in sorted(found.items()):
        whole.update(f"{epoch}:{len(one.gaps)}:".encode() + one.gaps.tobytes())
    return whole.hexdigest()[:16]


def _whole(keys: Collection[Key]) -> frozenset[tuple[str, int]]:
    return frozenset((distance, level) for distance, level, pooled in keys if (distance, level, not pooled) in keys)


def listed(scores: pd.DataFrame) -> dict[tuple[str, ...], Scored]:
    """Sort released scores by encoder, origin and target.

    Args:
        scores: a line a score, with these three and distance, margin, level, pooled, epoch, robustness.
    """
    return {group: _listed_group(found) for group, found in scores.groupby(list(GROUP))}


def _listed_group(scores: pd.DataFrame) -> Scored:
    values: dict[Key, dict[int, dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    columns = scores[["distance", "level", "pooled", "epoch", "margin", "robustness"]]
    for distance, level, pooled, epoch, margin, robustness in columns.itertuples(index=False, name=None):
        values[str(distance), int(level), bool(pooled)][int(epoch)][float(margin)] = float(robustness)
    epochs = {epoch for by_epoch in values.values() for epoch in by_epoch}
    margins = [set(by_margin) for by_epoch in values.values() for by_margin in by_epoch.values()]
    return Scored(
        {key: {epoch: Listed(by_margin) for epoch, by_margin in by_epoch.items()} for key, by_epoch in values.items()},
        {key: digest([[epoch, sorted(found.items())] for epoch, found in sorted(values[key].items())], 16) for key in values},
        _whole({key for key, by_epoch in values.items() if set(by_epoch) == epochs}),
        frozenset(set.intersection(*margins)),
    )
