"""Audit the two released files: one finding per affected group.

Checks do not depend on the order of lines or on prior knowledge: they compare the files with themselves, with each other or
with laws that hold for any scores. So labels that are swapped in the same way in every group are not detected.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from medtransfer.papers.hidy2024.audit.completeness import (
    conflicting_duplicates,
    duplicate_rows,
    missing_length,
    missing_score,
    seed_count,
    spelling,
    unjoined,
)
from medtransfer.papers.hidy2024.audit.copies import copied_scores, duplicated_column, duplicated_dice, saturated_scores
from medtransfer.papers.hidy2024.audit.findings import ERROR, INFO, WARNING, Finding, Tables
from medtransfer.papers.hidy2024.audit.similarity import shifted_list, swapped_dataset
from medtransfer.papers.hidy2024.audit.values import accuracy_order, dice_jaccard, margin_order, outside_range

__all__ = ["CHECKS", "Finding", "Tables", "as_rows", "audit"]

CHECKS: Mapping[str, Callable[[Tables], list[Finding]]] = {
    "duplicate-rows": duplicate_rows,
    "conflicting-duplicates": conflicting_duplicates,
    "seed-count": seed_count,
    "spelling": spelling,
    "missing-length": missing_length,
    "missing-score": missing_score,
    "join": unjoined,
    "range": outside_range,
    "margin-order": margin_order,
    "dice-jaccard": dice_jaccard,
    "copied-scores": copied_scores,
    "saturated-scores": saturated_scores,
    "duplicated-column": duplicated_column,
    "duplicated-dice": duplicated_dice,
    "shifted-list": shifted_list,
    "accuracy-order": accuracy_order,
    "swapped-dataset": swapped_dataset,
}


def audit(downstream: pd.DataFrame, robustness: pd.DataFrame) -> list[Finding]:
    """Run every check.

    Args:
        downstream: table of `read_downstream`.
        robustness: table of `read_robustness`.

    Returns:
        The findings by severity, check, file and keys, independent of the order of the lines.
    """
    tables = Tables(downstream, robustness)
    findings = [finding for check in CHECKS.values() for finding in check(tables)]
    severities, checks = (ERROR, WARNING, INFO), list(CHECKS)
    return sorted(findings, key=lambda f: (severities.index(f.severity), checks.index(f.check), f.file, f.keys, f.meaning))


def as_rows(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """Return the rows of audit.csv: check, file, severity, count, keys, meaning."""
    return [asdict(finding) for finding in findings]
