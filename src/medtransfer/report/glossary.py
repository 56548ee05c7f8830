"""Definitions of the terms in the tables and on the page."""

from medtransfer.analysis.model import Analysis
from medtransfer.metrics.comparison import LEAST_CLUSTERS
from medtransfer.metrics.uncertainty import LEAST_SEEDS
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
        "Interval": f"covers the true value in about {level} of studies, unless rare large losses have not been seen. Of "
                    f"{article} {metric} and of a TIS it is over seeds (Student’s t; a TIS is compared with every other "
                    "checkpoint’s), of a robustness over groups of images such as patients (Student’s t; where "
                    "groups are of very unequal sizes it covers less, about nine tenths at 95 %), of means and differences "
                    f"over pretrainings, or targets, where there are at least {LEAST_CLUSTERS}: nothing is said about targets "
                    "that are too few to be counted. A dash: too few, or no difference anywhere. Where no choice lost "
                    "anything, the mean TIS is said to be at least what losses that could stay unseen would leave, if they were as "
                    "large as that of the worst checkpoint.",
        "P(best)": f"how probable it is, from {LEAST_SEEDS} seeds on, that the checkpoint has the highest mean {metric}.",
        "Within noise": "no other checkpoint is significantly better over the seeds (one-sided t tests, corrected for their "
                        f"number), so with a confidence of about {level} the truly best checkpoint is among those within noise "
                        "(a little less where few seeds have very unequal spreads). "
                        "Variances of checkpoints are shrunk towards each other, but that of the random initialisation, epoch 0, "
                        "is its own: with two seeds it may stay within noise far below checkpoints that do not.",
        "Rise": "of robustness, from the checkpoint before, and its standard error over groups of images.",
        "Stability": "share of draws of groups of images in which the score would have chosen the same checkpoint.",
        "Regret": f"mean {metric} of the best checkpoint minus that of the chosen one.",
        "Epochs spent": "of pretraining before the choice can be made: up to the stop where a rule stops the pretraining, all of "
                        "them otherwise; each configuration with a pretraining of its own. Where one pretraining serves all its "
                        "targets, it runs to the longest stop (epochs shared).",
        "Fine-tunings": "before the choice can be made, of full length and in each configuration; where there are none, the chosen "
                        "checkpoint is still to be fine-tuned. The choice is made on some seeds and judged on the others, the mean "
                        "over their orders, or 50,000 of more; no interval in a configuration, since it differs by seed.",
        "Fixed at equal cost": "mean TIS of fixed lengths that cost as many epochs on average, a mix of the two nearest where no "
                               "checkpoint has that length.",
        "Better, worse, equivalent, undecided": "better or worse where the interval of the difference lies on one side of zero; "
                     f"equivalent where two one-sided tests put it within ±{analysis.sampling.margin:g}; undecided otherwise, "
                     "also where both brought the same in every configuration, since rare differences may not have been seen.",
        "p, p Holm": "two-sided t test over pretrainings or targets, and the same corrected for the number of comparisons.",
        "Correlations": f"of robustness with mean {metric} over the checkpoints: Spearman, Kendall, and Kendall with more weight "
                        "on the best checkpoints; 1 is the same order, −1 the reverse.",
        **{
            capitalised(selector.label): f"{selector.meaning}." for name, selector in SELECTORS.items()
            if not selector.further or name in analysis.by_selector
        },
    }  # fmt: skip
