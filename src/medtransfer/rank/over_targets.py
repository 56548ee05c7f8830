"""Judge each way of choosing a candidate over the targets of a study."""

from collections.abc import Sequence

import numpy as np

from medtransfer.analysis.pruning import Pruning, over_pools
from medtransfer.analysis.ranking import null_spread
from medtransfer.rank.judged import Judgement, judge
from medtransfer.rank.ranking import Ranking
from medtransfer.rank.tables import Row


def over_targets(rankings: Sequence[Ranking]) -> list[Row]:
    """Return one row per way of choosing, the best mean TIS first; empty where no target has enough outcomes.

    A way counts on the targets where it compares all candidates. Kendall's null spread is that of one target: the rankings of the
    same candidates on several targets are not independent.

    Args:
        rankings: of the same candidates, one per target.
    """
    judged: dict[str, list[Judgement]] = {}
    for ranking in rankings:
        for judgement in judge(ranking):
            judged.setdefault(judgement.way, []).append(judgement)
    return sorted((_row(way, group) for way, group in judged.items()), key=lambda row: (-row["targets"], -row["tis"]))


def prunings(rankings: Sequence[Ranking], with_set: bool) -> tuple[Pruning, ...]:
    """Return what pruning by each indicator would have left in, over the targets with enough outcomes.

    Args:
        rankings: of the same candidates, one per target.
        with_set: whether those stay that an indicator cannot distinguish from its best, as before a race.
    """
    judged = [(ranking, rows) for ranking in rankings if (rows := judge(ranking))]
    if not judged:
        return ()
    cuts = [{one.way: cut for one in rows if (cut := one.pruned if with_set else one.cut)} for _, rows in judged]
    return over_pools(cuts, {"target": [ranking.target for ranking, _ in judged]}, judged[0][0].confidence)


def _row(way: str, group: Sequence[Judgement]) -> Row:
    tis = np.array([one.tis for one in group])
    correlations = [one.kendall for one in group if np.isfinite(one.kendall)]
    error = float(tis.std(ddof=1) / np.sqrt(len(tis))) if len(tis) > 1 else None
    return {
        "way of choosing": way, "targets": len(group), "tis": float(tis.mean()), "tis_se": error, "lowest_tis": float(tis.min()),
        "regret": float(np.mean([one.regret for one in group])),
        "kendall": float(np.mean(correlations)) if correlations else None,
        "null_sd": null_spread(min(one.ranked for one in group)) if correlations else None,
    }  # fmt: skip
