"""Definitions of the terms in the tables and on the page."""

from medtransfer.analysis.model import Analysis
from medtransfer.selectors.selectors import SELECTORS

TIS = (
    "TIS (transferability indicator score) is the test Dice of the chosen checkpoint divided by that of the best one: "
    "1.000 means that no other checkpoint would have been better, 0.950 that the choice keeps 95 % of the best Dice."
)
ROBUSTNESS = (
    "Robustness needs no labels and no fine-tuning: it is high when an encoder puts two colour-jittered views of one target "
    "image closer together than views of two different images."
)


def definitions(analysis: Analysis) -> dict[str, str]:
    """Return the definition of every term, at the confidence of the report."""
    level = f"{100 * analysis.confidence:g} %"
    return {
        "Dice": "overlap of the predicted and the true mask on the test images, from 0 to 1, after fine-tuning from the "
                "checkpoint; mean ± standard deviation over seeds.",
        "TIS": TIS.split(") is ", 1)[1],
        "Robustness": f"{ROBUSTNESS} It is 1 for perfect separation, and 1 minus the margin where images are not separated.",
        "Interval": f"{level} bootstrap interval. Of a Dice it is drawn over seeds, of a robustness over images, of a TIS over "
                    "seeds and, where per-image distances are stored, images; of means and differences over configurations. A "
                    "dash: a single seed, or a single configuration.",
        "P(best)": "share of the bootstrap draws in which the checkpoint has the highest mean Dice.",
        "Within noise": "no other checkpoint is significantly better over the seeds (one-sided Welch tests, corrected for their "
                        f"number), so with a confidence of {level} the truly best checkpoint is among those within noise.",
        "Regret": "mean Dice of the best checkpoint minus that of the chosen one.",
        "Epochs spent": "of pretraining before the choice can be made: up to the stop where a rule stops the pretraining, all of "
                        "them otherwise.",
        "Fixed at equal cost": "mean TIS of fixed lengths that cost as many epochs on average, a mix of the two nearest where no "
                               "checkpoint has that length.",
        "p, p Holm": "two-sided Wilcoxon signed-rank test over configurations, and the same corrected for the number of "
                     f"comparisons. Better and worse are said only where p Holm is below {1 - analysis.confidence:.3g} and the "
                     "interval does not contain zero.",
        "Correlations": "of robustness with mean Dice over the checkpoints: Spearman, Kendall, and Kendall with more weight on the "
                        "best checkpoints; 1 is the same order, −1 the reverse.",
        **{selector.label.capitalize(): f"{selector.meaning}." for selector in SELECTORS.values()},
    }  # fmt: skip
