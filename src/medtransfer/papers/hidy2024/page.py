"""Result of a replay as text for the terminal, as Markdown and as an HTML page."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from medtransfer.analysis.model import Analysis, Contrast, Summary
from medtransfer.papers.hidy2024.alignment import CONTRADICTED, NOISE, REPRODUCED, Block
from medtransfer.papers.hidy2024.audit import Finding
from medtransfer.papers.hidy2024.cells import Cell, alignment_rows, cell_rows, count_rows
from medtransfer.papers.hidy2024.claims import NO, OPEN, YES, Claim, Evidence
from medtransfer.records.tables import as_markdown
from medtransfer.report import html
from medtransfer.report.format import between, probability
from medtransfer.report.plots import cost
from medtransfer.report.verdict_text import outcome
from medtransfer.selectors.selectors import FULL

TITLE = "The paper's numbers, computed again from its released results"
SOURCE = (
    "G. Hidy, B. Bakos, A. Lukács, Enhancing pretraining efficiency for medical image segmentation via transferability metrics, "
    "arXiv:2410.18677."
)
FIGURES = {
    "figure-1": "Figure 1: Dice by checkpoint on ACDC, encoder frozen",
    "figure-2": "Figure 2: accuracy on ImageNet, at the released checkpoints only; the curves between them are not released",
    "figure-3": "Figure 3: Dice and robustness by checkpoint, scheme advanced; IDRiD fully trained, ACDC with a frozen encoder",
    "figure-4": "Figure 4: which epoch the online rule chooses",
    "figure-A.2": "Figure A.2: rank correlation of evaluation metrics over models, over both datasets and within each",
}
SIDES = ("as published", "joined by key")
Row = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """Everything that a replay computes."""

    findings: Sequence[Finding]
    cells: Sequence[Cell]
    blocks: Mapping[tuple[str, str, str], Block]
    analyses: Mapping[str, Analysis]
    claims: Sequence[Claim]
    folder: Path
    pictures: Sequence[str]


def brief(content: Content) -> str:
    """Format the text for the terminal."""
    return "\n\n".join([*verdict(content), as_markdown(count_rows(content.cells)), as_markdown(_selectors(content))])


def verdict(content: Content) -> list[str]:
    """Summarise what the released data support in a few sentences, whose numbers are all computed."""
    return [_headline(content), *_comparisons(content), _tables(content), _claims(content)]


def _headline(content: Content) -> str:
    summaries = content.analyses["keyed"].by_selector
    if "offline" not in summaries or "full" not in summaries:
        return "Joined by key, robustness cannot be judged: the files lack scores or fine-tunings; the audit names them."
    offline = summaries["offline"]
    walked = f", {_with_interval(summaries['online'])} online" if "online" in summaries else ""
    return (
        f"Joined by key, over {offline.pools} configurations, the mean TIS is {_with_interval(offline)} "
        f"for choosing by robustness offline{walked}, and {_with_interval(summaries['full'])} for always taking the last "
        "checkpoint."
    )


def _comparisons(content: Content) -> list[str]:
    analysis = content.analyses["keyed"]
    online = analysis.by_selector.get("online")
    sentences = [_against_full(contrast, analysis.confidence) for contrast in analysis.contrasts if contrast.second == FULL]
    if online and online.fixed_at_cost is not None:
        sentences.append(
            f"At the {online.mean_epochs:.0f} epochs that the online rule spends on average, fixed lengths bring "
            f"{online.fixed_at_cost:.3f}, the rule {online.mean_tis:.3f}."
        )
    return sentences


def _against_full(contrast: Contrast, confidence: float) -> str:
    phrases = {"better": "is better than", "worse": "is worse than", "not told apart": "cannot be distinguished from"}
    low, high = contrast.interval
    evidence = f"{contrast.difference:+.3f}, {low:+.3f} to {high:+.3f}, p = {contrast.p_holm:.2g} after Holm's correction"
    return f"{contrast.first.name.capitalize()} {phrases[outcome(contrast, confidence)]} full pretraining ({evidence})."


def _with_interval(summary: Summary) -> str:
    bounds = f" ({summary.interval[0]:.3f} to {summary.interval[1]:.3f})" if summary.interval else ""
    return f"{summary.mean_tis:.3f}{bounds}"


def _tables(content: Content) -> str:
    keyed, published = (
        Counter(values) for values in zip(*((c.verdict, c.verdict_as_published) for c in content.cells), strict=True)
    )
    total = len(content.cells)
    shifted = sorted({scheme for block in content.blocks.values() for scheme, shift in block.alignment.rotation.items() if shift})
    text = (
        f"Of {total} printed numbers, joined by key {keyed[REPRODUCED]} come out to the digits, {keyed[NOISE]} within noise "
        f"over seeds and {keyed[CONTRADICTED]} not; joined as the printed tables must have been, {published[REPRODUCED]} come out "
        f"to the digits, {published[NOISE]} within noise and {published[CONTRADICTED]} not."
    )
    if shifted:
        schemes = " and ".join(shifted)
        text += f" So the printed numbers of the scheme {schemes} rest on a list of Dice that is shifted against the scores."
    return text


def _claims(content: Content) -> str:
    count = Counter(claim.keyed.holds for claim in content.claims)
    return (
        f"Of {len(content.claims)} claims that the paper makes in words, {count[YES]} hold in the data joined by key, {count[NO]} "
        f"do not, and for {count[OPEN]} the data leave it open."
    )


def _selectors(content: Content) -> list[Row]:
    return [
        {
            "alignment": name, "selector": summary.selector.name, "mean TIS": summary.mean_tis,
            "interval": between(summary.interval), "worst TIS": summary.min_tis, "epochs spent": summary.mean_epochs,
            "fixed at equal cost": summary.fixed_at_cost,
        }
        for name in ("keyed", "as-published") for summary in content.analyses[name].summaries if summary.selector != FULL
    ]  # fmt: skip


def _contrasts(content: Content) -> list[Row]:
    analysis = content.analyses["keyed"]
    return [
        {
            "choice": contrast.first.name, "against": contrast.second.name, "difference": contrast.difference,
            "interval": between(contrast.interval), "p Holm": probability(contrast.p_holm), "wins": contrast.wins,
            "losses": contrast.losses, "outcome": outcome(contrast, analysis.confidence),
        }
        for contrast in analysis.contrasts
    ]  # fmt: skip


def _claim_rows(content: Content) -> list[Row]:
    return [
        {"section": claim.section, "the paper says": claim.statement, "computed": claim.measure,
         "as published": _evidence(claim.as_published), "joined by key": _evidence(claim.keyed)}
        for claim in content.claims
    ]  # fmt: skip


def _claims_shown(content: Content) -> list[Row]:
    """Return the claims, with their measures and numbers in small print."""
    small = Markup("{}<small>{}</small>")
    return [
        {
            "section": claim.section, "the paper says": small.format(claim.statement, f"computed: {claim.measure}"),
            **{
                side: small.format(evidence.holds, _evidence(evidence).removeprefix(f"{evidence.holds}: "))
                for side, evidence in zip(SIDES, (claim.as_published, claim.keyed), strict=True)
            },
        }
        for claim in content.claims
    ]  # fmt: skip


def _evidence(evidence: Evidence) -> str:
    if evidence.value is None:
        return evidence.holds
    bounds = f" ({evidence.interval[0]:.3f} to {evidence.interval[1]:.3f})" if evidence.interval else ""
    return f"{evidence.holds}: {evidence.value:.3f}{bounds}"


def _audit_rows(findings: Sequence[Finding]) -> list[Row]:
    groups = Counter((finding.severity, finding.check, finding.file) for finding in findings)
    order = {"error": 0, "warning": 1, "info": 2}
    return [
        {"severity": severity, "check": check, "file": file, "rows of audit.csv": count,
         "for example": next(f"{f.keys}: {f.meaning}" for f in findings if (f.severity, f.check, f.file) == key)}
        for key, count in sorted(groups.items(), key=lambda item: (order[item[0][0]], item[0])) for severity, check, file in [key]
    ]  # fmt: skip


def _off(content: Content) -> list[Row]:
    """Return the cells that no alignment reproduces."""
    return [
        row for row, cell in zip(cell_rows(content.cells), content.cells, strict=True) if cell.verdict_as_published == CONTRADICTED
    ]


EXPLAINED = {
    "claims": "`holds`, `does not hold`, or `open` where the interval (bootstrap over configurations) contains the threshold. "
    "Configurations share pretrainings and datasets, so the intervals tend to be too short.",
    "blocks": "Each block of rows was computed under every possible alignment (rotation of the Dice, whose scores, which "
    "pooling), and the one that reproduces most printed numbers is shown: agreeing counts the cells reproduced or within noise.",
    "verdicts": "reproduced: to the printed digits; within noise: the spread over seeds explains the difference; contradicted: "
    "it is not; not recomputable: the files lack the data. cells.csv has every cell with its reason.",
    "selectors": "TIS is the mean Dice of the chosen checkpoint relative to the best one of the configuration. As published, every "
    "checkpoint of a shifted scheme has a neighbour's Dice, so these rows only show how the printed tables came about.",
    "contrasts": "Mean difference of TIS with its bootstrap interval over configurations, Wilcoxon's signed-rank test after Holm's "
    "correction for all of these comparisons; the fixed lengths cost as many epochs on average as the choice. Better or worse only "
    "where both agree.",
    "off": "Printed cells that no alignment reproduces.",
}


def markdown(content: Content) -> str:
    """Format the page as Markdown."""
    sections = [f"# {TITLE}", *verdict(content), f"The paper: {SOURCE}"]
    sections += ["## What the paper claims, and what the data say", as_markdown(_claim_rows(content)), EXPLAINED["claims"]]
    sections += ["## Ways of choosing", as_markdown(_selectors(content)), EXPLAINED["selectors"]]
    sections += ["## Compared on the same configurations, joined by key", as_markdown(_contrasts(content)), EXPLAINED["contrasts"]]
    sections += ["## Printed numbers", as_markdown(count_rows(content.cells)), EXPLAINED["verdicts"]]
    sections += ["## How scores and Dice were joined", as_markdown(alignment_rows(content.blocks)), EXPLAINED["blocks"]]
    if off := _off(content):
        sections += ["## Not explained", as_markdown(off), EXPLAINED["off"]]
    sections += ["## Figures", *(f"![{_caption(name)}](figures/{name})" for name in content.pictures)]
    sections += ["## Audit of the files", as_markdown(_audit_rows(content.findings))] if content.findings else []
    return "\n\n".join(sections) + "\n"


def render(content: Content) -> str:
    """Render the page as HTML with embedded pictures."""
    first, *rest = verdict(content)
    body = Markup('<p class="verdict">{}</p>').format(first) + html.bullets(rest) + html.note(SOURCE)
    body += _section(
        "What the paper claims, and what the data say",
        html.table(_claims_shown(content), left=SIDES, wrapped=("the paper says",)),
        "claims",
    )
    keyed = content.analyses["keyed"].summaries
    charts = Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(
        html.figure(cost.cost_front(keyed, 800, 400), "Mean TIS and pretraining epochs spent, joined by key"),
        html.figure(cost.cost_front(keyed, 380, 400), "Mean TIS and pretraining epochs spent, joined by key"),
    )
    body += _section("Ways of choosing", charts + html.table(_selectors(content), left=("selector", "interval")), "selectors")
    contrasts = html.table(_contrasts(content), left=("against", "interval", "outcome"))
    body += _section("Compared on the same configurations, joined by key", contrasts, "contrasts")
    body += _section("Printed numbers", html.table(count_rows(content.cells), left=("alignment",)), "verdicts")
    blocks = html.table(alignment_rows(content.blocks), left=("scheme", "rows"), wrapped=("as_published",))
    body += _section("How scores and Dice were joined", blocks, "blocks")
    if off := _off(content):
        table = html.table(
            off, left=("row", "dataset", "scheme", "encoder", "mode", "verdict", "verdict_as_published"), wrapped=("reason",)
        )
        body += _section("Not explained", html.details(f"{len(off)} printed cells", table), "off")
    body += _section("Figures", Markup("").join(_picture(content.folder / name) for name in content.pictures))
    if content.findings:
        audit = html.table(_audit_rows(content.findings), left=("check", "file"), wrapped=("for example",))
        body += _section("Audit of the files", audit)
    return html.document(TITLE, body)


def _section(title: str, body: Markup, explained: str = "") -> Markup:
    return (
        Markup("<h2>{}</h2>").format(title) + body + (html.note(EXPLAINED[explained].replace("`", "")) if explained else Markup())
    )


def _picture(path: Path) -> Markup:
    data = base64.b64encode(path.read_bytes()).decode()
    image = Markup('<img src="data:image/png;base64,{}" alt="{}" style="max-width:100%;height:auto">').format(
        Markup(data), escape(_caption(path.name))
    )
    return html.figure(image, _caption(path.name))


def _caption(name: str) -> str:
    stem = name.removesuffix(".png")
    head = next(name for name in FIGURES if stem.startswith(name))
    side = stem.removeprefix(head).removeprefix("-")
    return FIGURES[head] + (f"; {'joined by key' if side == 'keyed' else 'as published'}" if side else "")
