"""Rows of the tables of a ranking, and its text for the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.analysis.history import History
from medtransfer.analysis.ranking import Standing, null_spread
from medtransfer.indicators.flags import in_words
from medtransfer.rank.judged import judge
from medtransfer.rank.ranking import Ranking
from medtransfer.rank.verdict import verdict
from medtransfer.records.tables import as_markdown
from medtransfer.report.format import MAYBE, best_words, between, probability_from_draws
from medtransfer.selectors.score_names import score_label

OTHER_RECIPE = "another recipe than that of the parameters"  # of the outcomes
Row = dict[str, Any]
HEADINGS = {  # for people, of columns that files name otherwise
    "tis": "TIS", "tis_se": "its standard error", "lowest_tis": "lowest TIS", "kendall": "Kendall", "null_sd": "sd by chance",
}  # fmt: skip


def score_rows(ranking: Ranking) -> list[Row]:
    """Return one row per candidate and indicator."""
    within = {name: not ranking.is_comparable(name) for name in ranking.indicators}
    return [
        {
            "candidate": candidate.name, "indicator": name, "value": _known(ranking.values(name)[index]),
            "low": _known(standing.low[index]), "high": _known(standing.high[index]), "rank": _known(standing.ranks[index]),
            "p_best": _known(standing.best[index]), "indistinguishable": bool(standing.kept[index]), "level": candidate.level,
            "width": candidate.width, "compared_within_width": within[name],
            "flags": in_words(ranking.rows[name][index].flags),
        }
        for index, candidate in enumerate(ranking.candidates) for name, standing in ranking.standings.items()
    ]  # fmt: skip


def candidate_rows(ranking: Ranking) -> list[Row]:
    """Return one row per candidate: what it is, how it was loaded, and what it cost."""
    return [
        {
            "candidate": candidate.name, "kind": candidate.kind, "build": candidate.build, "series": Path(candidate.series).name,
            "epoch": candidate.epoch, "source_accuracy": candidate.source_accuracy,
            "source_metric": None if candidate.source_accuracy is None else candidate.source_metric, "level": candidate.level,
            "stride": candidate.stride, "width": candidate.width, "size": candidate.input["size"],
            "mean": _numbers(candidate.input["mean"]), "std": _numbers(candidate.input["std"]),
            "weights": candidate.weights, "audit": candidate.audit, "images": candidate.images, "groups": candidate.groups,
            **_history(ranking, index),
            "seconds": candidate.seconds, "forward_seconds": candidate.forward_seconds, "memory_mib": candidate.memory,
        }
        for index, candidate in enumerate(ranking.candidates)
    ]  # fmt: skip


def overview_rows(ranking: Ranking) -> list[Row]:
    """Return one row per candidate in the order of the verdict: the value that it rests on, and the rank by every indicator."""
    rows, words = [], best_words_by(ranking)
    for index in ranking.order:
        candidate = ranking.candidates[index]
        row: Row = {"candidate": candidate.name, "stride": candidate.stride, "channels": candidate.width}
        row["source accuracy"] = candidate.source_text
        if ranking.by is not None:
            standing = ranking.standings[ranking.by]
            interval = (standing.low[index], standing.high[index])
            row |= {
                score_label(ranking.by): float(ranking.values(ranking.by)[index]),
                "interval": between(interval) if np.isfinite(interval).all() else "–",
                "P(best)": best_text(standing, index), "best?": words[index],
            }  # fmt: skip
        row |= {f"# {score_label(name)}": rank_text(ranking, name, index) for name in ranking.indicators if name != ranking.by}
        rows.append(row)
    return rows


def best_text(standing: Standing, index: int) -> str:
    """Return how probable it is that a candidate is the best; a dash where it is undefined."""
    return probability_from_draws(float(standing.best[index]))


def best_words_by(ranking: Ranking) -> list[str]:
    """Say of each candidate whether it is the best by the verdict's indicator; empty where there is none.

    A dash where it has no value or no interval, so that it is compared with none.
    """
    if ranking.by is None:
        return []
    standing = ranking.standings[ranking.by]
    known = np.isfinite(standing.low)
    return best_words([bool(kept) if defined else None for kept, defined in zip(standing.kept, known, strict=True)])


def rank_text(ranking: Ranking, name: str, index: int) -> str:
    """Return the rank of a candidate by an indicator, out of those that it is compared with; a dash where undefined."""
    rank = ranking.standings[name].ranks[index]
    if not np.isfinite(rank):
        return "–"
    widths = ranking.widths(name)
    compared = (widths == widths[index]) & np.isfinite(ranking.standings[name].ranks)
    return f"{rank:g}" if compared.sum() == len(ranking.candidates) else f"{rank:g} of {compared.sum()}"


def baseline_rows(ranking: Ranking) -> list[Row]:
    """Return one row per way of choosing without an indicator."""
    return [
        {"baseline": name, "takes": ", ".join(_taken(ranking, name, index) for index in chosen) or _none(ranking, name)}
        for name, chosen in ranking.baselines.items()
    ]  # fmt: skip


def _none(ranking: Ranking, name: str) -> str:
    """Say why a way of choosing takes no candidate."""
    known = name == "source accuracy" and any(candidate.source_accuracy is not None for candidate in ranking.candidates)
    return "– (known of a single one, or of several sources)" if known else "– (none known)"


def agreement_rows(ranking: Ranking) -> list[Row]:
    """Return one row per pair of indicators that rank the same candidates."""
    return [
        {"first": first, "second": second, "kendall": _known(tau), "candidates": count, "null_sd": _known(null_spread(count))}
        for (first, second), (tau, count) in ranking.agreements.items()
    ]  # fmt: skip


def judged_rows(ranking: Ranking) -> list[Row]:
    """Return one row per way of choosing: what fine-tuning gave from its choice; empty where too few outcomes are known."""
    return [
        {
            "way of choosing": one.way, "takes": ", ".join(one.takes[:3]) + (" …" if len(one.takes) > 3 else ""),
            "outcome": one.outcome, "tis": one.tis, "regret": one.regret, "kendall": _known(one.kendall),
            "null_sd": _known(null_spread(one.ranked)) if np.isfinite(one.kendall) else None, "candidates": one.candidates,
            "seeds": ranking.seeds,
        }
        for one in judge(ranking)
    ]  # fmt: skip


def with_headings(rows: Sequence[Row]) -> list[Row]:
    """Return rows of `judged_rows` with headings for people in place of the columns' names."""
    return [{HEADINGS.get(name, name): value for name, value in row.items()} for row in rows]


