"""Stage `explain`: what goes with the test metric over the checkpoints, as page, Markdown, tables and pictures, and as a run."""

from collections.abc import Callable, Sequence
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Explain
from medtransfer.explain import page, tables
from medtransfer.explain.cases import Cases
from medtransfer.explain.explanation import Explanation, particulars, verdict
from medtransfer.explain.plots import write_png
from medtransfer.explain.quantities import ROBUSTNESS
from medtransfer.hashing import digest
from medtransfer.progress import track
from medtransfer.records import write_text
from medtransfer.records.tables import as_csv

STAGE = "explain"
FILES = ("explain.html", "explain.md", "explain.csv", "associations.csv", "steps.csv")
FIGURES = "figures"


def run(section: Explain, read: Callable[[Path], Cases], confidence: float) -> tracking.Made:
    """Explain the configurations, and write the result to `explain.out` and the tracking store.

    Args:
        section: validated params.
        read: reads the configurations, and keeps what it measures for them in the given folder.
        confidence: coverage of the intervals.

    Returns:
        Its files, its text for the terminal and the digest of its run.
    """
    out = Path(section.out)
    explanation = Explanation.of(read(out / "features"), confidence)
    pictures = _draw(explanation, out)
    write_text(out / "explain.csv", as_csv(tables.checkpoint_rows(explanation)))
    write_text(out / "associations.csv", as_csv(tables.association_rows(explanation)))
    write_text(out / "steps.csv", as_csv(tables.step_rows(explanation)))
    text = page.markdown(explanation, pictures)
    write_text(out / "explain.md", text)
    write_text(out / "explain.html", page.render(explanation))
    cell = _publish(section, explanation, out, text, pictures)
    said = "\n\n".join([verdict(explanation), *particulars(explanation)[:1], f"The page: {out / 'explain.html'}"])
    return tracking.Made([cell], [out / name for name in (*FILES, *pictures)], [said])


def _draw(explanation: Explanation, out: Path) -> list[str]:
    """Write one picture per pretraining and target; return their names, below `out`."""
    names: list[str] = []
    groups = page.groups(explanation)
    for cases in track(groups, "explain: drawing", len(groups), "pictures"):
        fields = cases[0].pool.fields
        names.append(f"{FIGURES}/{len(names):03d}-{fields['target']}-{fields['encoder']}-{fields['origin']}.png")
        write_png(out / names[-1], cases, explanation.level)
    return names


def metrics_of(explanation: Explanation) -> dict[str, float]:
    """Return the metrics of the run: correlations with the outcome of the epoch and of every quantity by level."""
    metrics = {"spearman_epoch": explanation.associations.epoch.value} if explanation.associations.epoch else {}
    for row in explanation.associations.rows:
        name = f"{row.quantity}_level_{-row.level}"
        metrics[f"spearman_{name}"] = row.outcome.value
        if row.given_epoch is not None:
            metrics[f"partial_{name}"] = row.given_epoch.value
    steps = explanation.steps_at(explanation.level)
    if steps:
        metrics[f"{ROBUSTNESS}_same_direction"] = sum(step.same_direction for step in steps) / len(steps)
    return metrics


def _publish(section: Explain, explanation: Explanation, out: Path, text: str, pictures: Sequence[str]) -> str:
    """Log the result as one run, whose digest is returned; the same result is logged only once."""
    metrics = metrics_of(explanation)
    inputs = sorted({run for case in explanation.cases for run in case.pool.runs})
    cell = digest([section.results, inputs, metrics, text], 16)
    params = {
        "results": section.results, "configurations": len(explanation.cases), "level": explanation.level,
        "confidence": explanation.confidence,
    }  # fmt: skip
    with tracking.once(STAGE, STAGE, cell, params) as handle:
        if handle:
            handle.log_metrics(metrics)
            for name in FILES:
                handle.log_artifact(out / name)
            for name in pictures:
                handle.log_artifact(out / name, FIGURES)
    return cell
