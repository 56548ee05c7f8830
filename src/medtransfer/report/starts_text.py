"""Rows and sentences on initialisations side by side."""

from collections.abc import Sequence
from math import isnan
from statistics import fmean, median, stdev
from typing import Any

from medtransfer.analysis.learning import Learning
from medtransfer.analysis.starts import Compared, StartComparison
from medtransfer.analysis.time_to_reach import SHARE
from medtransfer.report.format import best_words, epochs, listed, number, percent, probability, signed
from medtransfer.wording import counted

HEADING = "Initialisations compared"
UNEVEN = "The starts have different seeds or folds, by which alone their means may differ."
MOST_VERDICTS = 6  # targets and modes on the terminal
Row = dict[str, Any]


def csv_rows(comparisons: Sequence[StartComparison], learned: Sequence[Sequence[Learning]]) -> list[Row]:
    """Return one row per target, mode, number of training images and initialisation."""
    rows = []
    for comparison, learnings in zip(comparisons, learned, strict=True):
        by_name = {one.start.name: one for one in learnings}
        for row in comparison.rows:
            low, high = row.gain_interval or (None, None)
            tests, one = row.tests, by_name.get(row.start.name)
            rows.append({
                "target": comparison.target, "mode": comparison.mode, "size": comparison.size or "all",
                "folds": comparison.folds, "recipe": comparison.label.strip(), "start": row.start.name,
                "encoder": row.start.encoder, "origin": row.start.origin, "epoch": row.start.epoch,
                "metric": comparison.metric.name, "repetitions": len(row.start.values), "mean": row.mean, "std": row.std,
                "gain": row.gain, "gain_low": low, "gain_high": high, "p_student": tests and tests.student,
                "p_welch": tests and tests.welch, "p_holm": tests and tests.holm,
                "p_mann_whitney": tests and tests.mann_whitney, "hedges_g": _effect(row),
                "p_equivalence": tests and tests.equivalence, "unbeaten": row.unbeaten,
                "best_epoch": one and fmean(one.best), "last_epoch": one and fmean(one.last),
                "reached": one and len(_reached(one)), "epochs_to_reach": one and _median(_reached(one)),
            })  # fmt: skip
    return rows


def verdict(comparison: StartComparison, confidence: float) -> str:
    """Say which start of a target has the highest mean, and among which ones the best is.

    The confidence is of the set, as it is tested: that it holds the best. It is not that of every start that is not in it.
    """
    best, *others = comparison.rows
    text = f"{_in_sentence(best)} has the highest mean {comparison.metric.label}, {number(best.mean)}"
    if comparison.metric.is_poor(best.mean, comparison.constant):
        text += f", no higher than that of the same label in every pixel, {number(comparison.constant)}"
    if not comparison.has_learned:
        return f"no model learned: {text}, and results up to {number(comparison.floor)} are taken for none (`report.least`)."
    uneven = "" if comparison.is_balanced else f" {UNEVEN}"
    if best.unbeaten is None:
        return f"{text}; which is the best is not tested, since a start has a single repetition.{uneven}"
    maybe = [_in_sentence(row) for row in others if row.unbeaten]
    if not others:
        return f"{text}.{uneven}"
    if len(maybe) == len(others):
        return f"{text}; {'the other one' if len(others) == 1 else 'each of the others'} may be the best, too.{uneven}"
    which = f"the best is among it and {listed(maybe)}" if maybe else "it is the best"
    return f"{text}; with {percent(confidence)} confidence {which}.{uneven}"


def verdicts(comparisons: Sequence[StartComparison], confidence: float) -> list[str]:
    """Return the verdict on every target, headed by its name, for the terminal; of many the first, and their number."""
    lines = [f"{comparison.name}: {verdict(comparison, confidence)}" for comparison in comparisons[:MOST_VERDICTS]]
    rest = len(comparisons) - len(lines)
    return [*lines, *([f"{counted(rest, 'further comparison')} on the page."] if rest else [])]


def _in_sentence(row: Compared) -> str:
    return row.start.name.replace(", epoch", " at epoch")


