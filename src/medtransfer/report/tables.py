"""Rows of all tables, and the report as Markdown."""

from collections.abc import Sequence
from math import isnan
from typing import Any

from medtransfer.analysis.model import Analysis, Candidate, Contrast, Judged, Summary, Verdict
from medtransfer.analysis.pool import Pool, fields_of
from medtransfer.records.checkpoint import SOURCE_ACCURACY
from medtransfer.records.tables import as_markdown
from medtransfer.report import data_notes, glossary, lineage_text, pruning_text, size_text, starts_text, verdict_text
from medtransfer.report.format import Interval, between, epochs, probability, probability_from_draws, share, signed, spread
from medtransfer.selectors.score_names import score_label
from medtransfer.selectors.selectors import HISTORY

Row = dict[str, Any]
MOST_FURTHER = 12  # further ways of choosing in one table with the others
BY_CHANCE = "The best of many is so by chance, too."


def dice_rows(analysis: Analysis) -> list[Row]:
    """Return one row per pool and epoch: the outcome over seeds (named `dice` for every `metric`), and every score."""
    further = sorted({name for judged in analysis.judged for name in judged.pool.scores} - {"robustness", SOURCE_ACCURACY})
    return [
        {
            **fields, "configuration": judged.name, "metric": judged.pool.metric.name, "epoch": candidate.key,
            "dice_mean": candidate.mean, "dice_std": None if isnan(candidate.std) else candidate.std, "seeds": candidate.seeds,
            **_bounds("dice", candidate.interval), "p_best": candidate.p_best,
            "within_noise": candidate.within_noise if candidate.interval else None, "robustness": candidate.robustness,
            **_bounds("robustness", candidate.robustness_interval), **_rise(candidate),
            "source_accuracy": candidate.scores.get(SOURCE_ACCURACY),
            **{name: candidate.scores.get(name) for name in further},
        }
        for judged, fields in _with_fields(analysis) for candidate in judged.candidates
    ]  # fmt: skip


def _with_fields(analysis: Analysis) -> list[tuple[Judged, Row]]:
    return list(zip(analysis.judged, fields_of([judged.pool for judged in analysis.judged]), strict=True))


def tis_rows(analysis: Analysis) -> list[Row]:
    """Return one row per pool and selector: chosen epoch, its outcome (`dice`), TIS, regret, cost and ties."""
    return [
        {
            **fields, "configuration": judged.name, "metric": judged.pool.metric.name, "selector": v.selector.name,
            "epoch": v.candidate, "dice": v.mean, "tis": v.tis, **_bounds("tis", v.interval), "regret": v.regret,
            "epochs_spent": v.spent, "fine_tunings": v.fine_tunings, "within_noise": v.within_noise if judged.has_seeds else None,
            "tied": " ".join(map(str, v.tied)), "stability": v.stability,
        }
        for judged, fields in _with_fields(analysis) for v in judged.verdicts
    ]  # fmt: skip


def selector_rows(analysis: Analysis) -> list[Row]:
    """Return one row per selector: TIS, regret and cost over all pools in which it can choose."""
    return [
        {
            "selector": s.selector.name, "configurations": s.pools, "clusters": s.clusters, "mean_tis": s.mean_tis,
            **_bounds("tis", s.interval), "min_tis": s.min_tis, "mean_regret": s.mean_regret, "mean_epochs": s.mean_epochs,
            "mean_fine_tunings": s.mean_fine_tunings, "within_noise": s.within_noise,
            "fixed_at_equal_cost": s.fixed_at_cost, "shared_epochs": s.shared_epochs,
            "fixed_at_shared_cost": s.fixed_at_shared,
        }
        for s in analysis.summaries
    ]  # fmt: skip


def tis_metrics(analysis: Analysis) -> dict[str, float]:
    """Return the mean TIS of each selector, by metric name in the tracking store."""
    return {f"tis_{name}".replace("-", "_"): summary.mean_tis for name, summary in analysis.by_selector.items()}


def contrast_rows(analysis: Analysis) -> list[Row]:
    """Return one row per compared pair of selectors; `outcome` is that of the first."""
    return [
        {
            "first": c.first.name, "second": c.second.name, "configurations": c.pools, "clusters": c.clusters,
            "difference": c.difference,
            **_bounds("difference", c.interval), "p": c.p_value, "p_holm": c.p_holm, "wins": c.wins, "losses": c.losses,
            "outcome": c.outcome, "detectable": c.detectable,
        }
        for c in analysis.contrasts
    ]  # fmt: skip