def pruned_rows(ranking: Ranking) -> list[Row]:
    """Return two rows per indicator: what pruning by it would have done, with and without the set of its best."""
    judged = judge(ranking)
    cuts = [(one.way, True, one.pruned) for one in judged] + [(one.way, False, one.cut) for one in judged]
    return [
        {
            "indicator": way, "with_set": with_set, "candidates": cut.candidates, "left": cut.left, "lost": cut.lost,
            "blind_loss": cut.blind_loss, "tis": cut.tis, "blind_tis": cut.blind_tis,
        }
        for way, with_set, cut in cuts if cut
    ]  # fmt: skip


def terminal(ranking: Ranking) -> str:
    """Format the text for the terminal: the verdict, one table, the baselines, and what was left out."""
    left_out = [f"Left out: {name}: {reason}" for name, reason in ranking.left_out.items()]
    cost = "; ".join(f"{c.name} {c.seconds:.1f} s, {c.memory:.0f} MiB" for c in ranking.candidates)
    rows = overview_rows(ranking)
    parts = [
        "\n".join(verdict(ranking)), as_markdown(rows), _explain(rows), as_markdown(baseline_rows(ranking)), *_judged(ranking),
        f"Cost: {cost}.", *left_out,
    ]  # fmt: skip
    return "\n\n".join(parts)


def _explain(rows: Sequence[Row]) -> str:
    """Explain the columns of `overview_rows`."""
    text = "A column with # has ranks, 1 is the best."
    if MAYBE not in [row.get("best?") for row in rows]:
        return text
    return (
        f"{text} “{MAYBE}”: no other candidate was shown to be better; its P(best) may be low, since the candidates share it and "
        "one that varies much is hard to rule out."
    )


def outcome_of(ranking: Ranking) -> str:
    """Return what the outcomes of fine-tuning are: metric and mode, and the recipe if it is another one than the params'."""
    return f"mean test {ranking.metric}, mode {ranking.mode}{f', by {OTHER_RECIPE}' if ranking.other_recipe else ''}"


def _judged(ranking: Ranking) -> list[str]:
    rows = [{name: value for name, value in row.items() if name != "takes"} for row in with_headings(judged_rows(ranking))]
    heading = f"What fine-tuning the same candidates on this target gave, {outcome_of(ranking)}:"
    return [f"{heading}\n\n{as_markdown(rows)}"] if rows else []


def _history(ranking: Ranking, index: int) -> Row:
    found = ranking.histories[index] if ranking.histories else History(None, 0, None)
    return {"history": found.value, "history_error": found.error, "history_targets": found.targets}


def _taken(ranking: Ranking, baseline: str, index: int) -> str:
    """Name a candidate that a baseline takes; of `history` with what the choice rests on."""
    name = ranking.candidates[index].name
    if baseline != "history":
        return name
    found = ranking.histories[index]
    error = "" if found.error is None else f" ± {found.error:.3f}"
    return f"{name} (mean TIS {found.value:.3f}{error} on {found.targets} other target{'' if found.targets == 1 else 's'})"


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
