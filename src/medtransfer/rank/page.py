"""HTML page of a ranking."""

from inspect import getdoc
from typing import Any

import numpy as np
from markupsafe import Markup

from medtransfer.indicators.flags import in_words
from medtransfer.indicators.registry import INDICATORS
from medtransfer.rank import plots
from medtransfer.rank.ranking import Ranking
from medtransfer.rank.tables import (
    baseline_rows,
    best_text,
    best_words_by,
    judged_rows,
    outcome_of,
    pruned_rows,
    rank_text,
    with_headings,
)
from medtransfer.rank.verdict import verdict
from medtransfer.report import feature_maps, html, pruning_text
from medtransfer.report.format import share
from medtransfer.selectors.score_names import INDICATOR_NAMES, score_label

TITLE = "Which encoder to start from"
NOT_DEFINED = Markup("–")
LONG = 32  # letters of a name that fit beside the columns


def render(ranking: Ranking) -> str:
    """Render the page."""
    first, *others = verdict(ranking)
    body = [
        Markup('<p class="verdict">{}</p>').format(html.with_code(first)),
        *(Markup("<p>{}</p>").format(html.with_code(line)) for line in others),
        Markup("<h2>The candidates</h2>"), _table(ranking),
        html.note(_explain(ranking)),
        html.table(baseline_rows(ranking), "What needs no indicator", left=("baseline", "takes"), wrapped=("takes",)),
        Markup("<h2>Every indicator</h2>"), _panels(ranking),
        html.note(
            "Filled: not distinguished from the best by this indicator. Squares: random weights. The best are to the right."
            f"{_first_of(ranking)}"
        ),
        *_agreement(ranking), *_maps(ranking), *_judged(ranking),
        Markup("<h2>Everything else</h2>"), *_folded(ranking),
    ]  # fmt: skip
    return html.document(f"{TITLE}: {ranking.target}", Markup("\n").join(body))


def _explain(ranking: Ranking) -> str:
    text = f"Ranks: 1 is the best. Robustness is that of the mode of transfer {ranking.mode}."
    if not ranking.decides:
        return text
    return (
        f"{text} Intervals cover about {share(ranking.confidence)} and come from leaving out blocks of patients, the same for "
        "every candidate. Those that may be the best, “maybe”, cannot be distinguished from it (“likely”: it is the only one): no "
        "other candidate is better by a one-sided test of their difference, corrected for the number of candidates. So one that "
        "varies much from patient to patient may stay in question below one that does not."
    )


def _table(ranking: Ranking) -> Markup:
    cells, rows = _verdict_cells(ranking), []
    for index in ranking.order:
        candidate = ranking.candidates[index]
        row: dict[str, Any] = {"candidate": candidate.name, "stride": candidate.stride, "channels": candidate.width}
        row["source accuracy"] = candidate.source_text
        row |= cells[index] if cells else {}
        row |= {score_label(name): rank_text(ranking, name, index) for name in ranking.indicators if name != ranking.by}
        rows.append(row)
    caption = "Ranks by indicator" + (f", in the order of {score_label(ranking.by)}" if ranking.by else "")
    return html.table(rows, caption, wrapped=_wrapped(ranking))


def _wrapped(ranking: Ranking, *others: str) -> tuple[str, ...]:
    """Return the columns that are wrapped: the names of candidates where one is long, and others."""
    return ("candidate", *others) if any(len(candidate.name) > LONG for candidate in ranking.candidates) else others


def _verdict_cells(ranking: Ranking) -> list[dict[str, Any]]:
    """Return the columns of the verdict's indicator for each candidate; empty where there is none."""
    if ranking.by is None:
        return []
    standing, values, words = ranking.standings[ranking.by], ranking.values(ranking.by), best_words_by(ranking)
    limits = np.stack([standing.low, standing.high, values])  # (3, C)
    bounds = limits[np.isfinite(limits)]
    cells = []
    for index, value in enumerate(values.tolist()):
        interval = (float(standing.low[index]), float(standing.high[index]))
        whisker: Any = NOT_DEFINED
        if np.isfinite(value):
            known = interval if np.isfinite(interval).all() else None
            whisker = html.whisker(value, known, float(bounds.min()), float(bounds.max()))
        cells.append({
            score_label(ranking.by): value, "interval": whisker, "P(best)": best_text(standing, index), "best?": words[index],
        })  # fmt: skip
    return cells


def _panels(ranking: Ranking) -> Markup:
    figures = [
        html.figure(plots.panel(ranking, name), score_label(name), _compared(ranking, name)) for name in ranking.indicators
    ]  # fmt: skip
    return Markup('<div class="panels">{}</div>').format(Markup("").join(figures))


def _first_of(ranking: Ranking) -> str:
    """Say how many candidates are drawn, if not all are."""
    count = len(ranking.candidates)
    return f" Drawn are the first {plots.MOST} of {count:,} candidates; ranking.csv has all." if count > plots.MOST else ""