def table_rows(comparison: StartComparison) -> list[Row]:
    """Return one row per initialisation, from the best to the worst, for people."""
    words = best_words([row.unbeaten for row in comparison.rows])
    return [_row(row, comparison, word) for row, word in zip(comparison.rows, words, strict=True)]


def _row(row: Compared, comparison: StartComparison, best: str) -> Row:
    tests, interval = row.tests, row.gain_interval
    bounds = "" if interval is None else f" ({signed(interval[0])} to {signed(interval[1])})"
    return {
        "start": row.start.name, comparison.metric.label: number(row.mean) + ("" if row.std is None else f" ± {row.std:.3f}"),
        "n": len(row.start.values), "best?": best,
        "above reference, paired": "reference" if row.is_reference else "–" if row.gain is None else signed(row.gain) + bounds,
        "p (t)": probability(tests.student if tests else None), "p (Welch)": probability(tests.welch if tests else None),
        "p Holm": probability(tests.holm if tests else None), "p (ranks)": probability(tests.mann_whitney if tests else None),
        "g": "–" if (effect := _effect(row)) is None else signed(effect, 2),
        "p equal": probability(tests.equivalence if tests else None),
    }  # fmt: skip


def _effect(row: Compared) -> float | None:
    """Return Hedges' g; None where it was not computed, and without any spread."""
    return None if row.tests is None or isnan(row.tests.effect) else row.tests.effect


def learning_rows(learnings: Sequence[Learning]) -> list[Row]:
    """Return one row per initialisation with the epochs of its curves, for people."""
    return [
        {
            "start": one.start.name, "best epoch": _spread(one.best), "last epoch": _spread(one.last),
            "reached in": "–" if (middle := _median(_reached(one))) is None else f"{epochs(middle)} epochs",
            "reached by": f"{len(_reached(one))} of {len(one.reached)}",
        }
        for one in learnings
    ]  # fmt: skip


def _spread(values: Sequence[int]) -> str:
    return epochs(fmean(values)) + (f" ± {epochs(stdev(values))}" if len(values) > 1 else "")


def _reached(one: Learning) -> list[int]:
    return [epoch for epoch in one.reached if epoch is not None]


def _median(values: Sequence[int]) -> float | None:
    return median(values) if values else None


def explain(comparisons: Sequence[StartComparison], confidence: float, margin: float, reference: str | None) -> str:
    """Say what is compared with what, by which tests, and what they do not say."""
    against = "random weights of the same encoder" if reference is None else f"the origin {reference}"
    text = (
        f"The last checkpoint of every pretraining, and random weights, from the best mean to the worst, beside {against}. The "
        f"mean difference to it is over the seeds that both have, in pairs, with its {100 * confidence:g} % interval (Student’s t, "
        "with two seeds of one degree of freedom). The tests take the samples as independent: t with one variance, as papers do, "
        "Welch’s, and the exact rank-sum test; Holm corrects Welch’s "
        f"for all starts of a target; g is Hedges’ effect size; “p equal” is small where the means differ by less than {margin:g}. "
        "“Best? maybe” (“likely” if it is the only one): no other start is better by a one-sided t test at "
        f"{percent(1 - confidence)}, corrected for their number, with variances that are shrunk towards each other and, where all "
        "starts have the same seeds, without what a seed adds to all of them: it may tell apart what the tests of the table, which "
        "ignore that, do not. "
        "Repetitions are seeds: they do not say what other patients would give."
    )
    if any(">" in row.start.origin for one in comparisons for row in one.rows):
        text += " Weights that continue from others are named by their chain, from the first source to the last."
    return f"{text} Where there are folds, they are folds of one set of images." if any(one.folds for one in comparisons) else text


def explain_learning(learnings: Sequence[Learning], label: str) -> str:
    """Say what the curves and their epochs are."""
    return (
        f"{label} of the {learnings[0].samples} samples by fine-tuning epoch: a thin line per run, a thick one for the mean as far "
        f"as all runs go. Reached is {number(learnings[0].level)}, {100 * SHARE:g} % of the way from chance to the highest final "
        "mean; the median is over the runs that reach it."
    )
