"""Sections of the report's page, as HTML."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from medtransfer.analysis.learning import Learning
from medtransfer.analysis.model import Analysis, Candidate, Judged, Summary, Verdict
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.starts import StartComparison
from medtransfer.progress import track
from medtransfer.report import (
    data_notes,
    feature_maps,
    html,
    lineage_text,
    pruning_text,
    similarities,
    size_text,
    starts_text,
    tables,
)
from medtransfer.report.format import between, epochs, number, probability_from_draws, share, signed, spread
from medtransfer.report.plots import by_epoch, by_size, initialisations, learning
from medtransfer.report.plots.by_epoch import Drawn
from medtransfer.report.plots.figure import MOST_PANELS, with_curves
from medtransfer.report.plots.inline import icon
from medtransfer.report.verdict_text import SUBJECT
from medtransfer.selectors.marks import BLUE, GREY, Mark
from medtransfer.selectors.selectors import CONTRASTED, ORACLE, SELECTORS, Selector
from medtransfer.wording import counted

ON_VIEW = 6  # panels
FOLD = 12  # lines of a list; more are folded
Row = dict[str, Any]


def order(judged: Sequence[Judged]) -> list[Judged]:
    """Return the pools to show first: all if few, else evenly spread from the worst to the best choice of the subject."""
    judged = with_curves(judged)
    if len(judged) <= ON_VIEW:
        return list(judged)
    ranked = sorted((pool for pool in judged if SUBJECT.name in pool.by_selector), key=lambda pool: (_tis(pool), pool.name))
    if len(ranked) < ON_VIEW:
        return list(judged[:ON_VIEW])
    return [ranked[round(index * (len(ranked) - 1) / (ON_VIEW - 1))] for index in range(ON_VIEW)]


def _tis(judged: Judged) -> float:
    return judged.by_selector[SUBJECT.name].tis


def panels(judged: Sequence[Judged]) -> Markup:
    """Draw one panel per pool."""
    tracked = track(judged, "report: drawing", len(judged), "configurations")
    drawn = Markup().join(html.figure(by_epoch.dice_by_epoch(pool), pool.name, _in_brief(pool, False)) for pool in tracked)
    return Markup('<div class="panels{}">{}</div>').format(" few" if len(judged) < 3 else "", drawn)


def lineages(analysis: Analysis) -> Markup:
    """Draw which weights continue from which; empty if none do."""
    trees = lineage_text.trees(analysis)
    return Markup().join([html.note(lineage_text.ROOT), *(Markup("<pre>{}</pre>").format(tree) for tree in trees)] if trees else [])


def folded_panels(analysis: Analysis) -> Markup:
    """Draw the other panels, folded, up to MOST_PANELS in total; empty if all are on view."""
    on_view = {id(pool) for pool in order(analysis.judged)}
    rest = [pool for pool in with_curves(analysis.judged) if id(pool) not in on_view]
    drawn = rest[: MOST_PANELS - len(on_view)]
    if not rest:
        return Markup()
    count = f"The other {len(rest)} configurations" if len(rest) > 1 else "The other configuration"
    small = f"the first {len(drawn)} by name; all are listed below" if len(drawn) < len(rest) else ""
    return html.details(count, panels(drawn), small)


def shown(analysis: Analysis) -> str:
    """Explain how to read the panels and which are on view."""
    text = (
        f"Mean test {analysis.metric_label} over seeds; the band is one standard deviation. Epochs are equally spaced, not to "
        "scale. Every panel has axes of its own. Bars on robustness are its interval."
    )
    curves = with_curves(analysis.judged)
    if single := len(analysis.judged) - len(curves):
        text += f" {counted(single, 'configuration')} with a single checkpoint {'has' if single == 1 else 'have'} none."
    if len(curves) <= ON_VIEW:
        return text
    spread_out = sum(SUBJECT.name in pool.by_selector for pool in curves) >= ON_VIEW
    which = (
        f"evenly spread from the lowest to the highest TIS of choosing by {SUBJECT.phrase}." if spread_out else "the first by name."
    )
    return f"{text} On view are {ON_VIEW} of {len(curves)} configurations, {which}"


def _in_brief(judged: Judged, with_epochs: bool) -> str:
    """Summarise the choices in a pool in one line."""
    if judged.reason:
        return "not judged"
    verdicts = [judged.by_selector[selector.name] for selector in CONTRASTED if selector.name in judged.by_selector]
    choices = [f"{v.selector.name} {v.tis:.3f}{f' (e{v.candidate})' if with_epochs else ''}" for v in verdicts]
    parts = [f"TIS {', '.join(choices)}" if choices else "no robustness"]
    if with_epochs and ORACLE.name in judged.by_selector:
        parts.append(f"best e{judged.by_selector[ORACLE.name].candidate}")
    return "; ".join(parts)


def legend(metric: str, drawn: Drawn) -> Markup:
    """Explain the marks of the panels, of a metric by its label."""
    items = [
        (icon(selector.mark), f"best {metric}" if selector is ORACLE else f"chosen by {selector.phrase}")
        for selector in drawn.choices
    ]
    items += [(icon(Mark(BLUE, "o")), "; ".join(drawn.near))] if drawn.near else []
    items += [(icon(Mark(BLUE, "o"), filled=False), drawn.far)] if drawn.far else []
    items += [(icon(Mark(GREY, ".")), "robustness")] if drawn.robustness else []
    lines = [Markup("<li>{}{}</li>").format(mark, text) for mark, text in items]
    return Markup('<ul class="legend">{}</ul>').format(Markup().join(lines))


def selectors(analysis: Analysis) -> Markup:
    """Render the table of selectors, with their intervals drawn."""
    bounds = [bound for summary in analysis.summaries for bound in (summary.interval or (summary.mean_tis,))]
    low, high = min(bounds, default=0.0), max([1.0, *bounds])
    further = tables.folded(analysis)
    rows: dict[bool, list[Row]] = {False: [], True: []}
    for summary, cells in zip(analysis.summaries, tables.selector_table(analysis), strict=True):
        rows[summary in further].append(_selector(summary, cells, low, high))
    if not further:
        return html.table(rows[False])
    folded = html.details(f"{len(further)} further ways", html.table(rows[True]), tables.BY_CHANCE)
    return html.table(rows[False]) + folded


def _selector(summary: Summary, cells: Row, low: float, high: float) -> Row:
    drawn = html.whisker(summary.mean_tis, summary.interval, low, high, 1.0)
    cells = {**cells, "way of choosing": _named(summary.selector), "configu\u00adrations": cells["configurations"]}
    del cells["configurations"]
    return _with_drawing(cells, "mean TIS", _ends(f"{low:.2f}", f"{high:.2f}" if high > 1 else "1"), drawn)


def _with_drawing(cells: Row, after: str, heading: Markup, drawn: Markup) -> Row:
    """Insert a column of drawings after another column."""
    first = list(cells).index(after) + 1
    return dict([*list(cells.items())[:first], (heading, drawn), *list(cells.items())[first:]])


def _ends(left: str, right: str) -> Markup:
    """Render the heading of a column of drawings: the values at its two ends."""
    return Markup('<span class="ends"><span>{}</span><span>{}</span></span>').format(left, right)


def _named(selector: Selector) -> Markup:
    """Render a selector's mark and label, and its meaning below."""
    meaning = Markup("<small>{}</small>").format(selector.meaning) if selector.name in SELECTORS else ""
    return Markup("{}{}{}").format(icon(selector.mark), selector.label, meaning)