def selector_table(analysis: Analysis) -> list[Row]:
    """Return one row per selector as `selector_rows`, for people."""
    return [
        {
            "way of choosing": s.selector.label, "mean TIS": s.mean_tis, "interval": between(s.interval), "worst TIS": s.min_tis,
            "mean regret": s.mean_regret, "epochs spent": epochs(s.mean_epochs), "fine-tunings": epochs(s.mean_fine_tunings),
            "within noise": share(s.within_noise),
            "fixed at equal cost": None if s.selector.length is not None else s.fixed_at_cost, "configurations": s.pools,
        }
        for s in analysis.summaries
    ]  # fmt: skip


def contrast_table(analysis: Analysis) -> list[Row]:
    """Return one row per compared pair of selectors as `contrast_rows`, for people."""
    return [
        {
            "choice": c.first.label, "against": c.second.label, "difference": signed(c.difference),
            "interval": f"{signed(c.interval[0])} to {signed(c.interval[1])}" if c.interval else "–",
            "p": probability(c.p_value), "p Holm": probability(c.p_holm),
            "outcome": _outcome(c), "detectable": c.detectable,
            "won, tied, lost": f"{c.wins}, {c.pools - c.wins - c.losses}, {c.losses}",
        }
        for c in analysis.contrasts
    ]  # fmt: skip


def _outcome(contrast: Contrast) -> str:
    if contrast.p_value is None:
        return "undecided: too few"
    return "undecided: the same in all" if contrast.is_same else contrast.outcome


def tis_table(analysis: Analysis) -> list[Row]:
    """Return one row per judged pool and one column per selector: TIS and chosen epoch in each."""
    labels = {summary.selector.name: summary.selector.label for summary in analysis.summaries}
    return [
        {"configuration": judged.name, **{label: _chosen(judged.by_selector.get(name)) for name, label in labels.items()}}
        for judged in analysis.judged if judged.verdicts
    ]  # fmt: skip


def checkpoint_table(judged: Judged) -> list[Row]:
    """Return one row per epoch of one pool, formatted for Markdown."""
    return [
        {
            "epoch": candidate.key, judged.pool.metric.label: spread(candidate.mean, candidate.std), "seeds": candidate.seeds,
            "interval": between(candidate.interval), "P(best)": probability_from_draws(candidate.p_best),
            "within noise": ("yes" if candidate.within_noise else "no") if candidate.interval else "–",
            **score_cells(judged.pool, candidate, "robustness interval"),
        }
        for candidate in judged.candidates
    ]  # fmt: skip


def score_cells(pool: Pool, candidate: Candidate, interval: str) -> Row:
    """Return the cell of every score of a candidate, for people; `interval` is the heading of that of robustness."""
    cells: Row = {}
    for name in (*pool.indicators, SOURCE_ACCURACY, *([HISTORY] if HISTORY in pool.scores else [])):
        cells[score_label(name)] = candidate.scores.get(name)
        if name == "robustness":
            cells[interval] = between(candidate.robustness_interval)
    return cells


def markdown(analysis: Analysis, title: str) -> str:
    """Format the whole report as Markdown, in the order of the page."""
    parts = [f"# {title}", f"**{verdict_text.verdict(analysis)}**", glossary.tis(analysis.metric_label), glossary.ROBUSTNESS]
    if cost := verdict_text.cost(analysis):
        parts.append(cost)
    parts += _bullets(verdict_text.particulars(analysis))
    if analysis.summaries:
        parts += ["## Ways of choosing", as_markdown(selector_table(analysis))]
    if analysis.contrasts:
        parts += ["## Compared on the same configurations", as_markdown(contrast_table(analysis))]
    if analysis.prunings:
        note = pruning_text.explain(analysis.eta, analysis.metric_label)
        parts += [f"## {pruning_text.HEADING}", as_markdown(pruning_text.table_rows(analysis.prunings)), note]
    if curves := analysis.sizes:
        parts += [f"## {size_text.HEADING}", size_text.explain(curves, analysis.confidence)]
        parts += [part for curve in curves for part in (f"### {curve.name}", as_markdown(size_text.table_rows(curve)))]
    if analysis.starts:
        text = starts_text.explain(analysis.starts, analysis.confidence, analysis.sampling.margin, analysis.reference)
        parts += [f"## {starts_text.HEADING}", text]
        for comparison, learned in zip(analysis.starts, analysis.learned, strict=True):
            parts += [f"### {comparison.name}", starts_text.verdict(comparison, analysis.confidence)]
            parts += [as_markdown(starts_text.table_rows(comparison))]
            parts += [as_markdown(starts_text.learning_rows(learned))] if learned else []
    if rows := tis_table(analysis):
        parts += ["## TIS by configuration, with the chosen epoch", as_markdown(rows)]
    if lineages := lineage_text.trees(analysis):
        parts += [f"## {lineage_text.HEADING}", lineage_text.ROOT, *(f"```\n{tree}\n```" for tree in lineages)]
    for judged in analysis.judged:
        parts += [f"## {judged.name}", *_pool(judged)]
    for heading, lines in data_notes.missing(analysis).items():
        parts += [f"## {heading}", *_bullets(lines)]
    parts += ["## Data and settings", *_bullets(data_notes.settings(analysis))]
    meanings = [f"**{term}**: {meaning}" for term, meaning in glossary.definitions(analysis).items()]
    parts += ["## What the words mean", *_bullets(meanings)]
    return "\n\n".join(parts) + "\n"


