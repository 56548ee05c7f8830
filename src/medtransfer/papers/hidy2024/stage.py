"""Stage `replay`: audit the released result files, import them, and recompute the paper's tables, figures and claims."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from medtransfer import tracking
from medtransfer.analysis.model import Analysis, Sampling
from medtransfer.analysis.none_is_best import judge_guard
from medtransfer.analysis.stopping_rules import judge_rules
from medtransfer.analysis.summary import analyse
from medtransfer.config import Replay, Report
from medtransfer.hashing import digest, file_sha256
from medtransfer.papers.hidy2024 import page, stopping
from medtransfer.papers.hidy2024.audit import Finding, as_rows, audit
from medtransfer.papers.hidy2024.cells import Cell, alignment_rows, cell_rows, count_rows, judge_cells
from medtransfer.papers.hidy2024.claims import Claim, Side, claim_rows, judge_claims, metric_claim
from medtransfer.papers.hidy2024.figures import AGREEING, draw_figures, rank_correlations
from medtransfer.papers.hidy2024.importing import import_runs
from medtransfer.papers.hidy2024.named_files import named_files
from medtransfer.papers.hidy2024.released import Recomputed
from medtransfer.papers.hidy2024.store import STAGE, Released, build_pools, read_released
from medtransfer.records import write_json, write_text
from medtransfer.records.tables import as_csv
from medtransfer.report import pruning_text
from medtransfer.report.tables import contrast_rows, tis_metrics
from medtransfer.selectors.selectors import FULL

TABLES = (
    "audit.csv", "cells.csv", "alignments.csv", "verdicts.csv", "selectors.csv", "contrasts.csv", "claims.csv",
    "stopping_rules.csv", "pruning.csv",
)  # fmt: skip
FIGURES = "figures"
SELECTORS = "robustness"  # block of table 3, the selectors that the paper recommends


def run(section: Replay, tables: tuple[pd.DataFrame, pd.DataFrame], report: Report, eta: int = 0) -> tracking.Made:
    """Audit and import the released files, then recompute the paper's results from the store.

    Args:
        section: validated params.
        tables: what `read_files` returns of the files that it names.
        report: how intervals are drawn.
        eta: factor of a race before which robustness would prune; 0 for none.

    Returns:
        Its files, its text for the terminal and the digests of its runs.

    Raises:
        InputError: a file is not named or is missing.
    """
    out, (downstream, robustness) = Path(section.out), tables
    findings = audit(downstream, robustness)
    _write(out / "audit.csv", as_rows(findings))
    digests = {name: file_sha256(path)[:12] for name, path in zip(("downstream", "robustness"), named_files(section), strict=True)}
    imported = import_runs(downstream, robustness, digests, out / "scores")
    released = read_released(**digests)
    sampling = Sampling(report.draws, report.confidence, report.seed, report.margin, report.least)
    recomputed = _recompute(released, findings, digests, out, sampling, eta)
    return replace(recomputed, cells=[*recomputed.cells, *imported])


def _recompute(
    released: Released, findings: Sequence[Finding], digests: dict[str, str], out: Path, sampling: Sampling, eta: int
) -> tracking.Made:  # fmt: skip
    recomputed = Recomputed(released, sampling)
    cells, blocks = judge_cells(recomputed, sampling.confidence)
    published = next(block.alignment for name, block in blocks.items() if name[2] == SELECTORS)
    analyses = {
        "as-published": analyse(build_pools(released, released.scores, published.rotation, published.labels), (), sampling),
        "keyed": analyse(build_pools(released, released.measured), (), sampling, eta=eta),
    }
    claims = _claims(released, analyses, cells, sampling)
    _write(out / "cells.csv", cell_rows(cells))
    _write(out / "alignments.csv", alignment_rows(blocks))
    _write(out / "verdicts.csv", count_rows(cells))
    _write(out / "selectors.csv", selector_rows(analyses))
    contrasts = [{"alignment": name, **row} for name, analysis in analyses.items() for row in contrast_rows(analysis)]
    _write(out / "contrasts.csv", contrasts)
    _write(out / "claims.csv", claim_rows(claims))
    rules = judge_rules(analyses["keyed"].judged, sampling, stopping.ASSUMED_ERROR)
    guard = judge_guard(analyses["keyed"].judged, "keep-stop", sampling.confidence)
    _write(out / "stopping_rules.csv", stopping.rule_rows(rules, analyses["keyed"]))
    _write(out / "pruning.csv", pruning_text.csv_rows(analyses["keyed"].prunings))
    pictures = draw_figures(released, analyses, out / FIGURES) + stopping.draw(rules, analyses["keyed"], out / FIGURES)
    content = page.Content(findings, cells, blocks, analyses, claims, rules, guard, out / FIGURES, pictures)
    text = page.markdown(content)
    write_text(out / "replay.md", text)
    write_text(out / "replay.html", page.render(content))
    metrics = tis_metrics(analyses["keyed"])
    write_json(out / "metrics.json", metrics)
    cell = _publish(out, digests, metrics, sampling, text)
    files = [out / name for name in (*TABLES, "replay.html", "replay.md", "metrics.json")]
    drawn = [out / FIGURES / name for name in pictures]
    files += [file for picture in drawn for file in (picture, picture.with_suffix(".csv")) if file.exists()]
    return tracking.Made([cell], files, [f"{page.brief(content)}\nThe page: {out / 'replay.html'}"])


def _claims(released: Released, analyses: dict[str, Analysis], cells: Sequence[Cell], sampling: Sampling) -> list[Claim]:
    keyed, published = (Side.of(analyses[name], cells, name == "keyed", sampling) for name in ("keyed", "as-published"))
    lowest = {name: float(table.loc[AGREEING, AGREEING].min().min()) for name, table in rank_correlations(released).items()}
    return [*judge_claims(keyed, published), metric_claim(lowest.get("all"))]


def selector_rows(analyses: dict[str, Analysis]) -> list[dict[str, object]]:
    """Return the rows of selectors.csv; the last length is listed only as `fixed-<epoch>`."""
    return [
        {
            "selector": summary.selector.name, "alignment": name, "mean_tis": summary.mean_tis, "min_tis": summary.min_tis,
            "mean_epochs": summary.mean_epochs, "mean_fine_tunings": summary.mean_fine_tunings,
            "ci_low": summary.interval[0] if summary.interval else None,
            "ci_high": summary.interval[1] if summary.interval else None, "fixed_at_cost": summary.fixed_at_cost,
            "configurations": summary.pools,
        }
        for name, analysis in analyses.items() for summary in analysis.summaries if summary.selector != FULL
    ]  # fmt: skip


def _write(path: Path, rows: Sequence[dict[str, object]]) -> None:
    write_text(path, as_csv(rows))


def _publish(out: Path, digests: dict[str, str], metrics: dict[str, float], sampling: Sampling, text: str) -> str:
    """Log the result as one run, whose digest is returned; a replay with the same result is logged only once."""
    params = {"kind": "result", **digests, "draws": sampling.draws, "confidence": sampling.confidence, "seed": sampling.seed}
    cell = digest([params, metrics, text], 16)
    with tracking.once(STAGE, "replay", cell, params) as handle:
        if handle:
            handle.log_metrics(metrics)
            for name in (*TABLES, "replay.html", "replay.md", FIGURES):
                handle.log_artifact(out / name, FIGURES if name == FIGURES else None)
    return cell