def contrasts(analysis: Analysis) -> Markup:
    """Render the table of comparisons with their outcomes."""
    reach = [abs(end) for c in analysis.contrasts for end in (c.difference, *(c.interval or ()))]
    widest = max(reach, default=0.0) or 0.001
    drawn = [html.whisker(c.difference, c.interval, -widest, widest, 0.0) for c in analysis.contrasts]
    cells = zip(tables.contrast_table(analysis), drawn, strict=True)
    rows = [_with_drawing(row, "difference", _ends("worse", "better"), picture) for row, picture in cells]
    return html.table(rows, left=("against", "outcome"))


def pruning(analysis: Analysis) -> Markup:
    """Render what pruning by each indicator would have cost; empty where nothing was judged."""
    if not analysis.prunings:
        return Markup()
    note = html.note(pruning_text.explain(analysis.eta, analysis.metric_label))
    return html.table(pruning_text.table_rows(analysis.prunings)) + note


def sizes(analysis: Analysis) -> Markup:
    """Draw the outcome over the number of training images, with the tables folded; empty where there is one number."""
    curves = analysis.sizes
    if not curves:
        return Markup()
    drawn = Markup().join(html.figure(by_size.metric_by_size(curve), curve.name, "") for curve in curves)
    tables_ = Markup().join(html.details(curve.name, html.table(size_text.table_rows(curve), left=("images",))) for curve in curves)
    shown = (
        "Drawn are the last checkpoint of every origin and random weights once per encoder; the tables have all. Sizes are equally "
        "spaced, starts are side by side, and random ones dashed."
    )
    note = html.note(f"{size_text.explain(curves, analysis.confidence)} {shown}")
    return Markup('<div class="panels few">{}</div>{}{}').format(drawn, note, tables_)


def starts(analysis: Analysis) -> Markup:
    """Render the initialisations of every target, folded where there are many; empty where no target has two."""
    if not analysis.starts:
        return Markup()
    few, drawn = (len(analysis.starts) <= most for most in (ON_VIEW, initialisations.MOST_COMPARISONS))
    parts = [
        html.details(comparison.name, _start(comparison, learned, analysis.confidence, drawn), opened=few)
        for comparison, learned in zip(analysis.starts, analysis.learned, strict=True)
    ]
    text = starts_text.explain(analysis.starts, analysis.confidence, analysis.sampling.margin, analysis.reference)
    return Markup().join([html.note(text), *parts])


def _picture_of_starts(comparison: StartComparison) -> Markup:
    picture = html.figure(initialisations.initialisations(comparison), initialisations.caption([comparison]))
    return Markup('<div style="max-width:{}px">{}</div>').format(round(1.25 * initialisations.WIDTH), picture)