def brief(analysis: Analysis) -> str:
    """Format the text for the terminal: the verdict, what weakens it, and one small table."""
    verdict = verdict_text.verdict(analysis)
    weaknesses = [text for text in verdict_text.weaknesses(analysis) if text[1:] not in verdict]  # which has said the others
    parts = [verdict, *_bullets([*analysis.warnings, *weaknesses])]
    rows = [
        {
            "way of choosing": s.selector.label, "mean TIS": s.mean_tis, "interval": between(s.interval), "worst": s.min_tis,
            "epochs": epochs(s.mean_epochs), "fine-tunings": epochs(s.mean_fine_tunings), "configurations": s.pools,
        }
        for s in analysis.summaries if not s.selector.length and s not in folded(analysis)
    ]  # fmt: skip
    starts = starts_text.verdicts(analysis.starts, analysis.confidence)
    heading = f"{starts_text.HEADING}, of every pretraining the last checkpoint:"
    compared = ["\n".join([heading, *(f"- {line}" for line in starts)])] if starts else []
    return "\n\n".join([*parts, *([as_markdown(rows)] if rows else []), *_further(analysis), *compared])


def short(analysis: Analysis) -> str:
    """Format the shortest text for the terminal: the verdict, a sentence a line, and the table without further ways and lengths."""
    rows = [
        {
            "way of choosing": s.selector.label, "mean TIS": s.mean_tis, "worst": s.min_tis, "epochs": epochs(s.mean_epochs),
            "fine-tunings": epochs(s.mean_fine_tunings),
        }
        for s in analysis.summaries if not s.selector.length and not s.selector.further
    ]  # fmt: skip
    return "\n\n".join(["\n".join(verdict_text.sentences(analysis)), *([as_markdown(rows)] if rows else [])])


def folded(analysis: Analysis) -> list[Summary]:
    """Return the further ways of choosing, if there are too many of them for one table with the others."""
    further = [summary for summary in analysis.summaries if summary.selector.further]
    return further if len(further) > MOST_FURTHER else []


def _further(analysis: Analysis) -> list[str]:
    """Return a line on the ways of choosing that the small table leaves out."""
    if not (left := folded(analysis)):
        return []
    low, high = (choose(left, key=lambda summary: summary.mean_tis) for choose in (min, max))
    ends = f"{low.mean_tis:.3f} ({low.selector.label}) to {high.mean_tis:.3f} ({high.selector.label})"
    return [f"{len(left)} further ways, on the page: mean TIS {ends}. {BY_CHANCE}"]


def _pool(judged: Judged) -> list[str]:
    rows = checkpoint_table(judged)
    reason = [f"Not judged: {judged.reason}."] if judged.reason else []
    return [*reason, *data_notes.facts(judged), *([as_markdown(rows)] if rows else [])]


def _bullets(lines: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _rise(candidate: Candidate) -> Row:
    rise, error = candidate.rise or (None, None)
    return {"robustness_rise": rise, "robustness_rise_error": error}


def _bounds(name: str, interval: Interval | None) -> Row:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _chosen(verdict: Verdict | None) -> str:
    if verdict is None:
        return "–"
    if verdict.candidate is None:
        return f"{verdict.tis:.3f}"
    epoch = f"e{verdict.candidate}" if isinstance(verdict.candidate, int) else verdict.candidate
    return f"{verdict.tis:.3f} ({epoch}{', tied' if verdict.tied else ''})"
