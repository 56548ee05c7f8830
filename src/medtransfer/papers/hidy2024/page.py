"""Result of a replay as text for the terminal, as Markdown and as an HTML page."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from medtransfer.analysis.model import Analysis, Contrast, Summary
from medtransfer.analysis.none_is_best import GuardResult
from medtransfer.analysis.stopping_rules import RuleResult
from medtransfer.papers.hidy2024 import stopping, tuning_cost
from medtransfer.papers.hidy2024.alignment import CONTRADICTED, NOISE, REPRODUCED, Block
from medtransfer.papers.hidy2024.audit import Finding
from medtransfer.papers.hidy2024.cells import Cell, alignment_rows, cell_rows, count_rows
from medtransfer.papers.hidy2024.claims import NO, OPEN, YES, Claim, Evidence
from medtransfer.records.tables import as_markdown
from medtransfer.report import evidence_text, glossary, html, pruning_text
from medtransfer.report.format import between, probability, signed
from medtransfer.report.plots import cost
from medtransfer.report.verdict_text import WORDS, counted
from medtransfer.selectors.selectors import FULL, SELECTORS

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
    "stopping-own": f"Stopping rules against lengths decided beforehand: {stopping.ACCOUNTS['stopping-own']}",
    "stopping-shared": f"Stopping rules against lengths decided beforehand: {stopping.ACCOUNTS['stopping-shared']}",
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
    rules: Sequence[RuleResult]
    guard: GuardResult | None
    folder: Path
    pictures: Sequence[str]


def brief(content: Content) -> str:
    """Format the text for the terminal: the verdict and one small table."""
    first, *_, tables = verdict(content)
    rows = [
        {name: row[name] for name in ("selector", "mean TIS", "interval", "worst TIS", "epochs spent", "fine-tunings")}
        for row in _selectors(content) if row["alignment"] == "keyed" and row["selector"] in SELECTORS
    ]  # fmt: skip
    return "\n\n".join([first, _claims(content), tables, as_markdown(rows)])


def verdict(content: Content) -> list[str]:
    """Summarise what the released data support in a few sentences, whose numbers are all computed."""
    return [_headline(content), *_comparisons(content), _claims(content), _tables(content)]


def _headline(content: Content) -> str:
    analysis = content.analyses["keyed"]
    summaries, contrast = analysis.by_selector, analysis.contrast("offline", FULL.name)
    if "offline" not in summaries or contrast is None:
        return "Robustness cannot be judged: the files lack scores or fine-tunings; the audit names them."
    shown = {
        "better": "show that choosing a checkpoint by robustness is better than pretraining to the end",
        "worse": "show that choosing a checkpoint by robustness is worse than pretraining to the end",
        "equivalent": "show no difference that matters between choosing a checkpoint by robustness and pretraining to the end",
        "undecided": "do not show that choosing a checkpoint by robustness is better than pretraining to the end",
    }[contrast.outcome]
    pools = [judged.pool.fields for judged in analysis.judged]
    targets = len({fields["target"] for fields in pools})
    early = f", {_share(summaries['online'])} when it stops the pretraining (online)" if "online" in summaries else ""
    return (
        f"The paper’s released results {shown}. Over {summaries['offline'].pools} configurations of "
        f"{counted(summaries['offline'].clusters, 'pretraining')} and {counted(targets, 'dataset')}, robustness keeps "
        f"{_share(summaries['offline'])} of the best checkpoint’s Dice when it looks at every checkpoint (offline){early}; "
        f"the last checkpoint keeps {_share(summaries[FULL.name])}."
    )


def _comparisons(content: Content) -> list[str]:
    analysis = content.analyses["keyed"]
    online = analysis.by_selector.get("online")
    sentences = [_against_full(contrast, analysis.confidence) for contrast in analysis.contrasts if contrast.second == FULL]
    if online and online.fixed_at_cost is not None:
        text = (
            f"At the {online.mean_epochs:.0f} epochs that the online rule spends on average, lengths decided beforehand bring "
            f"a mean TIS of {online.fixed_at_cost:.3f}, the rule {online.mean_tis:.3f}"
        )
        if online.fixed_at_shared is not None:
            text += (
                f"; where one pretraining serves all its uses, it must run to the longest stop, {online.shared_epochs:.0f} epochs, "
                f"at which lengths decided beforehand bring {online.fixed_at_shared:.3f}"
            )
        sentences.append(f"{text}.")
    return [*sentences, *filter(None, [tuning_cost.sentence(analysis)]), *evidence_text.sentences(analysis)]


def _against_full(contrast: Contrast, confidence: float) -> str:
    evidence = f"mean difference of TIS {signed(contrast.difference)}"
    if contrast.interval:
        low, high = contrast.interval
        evidence += (
            f", {100 * confidence:g} % interval {signed(low)} to {signed(high)} over {counted(contrast.clusters, 'pretraining')}"
        )
    return f"{contrast.first.label.capitalize()}, {WORDS[contrast.outcome]} {FULL.phrase} ({evidence})."


def _share(summary: Summary) -> str:
    bounds = f" ({100 * summary.interval[0]:.1f} to {100 * summary.interval[1]:.1f})" if summary.interval else ""
    return f"{100 * summary.mean_tis:.1f} %{bounds}"


def _tables(content: Content) -> str:
    keyed, published = (
        Counter(values) for values in zip(*((c.verdict, c.verdict_as_published) for c in content.cells), strict=True)
    )
    total = len(content.cells)
    shifted = sorted({scheme for block in content.blocks.values() for scheme, shift in block.alignment.rotation.items() if shift})
    text = (
        f"Of {total} printed numbers, joined by key {keyed[REPRODUCED]} are reproduced to the digits, {keyed[NOISE]} differ within "
        f"noise, where the printed runs are others than the released ones, and {keyed[CONTRADICTED]} are contradicted; joined as "
        f"the printed tables must have been, {published[REPRODUCED]} are reproduced, {published[NOISE]} differ within noise and "
        f"{published[CONTRADICTED]} are contradicted."
    )
    if shifted:
        schemes = " and ".join(shifted)
        text += f" So the printed numbers of the scheme {schemes} rest on a list of Dice that is shifted against the scores."
    return text


def _claims(content: Content) -> str:
    count = Counter(claim.keyed.holds for claim in content.claims)
    return (
        f"Of {len(content.claims)} claims that the paper makes in words, the released data support {count[YES]}, contradict "
        f"{count[NO]}, and leave {count[OPEN]} open."
    )


def _selectors(content: Content) -> list[Row]:
    return [
        {
            "alignment": name, "selector": summary.selector.name, "mean TIS": summary.mean_tis,
            "interval": between(summary.interval), "worst TIS": summary.min_tis, "epochs spent": summary.mean_epochs,
            "fine-tunings": summary.mean_fine_tunings, "fixed at equal cost": summary.fixed_at_cost,
            "epochs shared": summary.shared_epochs, "fixed at shared cost": summary.fixed_at_shared,
        }
        for name in ("keyed", "as-published") for summary in content.analyses[name].summaries if summary.selector != FULL
    ]  # fmt: skip


def _contrasts(content: Content) -> list[Row]:
    analysis = content.analyses["keyed"]
    return [
        {
            "choice": contrast.first.name, "against": contrast.second.name, "difference": contrast.difference,
            "interval": between(contrast.interval), "outcome": contrast.outcome,
            "detectable": contrast.detectable, "p": probability(contrast.p_value),
            "p Holm": probability(contrast.p_holm), "wins": contrast.wins, "losses": contrast.losses,
        }
        for contrast in analysis.contrasts
    ]  # fmt: skip


def _claim_rows(content: Content) -> list[Row]:
    return [
        {"section": claim.section, "the paper says": claim.statement, "computed": claim.measure,
         "as published": _evidence(claim.as_published), "joined by key": _evidence(claim.keyed)}
        for claim in content.claims
    ]  # fmt: skip


def _claims_shown(content: Content, claims: Sequence[Claim], sides: Mapping[str, str]) -> Markup:
    """Render claims, with their measures and numbers in small print.

    Args:
        content: of the replay.
        claims: those to show.
        sides: heading by name of the alignment, an attribute of `Claim`.
    """
    small = Markup("{}<small>{}</small>")
    rows = [
        {
            "the paper says": small.format(f"{claim.statement} ({_place(claim)})", f"computed: {claim.measure}"),
            **{
                heading: small.format(evidence.holds, _evidence(evidence).removeprefix(f"{evidence.holds}: "))
                for name, heading in sides.items() for evidence in [getattr(claim, name)]
            },
        }
        for claim in claims
    ]  # fmt: skip
    return html.table(rows, left=tuple(sides.values()), wrapped=("the paper says",))


def _place(claim: Claim) -> str:
    return f"section {claim.section}" if claim.section[0].isdigit() else claim.section


def _evidence(evidence: Evidence) -> str:
    if evidence.value is None:
        return evidence.holds
    if not evidence.interval:
        return f"{evidence.holds}: {evidence.value:.3f}"
    low, high = (f"{end:z.3f}".replace("-", "−") for end in evidence.interval)
    return f"{evidence.holds}: {evidence.value:z.3f} ({low} to {high})".replace("-", "−")


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


DEFINED = {
    "TIS": "Dice on the test images after fine-tuning from the chosen checkpoint, divided by that from the best checkpoint of the "
    "same configuration: 1.000 is the best choice, 0.950 keeps 95 % of the best Dice.",
    "Configuration": "an encoder, a way of pretraining it on ImageNet, a dataset and a mode of training; each has ten checkpoints.",
    "Robustness": f"the paper’s indicator. {glossary.ROBUSTNESS}",
    "Offline, online": "offline takes the checkpoint of the highest robustness; online stops the pretraining where robustness "
    "first fails to rise and takes the checkpoint before.",
    "Interval": "of a mean: over pretrainings, on these datasets; nothing is said about other datasets.",
    "Better, worse, equivalent, undecided": "better or worse where the interval of the difference lies on one side of zero; "
    "equivalent where it is shown to be within the margin; undecided otherwise, also where both brought the same everywhere.",
}
EXPLAINED = {
    "claims": "`holds`, `does not hold`, or `open` where the interval contains the threshold: over pretrainings for means, over "
    "seeds for the worst case, which is that of the configuration with the lowest value. Counts and largest values of the "
    "released files have no interval.",
    "blocks": "Each block of rows was computed under every possible alignment (rotation of the Dice, whose scores, which "
    "pooling), and the one that reproduces most printed numbers is shown: agreeing counts the cells reproduced or within noise.",
    "verdicts": "reproduced: to the printed digits; within noise: the printed runs are others than the released ones, and the "
    "spread over seeds explains the difference; contradicted: nothing explains it; not recomputable: the files lack the data. "
    "cells.csv has every cell with its reason.",
    "selectors": "TIS is the mean Dice of the chosen checkpoint relative to the best one of the configuration. As published, every "
    "checkpoint of a shifted scheme has a neighbour's Dice, so these rows only show how the printed tables came about. Epochs "
    "spent: each use with a pretraining of its own; epochs shared: one pretraining for all its uses, run to the longest stop.",
    "rules": stopping.EXPLAINED,
    "contrasts": "Mean difference of TIS with its t interval over pretrainings; p of the same t statistic, and after Holm's "
    "correction for all of these comparisons. The fixed lengths cost as many epochs on average as the choice.",
    "off": "Printed cells that no alignment reproduces.",
}
MAIN_CLAIMS = 6  # of the claims, those of the abstract and the first of section 6


def markdown(content: Content) -> str:
    """Format the page as Markdown."""
    sections = [f"# {TITLE}", *verdict(content), f"The paper: {SOURCE}"]
    sections += ["## What the words mean", "\n".join(f"- **{term}**: {meaning}" for term, meaning in DEFINED.items())]
    sections += ["## What the paper claims, and what the data say", as_markdown(_claim_rows(content)), EXPLAINED["claims"]]
    sections += ["## Ways of choosing", as_markdown(_selectors(content)), EXPLAINED["selectors"]]
    sections += ["## Compared on the same configurations, joined by key", as_markdown(_contrasts(content)), EXPLAINED["contrasts"]]
    if content.rules:
        sections += ["## When to stop", *stopping.sentences(content.rules, content.guard, content.analyses["keyed"])]
        sections += [f"![{_caption(name)}](figures/{name})" for name in content.pictures if name.startswith("stopping")]
        sections += [as_markdown(stopping.table(content.rules, content.analyses["keyed"])), stopping.EXPLAINED]
    if prunings := content.analyses["keyed"].prunings:
        sections += [f"## {pruning_text.HEADING}", as_markdown(pruning_text.table_rows(prunings)), _pruning_note(content)]
    sections += ["## Printed numbers", as_markdown(count_rows(content.cells)), EXPLAINED["verdicts"]]
    sections += ["## How scores and Dice were joined", as_markdown(alignment_rows(content.blocks)), EXPLAINED["blocks"]]
    if off := _off(content):
        sections += ["## Not explained", as_markdown(off), EXPLAINED["off"]]
    sections += ["## Figures", *(f"![{_caption(name)}](figures/{name})" for name in _of_paper(content))]
    sections += ["## Audit of the files", as_markdown(_audit_rows(content.findings))] if content.findings else []
    return "\n\n".join(sections) + "\n"


def render(content: Content) -> str:
    """Render the page as HTML with embedded pictures: the verdict, the words, the cost, the main claims, the rest folded."""
    first, *rest = verdict(content)
    keyed = content.analyses["keyed"].summaries
    charts = Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(
        html.figure(cost.cost_front(keyed, 800, 400)), html.figure(cost.cost_front(keyed, 380, 400))
    )
    body = Markup('<p class="verdict">{}</p>').format(first) + html.note(SOURCE)
    body += _section("What the words mean", html.definitions(DEFINED))
    body += _section(
        "What each way of choosing costs, and keeps",
        charts + html.note("The line joins lengths decided beforehand; a way of choosing earns its cost if it is above the line."),
    )
    if content.rules:
        body += _section("When to stop", _when_to_stop(content))
    main = _claims_shown(content, content.claims[:MAIN_CLAIMS], {"keyed": "the released data say"})
    body += _section("The paper’s main claims", main, "claims")
    body += _section("In numbers", html.bullets(rest)) + Markup("<h2>Everything else</h2>") + _folded(content)
    return html.document(TITLE, body)


def _when_to_stop(content: Content) -> Markup:
    """Render the rules for stopping against fixed lengths: in words, and as a picture for either account of cost."""
    analysis = content.analyses["keyed"]
    body = html.bullets(stopping.sentences(content.rules, content.guard, analysis))
    for width, kind in ((800, "wide"), (380, "narrow")):
        drawn = zip(stopping.ACCOUNTS, stopping.pictures(content.rules, analysis, width, 400 if width > 600 else 560), strict=True)
        figures = Markup("").join(html.figure(picture, _caption(f"{name}.png")) for name, picture in drawn)
        body += Markup('<div class="{}">{}</div>').format(kind, figures)
    return body


def _folded(content: Content) -> Markup:
    """Render all tables, figures and the audit, each folded below a line."""
    blocks = html.table(alignment_rows(content.blocks), left=("scheme", "rows"), wrapped=("as_published",))
    texts = ("row", "dataset", "scheme", "encoder", "mode", "verdict", "verdict_as_published")
    pictures = Markup("").join(_picture(content.folder / name) for name in _of_paper(content))
    rules = stopping.table(content.rules, content.analyses["keyed"])
    words = ("rule", "interval", "its interval", "outcome", "interval, shared", "outcome, shared")
    audit = html.table(_audit_rows(content.findings), left=("check", "file"), wrapped=("for example",))
    pruning = html.table(pruning_text.table_rows(content.analyses["keyed"].prunings))
    off = _off(content)
    parts = (
        ("All claims", _claims_shown(content, content.claims, dict(zip(("as_published", "keyed"), SIDES, strict=True))), "claims"),
        ("Ways of choosing", html.table(_selectors(content), left=("selector", "interval")), "selectors"),
        ("Stopping rules", html.table(rules, left=words), "rules"),
        ("Comparisons, joined by key", html.table(_contrasts(content), left=("against", "interval", "outcome")), "contrasts"),
        (f"{pruning_text.HEADING}, joined by key", pruning and pruning + html.note(_pruning_note(content)), ""),
        ("Printed numbers", html.table(count_rows(content.cells), left=("alignment",)), "verdicts"),
        ("How scores and Dice were joined", blocks, "blocks"),
        (f"Not explained: {counted(len(off), 'printed cell')}", html.table(off, left=texts, wrapped=("reason",)), "off"),
        ("Figures of the paper, drawn again", pictures, ""),
        (f"Audit of the files: {counted(len(content.findings), 'finding')}", audit, ""),
    )
    return Markup("").join(html.details(title, part + _explained(name)) for title, part, name in parts if part)


def _pruning_note(content: Content) -> str:
    analysis = content.analyses["keyed"]
    return pruning_text.explain(analysis.eta, analysis.metric_label)


def _section(title: str, body: Markup, explained: str = "") -> Markup:
    return Markup("<h2>{}</h2>").format(title) + body + _explained(explained)


def _explained(name: str) -> Markup:
    return html.note(EXPLAINED[name].replace("`", "")) if name else Markup()


def _of_paper(content: Content) -> list[str]:
    """Return the names of the paper's own figures."""
    return [name for name in content.pictures if name.startswith("figure")]


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