def _compared(ranking: Ranking, name: str) -> str:
    if not ranking.is_comparable(name):
        return "compares only levels of the same number of channels"
    return "" if INDICATORS[name].higher_is_better else "lower is better"


def _agreement(ranking: Ranking) -> list[Markup]:
    names = list(dict.fromkeys(name for pair in ranking.agreements for name in pair))
    if len(names) < 2:
        return []
    spread = f"Kendall’s tau; unrelated rankings of {len(ranking.candidates)} candidates: 0 ± {ranking.null_spread:.2f}"
    picture = Markup('<div style="max-width:{}px">{}</div>').format(
        plots.NAMES + plots.CELL * (len(names) + 1), plots.matrix(ranking, names)
    )
    return [Markup("<h2>How far the indicators agree</h2>"), html.note(spread), picture]


def _maps(ranking: Ranking) -> list[Markup]:
    """Show the features of every candidate in the plane."""
    if not ranking.maps:
        return []
    heading = Markup("<h2>{}</h2>").format(feature_maps.HEADING)
    ordered = [ranking.candidates[index].name for index in ranking.order]
    maps = {name: ranking.maps[name] for name in ordered if name in ranking.maps}
    return [heading, feature_maps.show(maps), html.note(feature_maps.CAUTION)]


def _judged(ranking: Ranking) -> list[Markup]:
    rows = judged_rows(ranking)
    if not rows:
        return []
    text = (
        f"The store or imported evidence knows what fine-tuning {rows[0]['candidates']} of these candidates on this target gave "
        f"({rows[0]['seeds']} seeds or more; {outcome_of(ranking)}). TIS: outcome of the chosen candidate, as a fraction of the "
        "best one's. Kendall: with the outcome, beside its standard "
        "deviation for unrelated rankings. On the target that is judged this is hindsight."
    )
    return [
        Markup("<h2>What fine-tuning says</h2>"), html.table(with_headings(rows), left=("takes",), wrapped=("takes",)),
        html.note(text), *_pruned(ranking),
    ]  # fmt: skip


def _pruned(ranking: Ranking) -> list[Markup]:
    share = f"its best ceil(n / {ranking.eta}) of n candidates"
    rows = [
        {
            "indicator": row["indicator"], "leaves in": f"{row['left']} of {row['candidates']}", "loses the winner": row["lost"],
            "a blind draw": row["blind_loss"], "TIS of the best left": row["tis"], "in a blind draw": row["blind_tis"],
            "with_set": row["with_set"],
        }
        for row in pruned_rows(ranking)
    ]  # fmt: skip
    with_set, alone = (
        html.table([{name: cell for name, cell in row.items() if name != "with_set"} for row in rows if row["with_set"] == kind])
        for kind in (True, False)
    )
    note = "The winner is the candidate of the best mean outcome. Beside each value is a blind draw of as many candidates."
    return [
        Markup("<h3>{}</h3>").format(pruning_text.HEADING),
        html.note(f"To {share} and all that it cannot distinguish from its best, as before a race. {note}"), with_set,
        html.details(f"To {share} alone", alone),
    ]  # fmt: skip


def _folded(ranking: Ranking) -> list[Markup]:
    flags = [
        {"candidate": candidate.name, "indicator": score_label(name), "remark": in_words(ranking.rows[name][index].flags)}
        for index, candidate in enumerate(ranking.candidates) for name in ranking.indicators
        if ranking.rows[name][index].flags
    ]  # fmt: skip
    notes = list(dict.fromkeys(f"{name}: {note}" for c in ranking.candidates for name, notes in c.notes.items() for note in notes))
    loaded = [
        {
            "candidate": c.name, "loaded": c.audit, "expects": f"{c.input['size']} px, mean {_three(c.input['mean'])}, std "
            f"{_three(c.input['std'])}, {c.input['channels']}",
        }
        for c in ranking.candidates
    ]  # fmt: skip
    cost = [
        {"candidate": c.name, "seconds": c.seconds, "of these in the encoder": c.forward_seconds, "peak memory (MiB)": c.memory}
        for c in ranking.candidates
    ]  # fmt: skip
    left_out = html.bullets([f"{name}: {reason}" for name, reason in ranking.left_out.items()])
    meanings = {score_label(name): _meaning(name) for name in ranking.indicators}
    parts = [
        ("Left out", left_out),
        ("Remarks on values", html.table(flags, left=("indicator",), wrapped=_wrapped(ranking, "remark")) + html.bullets(notes)),
        ("Weights and input contracts", html.table(loaded, wrapped=_wrapped(ranking, "loaded", "expects"))),
        ("Time and memory", html.table(cost, wrapped=_wrapped(ranking))),
        ("What the indicators measure", html.definitions(meanings)),
    ]  # fmt: skip
    return [html.details(summary, body) for summary, body in parts if body]


def _meaning(name: str) -> str:
    if name not in INDICATOR_NAMES:
        return (getdoc(INDICATORS[name]) or "").split("\n")[0]
    return f"best for the encoder {INDICATOR_NAMES[name].prefers}"


def _three(values: list[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
