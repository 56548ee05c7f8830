"""Definitions of the terms in the tables and on the page."""

from medtransfer.analysis.model import Analysis
from medtransfer.report.format import capitalised
from medtransfer.selectors.selectors import SELECTORS

ROBUSTNESS = (
    "Robustness needs no labels and no fine-tuning: it is high when an encoder puts two colour-jittered views of one target "
    "image closer together than views of two different images."
)


def tis(metric: str) -> str:
    """Say what TIS is, of a metric by its label."""
    return (
        f"TIS (transferability indicator score) is the test {metric} of the chosen checkpoint divided by that of the best one: "
        f"1.000 means that no other checkpoint would have been better, 0.950 that the choice keeps 95 % of the best {metric}."
    )


def definitions(analysis: Analysis) -> dict[str, str]:
    """Return the definition of every term, at the confidence of the report."""
    level, metric = f"{100 * analysis.confidence:g} %", analysis.metric_label
    article = "an" if metric[0] in "AEIOU" else "a"
    return {
        **{
            m.label: f"{m.meaning} on the test images, from {m.low:g} to {m.high:g}, after fine-tuning from the checkpoint; "
                     "mean ± standard deviation over seeds."
            for m in analysis.metrics
        },
        "TIS": tis(metric).split(") is ", 1)[1],
        "Robustness": f"{ROBUSTNESS} It is 1 for perfect separation, and 1 minus the margin where images are not separated.",
        "Interval": f"{level} bootstrap interval. Of {article} {metric} it is drawn over seeds, of a robustness over images, of "
                    "a TIS over seeds and, where per-image distances are stored, images; of means and differences over "
                    "configurations. A dash: a single seed, or a single configuration.",
        "P(best)": f"share of the bootstrap draws in which the checkpoint has the highest mean {metric}.",
        "Within noise": "no other checkpoint is significantly better over the seeds (one-sided Welch tests, corrected for their "
                        f"number), so with a confidence of {level} the truly best checkpoint is among those within noise.",
        "Regret": f"mean {metric} of the best checkpoint minus that of the chosen one.",
        "Epochs spent": "of pretraining before the choice can be made: up to the stop where a rule stops the pretraining, all of "
                        "them otherwise.",
        "Fixed at equal cost": "mean TIS of fixed lengths that cost as many epochs on average, a mix of the two nearest where no "
                               "checkpoint has that length.",
        "p, p Holm": "two-sided Wilcoxon signed-rank test over configurations, and the same corrected for the number of "
                     f"comparisons. Better and worse are said only where p Holm is below {1 - analysis.confidence:.3g} and the "
                     "interval does not contain zero.",
        "Correlations": f"of robustness with mean {metric} over the checkpoints: Spearman, Kendall, and Kendall with more weight "
                        "on the best checkpoints; 1 is the same order, −1 the reverse.",
        **{capitalised(selector.label): f"{selector.meaning}." for selector in SELECTORS.values()},
    }  # fmt: skip
