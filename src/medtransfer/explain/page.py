"""The explanation as Markdown and as one self-contained HTML page."""

from collections.abc import Sequence

from markupsafe import Markup

from medtransfer.explain.cases import Case
from medtransfer.explain.explanation import Explanation, particulars, verdict
from medtransfer.explain.plots import MODE_MARKS, draw_svg, level_colours
from medtransfer.explain.quantities import QUANTITIES
from medtransfer.explain.tables import relations_by_level, relations_by_step, shown_associations, shown_steps
from medtransfer.progress import track
from medtransfer.records.tables import as_markdown
from medtransfer.report import glossary, html
from medtransfer.report.format import capitalised
from medtransfer.report.plots.inline import icon
from medtransfer.selectors.marks import Mark

TITLE = "Why robustness and the test metric part ways"
PARTING = "Where they agree, and where they part"
ON_VIEW = 4  # pictures; more are folded
READING = {
    "associations": (
        "Mean over configurations of Spearman’s correlation over the checkpoints, without epoch 0; in brackets its interval, which "
        "counts pretrainings or targets and is missing where they are too few. Given the epoch: partial correlation of ranks, "
        "which takes out what is linear in the rank of the epoch, so it is above 0 for any two quantities that rise early and then "
        "stay. Mean course removed: the ranks’ mean over configurations of the same mode at each epoch is subtracted from both, "
        "which takes out any course that these share, but not what is special to an encoder. p Holm is the larger p-value of the "
        "two, corrected for the number of rows; it is 1 where their signs differ. In the epochs’ order: configurations in which "
        "the quantity, or the outcome, has exactly that order, so that nothing is left given the epoch."
    ),
    "steps": (
        "Change from one checkpoint to the next, epoch 0 included. Agree, part: both changes can be distinguished from none, the "
        "outcome’s over seeds (paired t test), that of robustness over groups of images (likewise), or is taken as it is where "
        "there are no distances; both corrected for the number of steps of the level (Holm); undecided otherwise. The intervals "
        "are each for itself: of many, some miss by chance."
    ),
    "pictures": (
        "Epochs are equally spaced, not to scale. The band is one standard deviation over seeds. Variance has a logarithmic axis. "
        "In the last panel each mark is a checkpoint, lighter the earlier; the first and the last have their epoch beside them."
    ),
}


def groups(explanation: Explanation) -> list[list[Case]]:
    """Return the cases of each pretraining and target."""
    by_name: dict[str, list[Case]] = {}
    for case in explanation.cases:
        by_name.setdefault(case.group, []).append(case)
    return list(by_name.values())


def markdown(explanation: Explanation, pictures: Sequence[str]) -> str:
    """Format everything as Markdown.

    Args:
        explanation: the results.
        pictures: names of the PNG files beside it.
    """
    sections = [f"# {TITLE}", verdict(explanation), "\n".join(f"- {text}" for text in particulars(explanation))]
    sections += ["## What goes with what", as_markdown(shown_associations(explanation)), READING["associations"]]
    sections += [f"## {PARTING}", as_markdown(relations_by_step(explanation)), as_markdown(relations_by_level(explanation))]
    sections += [READING["steps"], "steps.csv has every step."]
    sections += ["## Pictures", READING["pictures"], "\n".join(f"![{name}]({name})" for name in pictures)]
    sections += ["## What the words mean", "\n".join(f"- **{term}**: {text}." for term, text in _definitions().items())]
    sections += ["## What else to know", "\n".join(f"- {note}" for note in explanation.notes)] if explanation.notes else []
    return "\n\n".join(section for section in sections if section) + "\n"


def render(explanation: Explanation) -> str:
    """Render the page: the verdict, the pictures, associations and relations; single steps and words folded."""
    body = Markup('<p class="verdict">{}</p>').format(verdict(explanation)) + html.note(glossary.ROBUSTNESS)
    body += Markup("<h2>In numbers</h2>") + html.bullets(particulars(explanation))
    body += Markup("<h2>By pretraining epoch</h2>") + _legend(explanation) + _pictures(explanation) + html.note(READING["pictures"])
    associations = html.table(shown_associations(explanation))
    body += Markup("<h2>What goes with what</h2>") + associations + html.note(READING["associations"])
    body += Markup("<h2>{}</h2>").format(PARTING)
    body += html.table(relations_by_step(explanation), f"By checkpoint, robustness of level {explanation.level}")
    body += html.table(relations_by_level(explanation), "By level of the robustness") + html.note(READING["steps"])
    body += Markup("<h2>Everything else</h2>")
    steps = html.table(shown_steps(explanation), left=("interval", "its interval", "relation"))
    body += html.details(f"Every step between checkpoints, level {explanation.level}", steps)
    body += html.details("What the words mean", html.definitions(_definitions()))
    if explanation.notes:
        body += html.details("What else to know", html.bullets(explanation.notes))
    return html.document(TITLE, body)


def _definitions() -> dict[str, str]:
    return {capitalised(quantity.label): quantity.meaning for quantity in QUANTITIES.values()}


def _pictures(explanation: Explanation) -> Markup:
    shown = groups(explanation)
    tracked = track(shown, "explain: drawing for the page", len(shown), "pictures")
    drawn = [html.figure(draw_svg(cases, explanation.level), cases[0].group) for cases in tracked]
    rest = drawn[ON_VIEW:]
    title = f"The other {len(rest)} pretrainings and targets" if len(rest) > 1 else "The other pretraining and target"
    folded = html.details(title, Markup().join(rest)) if rest else Markup()
    return Markup().join(drawn[:ON_VIEW]) + folded


def _legend(explanation: Explanation) -> Markup:
    modes = dict.fromkeys(case.pool.fields["mode"] for case in explanation.cases)
    levels = sorted({level for case in explanation.cases for level in case.levels}, reverse=True)
    items = [(icon(mark), f"mode {mode}") for mode, mark in zip(modes, MODE_MARKS, strict=False)]
    items += [
        (icon(Mark(colour, "o")), f"level {level}{' (the last)' if level == -1 else ''}")
        for level, colour in level_colours(levels).items()
    ]
    lines = (Markup("<li>{}{}</li>").format(drawn, text) for drawn, text in items)
    return Markup('<ul class="legend">{}</ul>').format(Markup().join(lines))
