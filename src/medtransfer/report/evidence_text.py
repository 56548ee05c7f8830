"""Further evidence of an analysis, one number in a sentence each."""

import math

from medtransfer.analysis.model import Analysis, Association, BetweenSeeds, Patients, Power
from medtransfer.metrics.comparison import LEAST_CLUSTERS, POWER, correlation_interval
from medtransfer.metrics.power import MOST_SEEDS
from medtransfer.report import trials_text
from medtransfer.report.format import percent, signed
from medtransfer.selectors.selectors import SELECTORS


def sentences(analysis: Analysis) -> list[str]:
    """Return a sentence for each part of the evidence."""
    evidence = analysis.evidence
    return [
        *trials_text.sentences(analysis),
        *([_association(evidence.association, analysis)] if evidence.association else []),
        *([_permuted(analysis)] if evidence.permuted else []),
        *([_power(evidence.power, analysis)] if evidence.power else []),
        *([_patients(evidence.patients, analysis)] if evidence.patients else []),
        *([_between_seeds(evidence.between_seeds, analysis)] if evidence.between_seeds else []),
    ]


def _association(association: Association, analysis: Analysis) -> str:
    robustness, epoch = association.robustness.value, association.epoch.value
    text = (
        f"Within a configuration, without epoch 0, the {analysis.metric_label} has a mean rank correlation of "
        f"{signed(robustness, 2)} with robustness and of {signed(epoch, 2)} with the epoch alone"
    )
    if association.given_epoch is None:
        return (
            f"{text}; robustness or the {analysis.metric_label} has exactly the epochs’ order or its reverse: nothing is left "
            "given the epoch."
        )
    bounds = correlation_interval(association.given_epoch, analysis.confidence)
    given = trials_text.with_interval(association.given_epoch.value, bounds)
    text += f"; the partial correlation with robustness, given the epoch, is {given}"
    if association.given_in < association.configurations:
        text += f", defined in {association.given_in} of {association.configurations} configurations"
    return f"{text}."


def _permuted(analysis: Analysis) -> str:
    parts = [f"{share:.2f} ({SELECTORS[name].label})" for name, share in analysis.evidence.permuted.items()]
    return (
        "If the choices change places between configurations of the same encoder and mode, they do at least as well with a "
        f"probability of {' and '.join(parts)}."
    )


def _power(power: Power, analysis: Analysis) -> str:
    margin = analysis.sampling.margin
    seeds = ", ".join(
        f"{target} {f'more than {MOST_SEEDS}' if count >= MOST_SEEDS else f'{math.ceil(count)}'}"
        for target, count in power.seeds.items()
    )
    needed = f"(median; probability {100 * POWER:g} %); seeds needed for a difference of {margin:g}: {seeds}."
    if power.gap > 1:  # the largest difference that there can be
        return f"With its seeds this study can distinguish no two checkpoints of a configuration by their TIS {needed}"
    pair = f"two checkpoints of a configuration whose TIS differs by {power.gap:.3f}"
    return f"With its seeds this study can distinguish {pair} {needed}"


def _patients(patients: Patients, analysis: Analysis) -> str:
    if patients.fewest < LEAST_CLUSTERS:
        few = f"a target has {patients.fewest}, and {LEAST_CLUSTERS} are the least"
        return f"What other test patients would change is not told: {few}."
    text = (
        f"With other test patients (bootstrap of the {patients.fewest} or more of a target) the best checkpoint would stay the "
        f"best in {percent(patients.same_best)} of draws"
    )
    if patients.deviation is not None:
        text += f", and the TIS of {SELECTORS['offline'].phrase} has a standard deviation of {patients.deviation:.3f}"
    return f"{text}."


def _between_seeds(spread: BetweenSeeds, analysis: Analysis) -> str:
    groups = "one configuration" if spread.groups == 1 else f"each of {spread.groups} configurations"
    text = (
        f"Between pretraining seeds ({spread.seeds} or more in {groups}) the best "
        f"{analysis.metric_label} has a standard deviation of {spread.best:.3f}"
    )
    if spread.tis is not None:
        text += f", and the TIS of {SELECTORS['offline'].phrase} one of {spread.tis:.3f}"
    return f"{text}; part of it comes from fine-tuning."
