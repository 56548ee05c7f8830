"""Labels of whole images of a prepared target, read without the libraries of training."""

import numpy as np

from medtransfer.config.loaded_files import prepare_command
from medtransfer.data.uncertain_labels import LEFT_UNCERTAIN, UncertainRule
from medtransfer.errors import InputError
from medtransfer.records import IGNORE, LABELS_FILE, TARGET_FILE, UNCERTAIN, PreparedTarget


def read_labels(target: PreparedTarget) -> np.ndarray:
    """Read the labels of all images of a target, uint8 (N,) or (N, L).

    Raises:
        InputError: one is unknown, or uncertain where no rule says what it is taken for.
    """
    labels, classes = np.array(target.image_labels), target.info.classes
    allowed = [0, 1, UNCERTAIN, IGNORE] if labels.ndim == 2 else list(range(max(2, len(classes))))
    if unknown := sorted(set(np.unique(labels).tolist()) - set(allowed)):
        raise InputError(
            f"expected the labels {', '.join(map(str, allowed))} in {target.folder / LABELS_FILE}, but got {unknown[0]}; make the "
            f"target again with `{prepare_command(target.folder.name, '--force')}`"
        )
    if labels.ndim == 2 and (labels == UNCERTAIN).any():
        uncertain_rule(target)
    return labels


def uncertain_rule(target: PreparedTarget) -> UncertainRule:
    """Return the rule for the uncertain labels that a target still has.

    Raises:
        InputError: its settings name none.
    """
    options = target.info.settings.get("options")
    name = options.get("uncertain") if isinstance(options, dict) else None
    if name not in LEFT_UNCERTAIN:
        raise InputError(
            f"expected the option uncertain in {target.folder / TARGET_FILE} to be {' or '.join(LEFT_UNCERTAIN)}, since there are "
            f"uncertain labels, but got {name!r}; prepare the target with one of them"
        )
    return LEFT_UNCERTAIN[name]
