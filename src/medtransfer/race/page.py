"""HTML page of a race."""

from markupsafe import Markup

from medtransfer.race import plots
from medtransfer.race.outcome import Race
from medtransfer.race.tables import candidate_rows, heat_rows
from medtransfer.race.verdict import verdict
from medtransfer.report import html
from medtransfer.report.format import share

TITLE = "Which checkpoint to fine-tune"


def render(race: Race) -> str:
    """Render the page."""
    first, *others = verdict(race)
    rows = [{name: value for name, value in row.items() if name not in ("encoder", "origin", "epoch")} for row in heat_rows(race)]
    body = [
        Markup('<p class="verdict">{}</p>').format(html.with_code(first)),
        *(Markup("<p>{}</p>").format(html.with_code(line)) for line in others),
        Markup("<h2>The rungs</h2>"), html.figure(_picture(race)), html.note(_legend(race)),
        Markup("<h2>The candidates</h2>"), html.table(candidate_rows(race), left=("outcome",)),
        html.note(_explain(race)),
        html.details("Every fine-tuning", html.table(rows, left=("candidate", "outcome"))),
    ]  # fmt: skip
    return html.document(f"{TITLE}: {race.target}", Markup("\n").join(body))


def _picture(race: Race) -> Markup:
    width = plots.LEFT + plots.RUNG * len(race.heats) + plots.NAMES
    return Markup('<div style="max-width:{}px">{}</div>').format(width, plots.rungs(race))


def _legend(race: Race) -> str:
    best = "the winner" if race.learned else "the highest"
    return (
        f"One line per candidate, with the standard error over patients. Vermillion: {best}. Blue: not distinguished from it. "
        "Open marks: left the race there. Dashed: the last seat of the next rung. Squares: random weights."
    )


def _explain(race: Race) -> str:
    return (
        f"Every candidate of a rung is fine-tuned by a complete schedule of its length, all with the same "
        f"seed{'s' if len(race.seeds) > 1 else ''} ({', '.join(map(str, race.seeds))}). The best take the seats of the next rung; "
        "whoever is within one standard error of the last seat, by patient-wise differences, stays too while the budget lasts. "
        f"Not distinguished: no other candidate of the last rung is better by a one-sided test at {share(1 - race.confidence)} "
        f"over patients{' and seeds' if len(race.seeds) > 1 else ''}, corrected for their number. Scores of different rungs do not "
        "compare, since longer schedules score higher."
    )
