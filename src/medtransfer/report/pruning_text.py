"""What pruning candidates by an indicator would have cost: rows of tables, and sentences."""

from collections.abc import Sequence
from typing import Any

from medtransfer.analysis.pruning import Pruning
from medtransfer.report.format import between, percent
from medtransfer.selectors.score_names import score_label

HEADING = "If each indicator had pruned first"
Row = dict[str, Any]


def csv_rows(prunings: Sequence[Pruning]) -> list[Row]:
    """Return one row per indicator, with all that is known."""
    return [
        {
            "indicator": one.indicator, "pools": one.pools, "lost": one.lost, "lost_low": one.interval[0],
            "lost_high": one.interval[1], "blind_loss": one.blind_loss, "tis": one.tis, "min_tis": one.worst,
            "blind_tis": one.blind_tis, "left": one.left,
        }
        for one in prunings
    ]  # fmt: skip


def table_rows(prunings: Sequence[Pruning]) -> list[Row]:
    """Return one row per indicator, for people."""
    return [
        {
            "indicator": score_label(one.indicator), "loses the winner": f"{one.lost} of {one.pools}",
            "as a share": one.lost / one.pools, "interval": between(one.interval), "a blind draw": one.blind_loss,
            "TIS of the best left": one.tis, "worst": one.worst, "in a blind draw": one.blind_tis, "left": percent(one.left),
        }
        for one in prunings
    ]  # fmt: skip


def explain(eta: int, metric: str) -> str:
    """Say how the table came about, with the factor of the race and the label of the metric."""
    return (
        f"Before any fine-tuning an indicator leaves in the best ceil(n / {eta}) of a configuration's n checkpoints "
        f"(race.eta), those that tie with the last of them, and those that it is not defined for. The winner is the checkpoint of "
        f"the best mean {metric}; where it is pruned, TIS is that of the best that is left. Beside it is a blind draw of as many. "
        "Latest epochs: those that were pretrained longest, without any indicator. With few seeds the winner is partly noise. "
        "Configurations of one pretraining, or of one target, are not independent: the interval (Clopper–Pearson) counts "
        "pretrainings, or targets, as if all configurations of one agreed. It is not corrected for the number of indicators."
    )


def sentence(one: Pruning, what: str) -> str:
    """Say in a sentence how often an indicator would have pruned the winner, over `what`, such as targets."""
    return (
        f"{score_label(one.indicator)} would have pruned the later winner in {one.lost} of {one.pools} {what} "
        f"(interval of the share {between(one.interval)}; a blind draw of as many {one.blind_loss:.3f}); the best that it left in "
        f"kept a mean TIS of {one.tis:.3f}, {one.worst:.3f} at worst (a blind draw {one.blind_tis:.3f})."
    )
