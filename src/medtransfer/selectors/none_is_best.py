"""Guard against a pretraining that is worse than none: a short fine-tuning from either start, compared."""

from typing import Literal

from medtransfer.selectors.rules import Choice, Seen
from medtransfer.selectors.rules.observation import Observation, rise

Compared = Literal["better", "worse", "undecided"]


def compare_with_none(none: Seen, pretrained: Seen, z: float = 2.0) -> Compared:
    """Compare the outcome of a fine-tuning from a checkpoint with that from the random initialisation.

    Both are trained on the same small budget, with a few seeds, so that their errors are known.

    Args:
        none: outcome from the random initialisation, such as a mean Dice, with its error or replicates.
        pretrained: outcome from the checkpoint, likewise.
        z: standard errors of the difference that decide.

    Returns:
        What pretraining is: `better`, `worse` or `undecided`.

    Raises:
        ValueError: a number is not finite, or an error is unknown.
    """
    without, with_it = Observation.of(none), Observation.of(pretrained)
    without.check("the fine-tuning without pretraining")
    with_it.check("the fine-tuning of the checkpoint")
    gain, error = rise(without, with_it)
    if abs(gain) <= z * error:
        return "undecided"
    return "better" if gain > 0 else "worse"


def prefer_none(choice: Choice[int], none: Seen, pretrained: Seen, z: float = 2.0) -> Choice[int]:
    """Return the choice of epoch 0 where the chosen checkpoint is worse than no pretraining, else the choice itself.

    Arguments and errors as for `compare_with_none`.
    """
    worse = compare_with_none(none, pretrained, z) == "worse"
    return Choice(0, stopped_at=choice.stopped_at) if worse else choice
