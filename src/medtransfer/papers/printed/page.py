"""The replay of a paper from its printed tables, as rows, Markdown and an HTML page."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from medtransfer.papers.printed.claims import SIGNIFICANT, Judged
from medtransfer.papers.printed.paper import Paper
from medtransfer.papers.printed.plots import draw
from medtransfer.papers.printed.tables import Cell, contradictions
from medtransfer.records.tables import as_markdown
from medtransfer.report import html
from medtransfer.report.format import probability

Row = dict[str, Any]
BESIDE = "Ours beside printed"


def claim_rows(judged: Sequence[Judged]) -> list[Row]:
    """Return one row per claim."""
    return [
        {
            "claim": number, "where": one.claim.where, "statement": one.claim.statement, "by the printed means": one.holds,
            "comparisons": len(one.comparisons), "ahead": one.count("ahead"), "tested": one.tested,
            "significant": one.count("significant"), "after Holm": one.corrected,
            "significant the other way": one.count("reversed"),
        }
        for number, one in enumerate(judged, start=1)
    ]  # fmt: skip


def comparison_rows(judged: Sequence[Judged]) -> list[Row]:
    """Return one row per comparison of a claim."""
    return [
        {
            "claim": number, "group": one.group, "table": one.first.table, "column": one.first.column, "first": one.first.row,
            "second": one.second.row, "first_mean": one.first.value, "second_mean": one.second.value, "gain": one.gain,
            "ahead": one.ahead, "p": one.p, "p_holm": one.p_holm, "p_ddof0": one.p_ddof0, "p_welch": one.p_welch,
            "hedges_g": one.effect,
        }
        for number, claim in enumerate(judged, start=1) for one in claim.comparisons
    ]  # fmt: skip


def verdict(judged: Sequence[Judged]) -> str:
    """Say in one sentence how far the printed numbers bear out the claims."""
    holding = [one for one in judged if one.holds == "holds"]
    differing = [one for one in judged if not one.claim.same]
    tested, clear = sum(one.tested for one in differing), sum(one.count("significant") for one in differing)
    bare = sum(not one.count("significant") and one.tested > 0 for one in holding if not one.claim.same)
    same = {
        (each.first, each.second): each.ahead for one in judged if one.claim.same for each in one.comparisons if each.p is not None
    }
    text = f"By the printed means {len(holding)} of {len(judged)} claims hold. "
    if same:  # claims may share comparisons
        unlike = sum(not ahead for ahead in same.values())
        verb = "is" if unlike == 1 else "are"
        text += f"Of {len(same)} comparisons that are claimed to show no difference {unlike} {verb} significant. "
    text += f"Of {'the' if same else 'their'} {tested} {'other ' if same else ''}comparisons with printed spreads "
    text += f"{clear} are significant as claimed at {SIGNIFICANT:g} before any correction"
    if bare:
        text += f"; {bare} of the claims that hold rest on no significant comparison at all"
    return text + "."


def lines(judged: Sequence[Judged]) -> list[str]:
    """Return a line per claim for the terminal."""
    return [
        f"{number:2}. {one.claim.statement} {one.holds.capitalize()}: {one.count('ahead')} of {len(one.comparisons)} as claimed"
        + (f", {one.count('significant')} significant ({one.corrected} after Holm)" if one.tested else "")
        + (f", {one.count('reversed')} significant the other way" if one.count("reversed") else "") + "."
        for number, one in enumerate(judged, start=1)
    ]  # fmt: skip


def notes(paper: Paper, cells: Sequence[Cell]) -> list[str]:
    """Return what limits the tests, and the cells that are printed with two values."""
    twice = [
        f"{one.row}, {one.column}: {_printed(one)} in {one.table}, {_printed(other)} in {other.table}"
        for one, other in contradictions(cells)
    ]  # fmt: skip
    return [*paper.caveats, *(f"The same cell has two values: {text}." for text in twice)]


def _printed(cell: Cell) -> str:
    return f"{cell.value:g}" if cell.std is None else f"{cell.value:g} ± {cell.std:g}"


def markdown(paper: Paper, judged: Sequence[Judged], cells: Sequence[Cell], stored: str, ours: Sequence[Row]) -> str:
    """Format the replay as Markdown, with a sentence on our results and those that are as whole as the printed ones."""
    parts = [f"# Claims of {paper.citation}", f"**{verdict(judged)}**", as_markdown(claim_rows(judged))]
    parts += ["## What to know", "\n".join(f"- {note}" for note in notes(paper, cells))]
    parts += [f"## {BESIDE}", stored, *([as_markdown(list(ours))] if ours else [])]
    rows = [_readable(row) for row in comparison_rows(judged)]
    return "\n\n".join([*parts, "## Every comparison", as_markdown(rows)]) + "\n"


def _readable(row: Row) -> Row:
    return {name: probability(value) if name.startswith("p") and value is not None else value for name, value in row.items()}


def render(paper: Paper, judged: Sequence[Judged], cells: Sequence[Cell], stored: str, ours: Sequence[Row]) -> str:
    """Render the replay as a page; see `markdown`."""
    rows = [_readable(row) for row in comparison_rows(judged)]
    body = [
        Markup('<p class="verdict">{}</p>').format(verdict(judged)),
        Markup("<h2>Every comparison of every claim</h2>"), html.figure(draw(judged)),
        html.note(
            "A dot is one comparison, by its t statistic: to the right the printed means are as the claim says, to the left the "
            "other way; dots at 12 are there or beyond. In the grey band the difference is not significant by the paper's test, "
            "uncorrected."
        ),
        Markup("<h2>The claims</h2>"), html.table(claim_rows(judged), left=("where",), wrapped=("statement",)),
        Markup("<h2>{}</h2>").format(BESIDE), html.note(stored), html.table(ours, left=("printed as", "of")) if ours else Markup(),
        Markup("<h2>What to know</h2>"), html.bullets(notes(paper, cells)),
        html.details("Every comparison in numbers", html.table(rows, left=("group", "table", "column", "first", "second"))),
    ]  # fmt: skip
    return html.document(f"Claims of {paper.citation}", Markup("\n").join(body))
