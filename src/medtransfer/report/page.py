"""An analysis goes in; one self-contained HTML page comes out, readable without scripts and without a network."""

from medtransfer.report import facts, sections, terms, words
from medtransfer.report.analysis import Analysis
from medtransfer.report.front import cost_front
from medtransfer.report.parts import bullets, details, document, environment, figure, note, table

__all__ = ["bullets", "details", "document", "figure", "note", "render", "table"]


def render(analysis: Analysis, title: str) -> str:
    """Write the page of the report: the verdict first, identities last.

    Args:
        analysis: everything that is shown.
        title: of the page.
    """
    body = environment().get_template("report.html.j2").render(
        verdict=_unbroken(words.verdict(analysis)), particulars=[_unbroken(one) for one in words.particulars(analysis)],
        tis=terms.TIS, robustness=terms.ROBUSTNESS,
        legend=sections.legend(), panels=sections.panels(sections.order(analysis.judged)), shown=sections.shown(analysis),
        folded=sections.folded_panels(analysis), selectors=sections.selectors(analysis) if analysis.summaries else "",
        front_wide=figure(cost_front(analysis.summaries, 800, 400)), front_narrow=figure(cost_front(analysis.summaries, 380, 400)),
        cost=words.cost(analysis), contrasts=sections.contrasts(analysis), configurations=sections.configurations(analysis),
        missing=sections.missing(analysis), settings=facts.settings(analysis), identities=sections.identities(analysis),
        definitions=terms.definitions(analysis),
    )  # fmt: skip
    return document(title, body)


def _unbroken(sentence: str) -> str:
    """Keep each number and its sign of per cent on one line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")
