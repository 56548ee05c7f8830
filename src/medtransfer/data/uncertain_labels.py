"""Rules for labels that a radiologist or a report calls uncertain.

Source: Irvin et al., CheXpert, AAAI 2019 (zeros, ones, ignore); Pham et al., Neurocomputing 2021 (label smoothing of uncertain
labels, lsr: a random target near 1 or 0, drawn again whenever the image is seen).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class UncertainRule:
    """What an uncertain label is taken for.

    Attributes:
        evaluated: label in evaluations, and of a plain training.
        drawn: lowest and highest target of a training that draws one; None if it does not.
    """

    evaluated: int
    drawn: tuple[float, float] | None = None


LEFT_UNCERTAIN = {"lsr-ones": UncertainRule(1, (0.55, 0.85)), "lsr-zeros": UncertainRule(0, (0.0, 0.3))}