def _start(comparison: StartComparison, learned: Sequence[Learning], confidence: float, drawn: bool) -> Markup:
    table = Markup().join([
        html.note(starts_text.verdict(comparison, confidence)),
        _picture_of_starts(comparison) if drawn else Markup(),
        html.table(starts_text.table_rows(comparison)),
    ])  # fmt: skip
    if not learned:
        return table
    label = comparison.metric.label
    curves = learning.validation_curves(learned, label, f"{comparison.name}: {learned[0].samples} {label} by fine-tuning epoch")
    rows = html.table(starts_text.learning_rows(learned))
    return Markup().join([table, html.figure(curves), rows, html.note(starts_text.explain_learning(learned, label))])


def maps(analysis: Analysis) -> Markup:
    """Render the maps of features of every target, folded where there are many; empty without."""
    if not analysis.maps:
        return Markup()
    few = len(analysis.maps) <= ON_VIEW
    parts = [html.details(target, feature_maps.show(drawn), opened=few) for target, drawn in analysis.maps.items()]
    return Markup().join([*parts, html.note(feature_maps.CAUTION)])


def alike(analysis: Analysis) -> Markup:
    """Render the comparisons of encoders on every target, folded where there are many; empty without."""
    if not analysis.similarities:
        return Markup()
    few = len(analysis.similarities) <= ON_VIEW
    parts = [html.details(target, similarities.show(found), opened=few) for target, found in analysis.similarities.items()]
    return Markup().join([*parts, html.note(similarities.CAUTION)])


def configurations(analysis: Analysis) -> Markup:
    """Render each pool, folded: its notes, candidates and choices."""
    alone = len(analysis.judged) == 1
    return Markup().join(html.details(pool.name, _inside(pool), _in_brief(pool, True), alone) for pool in analysis.judged)


def _inside(judged: Judged) -> Markup:
    reason = html.note(f"Not judged: {judged.reason}.") if judged.reason else Markup()
    choices = [_choice(verdict, judged.pool.metric.label) for verdict in judged.verdicts if verdict.selector.name in SELECTORS]
    both = html.table(_points(judged), "Checkpoints"), html.table(choices, "Choices", left=("tied with",))
    return reason + Markup().join(map(html.note, data_notes.facts(judged))) + Markup().join(both)


def _points(judged: Judged) -> list[Row]:
    fixed = {verdict.candidate: verdict.tis for verdict in judged.verdicts if verdict.selector.length is not None}
    return [_point(judged.pool, candidate, fixed.get(candidate.key)) for candidate in judged.candidates]


def _point(pool: Pool, candidate: Candidate, tis: float | None) -> Row:
    return {
        "epoch": candidate.key, pool.metric.label: spread(candidate.mean, candidate.std), "seeds": candidate.seeds,
        "interval": between(candidate.interval), "P(best)": probability_from_draws(candidate.p_best),
        "within noise": candidate.within_noise if candidate.interval else "–", "TIS": tis,
        **tables.score_cells(pool, candidate, "its interval"),
        "rise ± error": _rise(candidate.rise),
    }  # fmt: skip


def _rise(rise: tuple[float, float | None] | None) -> str:
    if rise is None:
        return "–"
    value, error = rise
    return signed(value) if error is None else f"{signed(value)} ± {number(error)}"


def _choice(verdict: Verdict, metric: str) -> Row:
    return {
        "way of choosing": verdict.selector.label, "epoch": verdict.candidate, metric: verdict.mean, "TIS": verdict.tis,
        "interval": between(verdict.interval), "regret": verdict.regret, "epochs spent": epochs(verdict.spent),
        "fine-tunings": verdict.fine_tunings,
        "within noise": verdict.within_noise if verdict.interval else "–", "tied with": ", ".join(map(str, verdict.tied)),
        "stability": share(verdict.stability),
    }  # fmt: skip


def missing(analysis: Analysis) -> Markup:
    """List what is missing or was left out; long lists are folded."""
    return Markup().join(_list(heading, lines) for heading, lines in data_notes.missing(analysis).items())


def _list(heading: str, lines: Sequence[str]) -> Markup:
    if len(lines) > FOLD:
        return html.details(heading, html.bullets(lines), f"{len(lines)} lines")
    return Markup("<h3>{}</h3>{}").format(heading, html.bullets(lines))


def identities(analysis: Analysis) -> Markup:
    """Render the digests of every pool and the ids of its runs, folded."""
    if not analysis.judged:
        return Markup()
    pools = [judged.pool for judged in analysis.judged]
    rows = [
        {"configuration": pool.name, **pool.digests, "seeds": len(pool.seeds), "runs": len(pool.runs)} for pool in pools
    ]  # fmt: skip
    digests = html.details("Digests of pretraining, data and protocol", html.table(rows, left=("pretraining", "data", "protocol")))
    runs = [Markup("<h3>{}</h3><p><code>{}</code></p>").format(pool.name, " ".join(pool.runs)) for pool in pools]
    return digests + html.details("Ids of the runs", Markup().join(runs))
