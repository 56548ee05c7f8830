"""Stage `pretrain`: make the checkpoints of one encoder and origin."""

from pathlib import Path

from medtransfer.config import Pretrain
from medtransfer.pretrain.origins import ORIGINS, Origin
from medtransfer.pretrain.stopping import Stopper


def run(section: Pretrain, stopper: Stopper | None = None, force: bool = False) -> Path:
    """Make the checkpoints of the section's encoder and origin, or reuse finished ones.

    Args:
        section: validated params.
        stopper: a rule on a prepared target, None to train to the last epoch; imports take none.
        force: do it again although it is finished.

    Returns:
        The folder of the checkpoints.
    """
    return kind_of(section).run(section, stopper, force)


def kind_of(section: Pretrain) -> Origin:
    """Return the entry of ORIGINS for the section's origin."""
    return ORIGINS[section.origins[section.origin].kind]
