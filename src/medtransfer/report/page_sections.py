"""An analysis goes in; the sections of the report's page, as HTML by name, come out."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from medtransfer.analysis.model import Analysis, Contrast, Judged, Summary, Verdict
from medtransfer.report import data_notes, html, verdict_text
from medtransfer.report.format import between, epochs, probability, signed, spread
from medtransfer.report.glossary import MEANINGS, label
from medtransfer.report.plots import by_epoch
from medtransfer.report.plots.cost import whisker
from medtransfer.report.plots.svg import SHAPES, mark

ON_VIEW = 6  # panels
FOLD = 12  # lines of a list; more are folded
Row = dict[str, Any]


def order(judged: Sequence[Judged]) -> list[Judged]:
    """Give the configurations to show first: all if few, else evenly spread from the worst to the best offline choice."""
    if len(judged) <= ON_VIEW:
        return list(judged)
    ranked = sorted((one for one in judged if _tis(one) is not None), key=lambda one: (_tis(one), one.name))
    if len(ranked) < ON_VIEW:
        return list(judged[:ON_VIEW])
    return [ranked[round(place * (len(ranked) - 1) / (ON_VIEW - 1))] for place in range(ON_VIEW)]


def _tis(judged: Judged) -> float | None:
    return next((v.tis for v in judged.verdicts if v.selector == "offline"), None)


def panels(judged: Sequence[Judged]) -> Markup:
    """Draw a panel for each."""
    drawn = Markup().join(html.figure(by_epoch.dice_by_epoch(one), one.name, _in_brief(one, False)) for one in judged)
    return Markup('<div class="panels{}">{}</div>').format(" few" if len(judged) < 3 else "", drawn)


def folded_panels(analysis: Analysis) -> Markup:
    """Draw the panels that are not on view, folded; empty when all are."""
    on_view = {id(one) for one in order(analysis.judged)}
    rest = [one for one in analysis.judged if id(one) not in on_view]
    if not rest:
        return Markup()
    count = f"The other {len(rest)} configurations" if len(rest) > 1 else "The other configuration"
    return html.details(count, panels(rest))


def shown(analysis: Analysis) -> str:
    """Say how to read the panels and which are on view."""
    said = (
        "Mean test Dice over seeds; the band is one standard deviation. Epochs stand at equal distances, not to scale. Every panel "
        "has axes of its own. Bars on robustness are its interval."
    )
    if len(analysis.judged) > ON_VIEW:
        said += f" On view are {ON_VIEW} of {len(analysis.judged)} configurations, "
        spread_out = sum(_tis(one) is not None for one in analysis.judged) >= ON_VIEW
        said += "evenly spread from the lowest to the highest TIS of the offline choice." if spread_out else "the first by name."
    return said


def _in_brief(judged: Judged, epochs: bool) -> str:
    """Say in a line what was chosen on a configuration, or that nothing was judged."""
    if judged.reason:
        return "not judged"
    by_name = {v.selector: v for v in judged.verdicts}
    found = [(name, by_name[name]) for name in ("offline", "online") if name in by_name]
    said = [f"{name} {v.tis:.3f}{f' (e{v.epoch})' if epochs else ''}" for name, v in found]
    best = f"best e{by_name['oracle'].epoch}" if epochs and "oracle" in by_name else ""
    return "; ".join(one for one in (f"TIS {', '.join(said)}" if said else "no robustness", best) if one)


def legend() -> Markup:
    """Explain the marks of the panels."""
    marks = {"offline": "chosen by robustness, offline", "online": "chosen by robustness, online", "best": "best Dice"}
    dot = '<circle class="{}" cx="7" cy="7" r="4"/>'
    items = [(mark(name, 7, 7, 5), said) for name, said in marks.items()]
    items += [(dot.format("near"), "within noise of the best"), (dot.format("far"), "clearly below the best")]
    items.append(('<path class="rob" d="M0 7H14"/><circle class="dot" cx="7" cy="7" r="2.4"/>', "robustness"))
    lines = [
        Markup('<li><svg viewBox="0 0 14 14" aria-hidden="true">{}</svg>{}</li>').format(Markup(one), said) for one, said in items
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup().join(lines))


def selectors(analysis: Analysis) -> Markup:
    """Give the table of the ways of choosing, each with its interval drawn in its row."""
    bounds = [bound for one in analysis.summaries for bound in (one.interval or (one.mean_tis,))]
    seeded = any(verdict_text.has_seeds(one) for one in analysis.judged)
    return html.table([_selector(one, min(bounds), seeded) for one in analysis.summaries])


def _selector(one: Summary, low: float, seeded: bool) -> Row:
    drawn = Markup(whisker(one.mean_tis, one.interval, low, 1.0, 1.0))
    return {
        "way of choosing": _named(one.selector), "mean TIS": one.mean_tis, _ends(f"{low:.2f}", "1"): drawn,
        "interval": between(one.interval), "worst TIS": one.min_tis, "mean regret": one.mean_regret,
        "epochs spent": epochs(one.mean_epochs), "within noise": _share(one.within_noise) if seeded else "–",
        "fixed at equal cost": None if _fixed(one.selector) else one.fixed_at_cost, "configu\u00adrations": one.configurations,
    }  # fmt: skip


def _fixed(selector: str) -> bool:
    return selector == "none" or selector.startswith("fixed-")


def _ends(left: str, right: str) -> Markup:
    """Give the heading of a column of pictures: what stands at its two ends."""
    return Markup('<span class="ends"><span>{}</span><span>{}</span></span>').format(left, right)


def _named(selector: str) -> Markup:
    """Give a name with the mark that it has in the pictures, and what it does below."""
    shape = {"oracle": "best"}.get(selector, selector)
    drawn = mark(shape, 7, 7, 5) if shape in SHAPES else '<circle class="near" cx="7" cy="7" r="3"/>'
    picture = Markup('<svg class="mark" viewBox="0 0 14 14" aria-hidden="true">{}</svg>').format(Markup(drawn))
    meaning = Markup("<small>{}</small>").format(MEANINGS[selector]) if selector in MEANINGS else ""
    return Markup("{}{}{}").format(picture, label(selector), meaning)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def contrasts(analysis: Analysis) -> Markup:
    """Give the table of comparisons, with their outcome in a word."""
    widest = max((abs(bound) for one in analysis.contrasts for bound in one.interval), default=0.0) or 0.001
    return html.table([_contrast(one, widest, analysis.confidence) for one in analysis.contrasts], left=("against", "outcome"))


def _contrast(one: Contrast, widest: float, confidence: float) -> Row:
    interval = one.interval if one.configurations > 1 else None
    return {
        "choice": one.first, "against": label(one.second), "difference": signed(one.difference),
        _ends("worse", "better"): Markup(whisker(one.difference, interval, -widest, widest, 0.0)),
        "interval": f"{signed(interval[0])} to {signed(interval[1])}" if interval else "–",
        "p": probability(one.p_value), "p Holm": probability(one.p_holm), "outcome": verdict_text.outcome(one, confidence),
        "won, tied, lost": f"{one.wins}, {one.configurations - one.wins - one.losses}, {one.losses}",
    }  # fmt: skip


def configurations(analysis: Analysis) -> Markup:
    """Give each configuration, folded: its missing, checkpoints and choices."""
    alone = len(analysis.judged) == 1
    return Markup().join(html.details(one.name, _inside(one), _in_brief(one, True), alone) for one in analysis.judged)


def _inside(judged: Judged) -> Markup:
    said = html.note(f"Not judged: {judged.reason}.") if judged.reason else Markup()
    chosen = [_choice(v) for v in judged.verdicts if not v.selector.startswith("fixed-")]
    found = html.table(_points(judged), "Checkpoints"), html.table(chosen, "Choices", left=("tied with",))
    return said + Markup().join(map(html.note, data_notes.facts(judged))) + Markup().join(found)


def _points(judged: Judged) -> list[Row]:
    fixed = {v.epoch: v for v in judged.verdicts if _fixed(v.selector)}
    return [
        {
            "epoch": one.epoch, "Dice": spread(one.dice, one.std), "seeds": one.seeds, "interval": between(one.dice_interval),
            "P(best)": probability(one.p_best), "within noise": one.within_noise if one.dice_interval else "–",
            "TIS": fixed[one.epoch].tis if one.epoch in fixed else None, "robustness": one.robustness,
            "its interval": between(one.robustness_interval), "source accuracy": one.accuracy,
        }
        for one in judged.checkpoints
    ]  # fmt: skip


def _choice(one: Verdict) -> Row:
    return {
        "way of choosing": label(one.selector), "epoch": one.epoch, "Dice": one.dice, "TIS": one.tis,
        "interval": between(one.interval), "regret": one.regret, "epochs spent": epochs(one.spent),
        "within noise": one.within_noise if one.interval else "–", "tied with": ", ".join(map(str, one.tied)),
    }  # fmt: skip


def missing(analysis: Analysis) -> Markup:
    """List what is missing or was left out, long lists folded."""
    found = [_list(heading, lines) for heading, lines in data_notes.missing(analysis).items()]
    return Markup().join(found)


def _list(heading: str, lines: Sequence[str]) -> Markup:
    if len(lines) > FOLD:
        return html.details(heading, html.bullets(lines), f"{len(lines)} lines")
    return Markup("<h3>{}</h3>{}").format(heading, html.bullets(lines))


def identities(analysis: Analysis) -> Markup:
    """Give, folded, the digests and the ids of the runs that every configuration was read from."""
    rows = [
        {"configuration": one.name, **one.configuration.digests, "seeds": len(one.configuration.seeds),
         "runs": len(one.configuration.runs)}
        for one in analysis.judged
    ]  # fmt: skip
    digests = html.details("Digests of pretraining, data and protocol", html.table(rows, left=("pretraining", "data", "protocol")))
    runs = [
        Markup("<h3>{}</h3><p><code>{}</code></p>").format(one.name, " ".join(one.configuration.runs)) for one in analysis.judged
    ]
    return digests + html.details("Ids of the runs", Markup().join(runs)) if rows else Markup()
