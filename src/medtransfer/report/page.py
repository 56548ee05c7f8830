"""The report as one self-contained HTML page, readable without scripts and without a network."""

from medtransfer.analysis.model import Analysis
from medtransfer.report import (
    data_notes,
    feature_maps,
    glossary,
    lineage_text,
    page_sections,
    pruning_text,
    similarities,
    size_text,
    starts_text,
    verdict_text,
)
from medtransfer.report.format import capitalised
from medtransfer.report.html import bullets, definitions, details, document, environment, figure, note, table
from medtransfer.report.plots.by_epoch import Drawn
from medtransfer.report.plots.cost import cost_front
from medtransfer.report.plots.figure import with_curves

__all__ = ["bullets", "details", "document", "figure", "note", "render", "table"]


def render(analysis: Analysis, title: str) -> str:
    """Render the page of the report, from the verdict to the run ids."""
    metric = analysis.metric_label
    template = environment().get_template("report.html.j2")
    body = template.render(
        fold=details,
        verdict=_unbroken(verdict_text.verdict(analysis)),
        particulars=[_unbroken(text) for text in verdict_text.particulars(analysis)],
        tis=glossary.tis(metric),
        metric=capitalised(metric),
        robustness=glossary.ROBUSTNESS,
        legend=page_sections.legend(metric, Drawn.of(with_curves(analysis.judged))),
        panels=page_sections.panels(page_sections.order(analysis.judged)),
        shown=page_sections.shown(analysis),
        folded=page_sections.folded_panels(analysis),
        selectors=page_sections.selectors(analysis) if analysis.summaries else "",
        front_wide=figure(cost_front(analysis.summaries, 800, 400)),
        front_narrow=figure(cost_front(analysis.summaries, 380, 400)),
        cost=verdict_text.cost(analysis),
        contrasts=page_sections.contrasts(analysis),
        pruning=page_sections.pruning(analysis),
        pruning_heading=pruning_text.HEADING,
        lineages=page_sections.lineages(analysis),
        lineage_heading=lineage_text.HEADING,
        sizes=page_sections.sizes(analysis),
        sizes_heading=size_text.HEADING,
        starts=page_sections.starts(analysis),
        starts_heading=starts_text.HEADING,
        several_starts=any(len(comparison.rows) > 2 for comparison in analysis.starts),
        maps=page_sections.maps(analysis),
        maps_heading=feature_maps.HEADING,
        similarities=page_sections.alike(analysis),
        similarities_heading=similarities.HEADING,
        configurations=page_sections.configurations(analysis),
        missing=page_sections.missing(analysis),
        settings=data_notes.settings(analysis),
        identities=page_sections.identities(analysis),
        words=definitions(glossary.definitions(analysis)),
    )
    return document(title, body)


def _unbroken(sentence: str) -> str:
    """Keep each number and its per cent sign on one line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")
