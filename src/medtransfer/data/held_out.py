"""Hold out training groups (patients) of a prepared target that has no validation samples."""

import hashlib
from collections import defaultdict
from dataclasses import replace

from medtransfer.errors import InputError
from medtransfer.records import PreparedTarget
from medtransfer.seeds import derive_seed


def hold_out(target: PreparedTarget, fraction: float, seed: int) -> PreparedTarget:
    """Return the target with a fraction of its training groups as validation samples; the files stay as they are.

    The groups are those that `prepare` draws with the same fraction and seed. Groups that share an image, byte for byte, are
    taken together.

    Args:
        target: the prepared target.
        fraction: fraction of the training groups, at least one group; 0 for none.
        seed: seed of the draw.

    Raises:
        InputError: the target has validation samples already, or no group would be left to train on.
    """
    if not fraction:
        return target
    if "validation" in set(target.index["split"]):
        raise InputError(
            f"expected a target without validation samples for finetune.validation {fraction:g}, but {target.folder} has some; set "
            "finetune.validation to 0"
        )
    groups = sorted(set(target.samples("train")["group"]), key=lambda group: (derive_seed(seed, "validation", group), group))
    held, together = set[str](), _sharing(target)
    for group in groups:
        if len(held) < max(1, round(fraction * len(groups))):
            held |= _with_copies({group}, together)
    if len(held) == len(groups):
        raise InputError(
            f"expected groups (patients) left to train on in {target.folder}, but finetune.validation {fraction:g} holds out "
            f"{len(held)} of {len(groups)}; take a smaller fraction, or add groups"
        )
    return replace(target, held_out=frozenset(held))


def stand_ins(target: PreparedTarget) -> dict[str, str]:
    """Return for each training group that shares an image with others, byte for byte, one group that stands for all of them."""
    together = _sharing(target)
    return {group: min(_with_copies({group}, together)) for group in set().union(*together)}


def _sharing(target: PreparedTarget) -> list[set[str]]:
    """Return the sets of training groups that hold the same image; constant images do not count."""
    groups, train = defaultdict[bytes, set[str]](set), target.samples("train")
    for row, group in dict(zip(train["row"], train["group"], strict=True)).items():
        image = target.images[row]
        if (image != image.flat[0]).any():
            groups[hashlib.blake2b(image.tobytes(), digest_size=16).digest()].add(group)
    return [sharing for sharing in groups.values() if len(sharing) > 1]


def _with_copies(groups: set[str], together: list[set[str]]) -> set[str]:
    """Return the groups with all that share images with them, directly or through others."""
    grown = groups.union(*(sharing for sharing in together if sharing & groups))
    return grown if grown == groups else _with_copies(grown, together)
