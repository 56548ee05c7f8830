"""Read the file of a published initialisation, with its names translated by the one layout that fits."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from medtransfer.errors import InputError
from medtransfer.pretrain.catalogue.entries import Initialisation, Layout
from medtransfer.pretrain.catalogue.tensor_names import RULES, from_hwio, strip

if TYPE_CHECKING:
    from torch import Tensor

    from medtransfer.encoders.contract import Encoder

    Tensors = Mapping[str, Tensor]

log = logging.getLogger("medtransfer")
COUNTER = "num_batches_tracked"  # which older files lack, and on which no output depends


def translate(name: str, entry: Initialisation, encoder: "Encoder", tensors: "Tensors") -> "Tensors":
    """Return the encoder's tensors by its own names, and its classifier's where the layout has names for it.

    Args:
        name: id of the entry, for messages.
        entry: the entry.
        encoder: encoder that they are for.
        tensors: all tensors of the file.

    Raises:
        InputError: the file has not exactly one of the published layouts.
    """
    wanted = {key.removeprefix(encoder.prefix) for key in encoder.state_dict() if not key.endswith(COUNTER)}
    read = [apply(layout, tensors) for layout in entry.layouts]
    fitting = [index for index, (found, unknown) in enumerate(read) if wanted <= found.keys() and not unknown]
    if len(fitting) != 1:
        found, unknown = max(read, key=lambda one: len(wanted & one[0].keys()))
        raise InputError(
            f"expected the published file of {name} ({entry.published}), but got one of which {len(wanted & found.keys())} of "
            f"{len(wanted)} encoder tensors are found by their published names and {len(unknown)} names are unknown"
            f"{f' ({unknown[0]}, …)' if unknown else ''}; get that file, or describe this one by an origin of the kind file"
        )
    found = read[fitting[0]][0]
    log.info("pretrain: %s: %d tensors besides the encoder's are left out", name, len(tensors) - len(found))
    head = tuple(f"{layer}." for layer in encoder.classifiers)
    return {ours: found[ours] for ours in found if ours in wanted or ours.endswith(COUNTER) or ours.startswith(head)}


def translator(name: str, entry: Initialisation) -> "partial[Tensors]":
    """Return `translate` for an entry, as an import of weights needs it."""
    return partial(translate, name, entry)


def apply(layout: Layout, tensors: "Tensors") -> "tuple[dict[str, Tensor], list[str]]":
    """Read tensors by a layout; also return the names within its container that it does not know."""
    inner = _within(layout, tensors)
    kept = {key: tensor for key, tensor in inner.items() if not key.startswith(tuple(layout.drop))}
    rule = RULES[layout.rule] if layout.rule else strip(layout.strip)
    names = {key: rule(key) for key in kept}
    found = {ours: from_hwio(kept[key]) if layout.kernels == "HWIO" else kept[key] for key, ours in names.items() if ours}
    return found, [key for key, ours in names.items() if not ours]


def _within(layout: Layout, tensors: "Tensors") -> "Tensors":
    """Return the tensors of the container; a file with a single state dict is read without its path."""
    start = f"{layout.container}."
    inside = {key.removeprefix(start): tensor for key, tensor in tensors.items() if layout.container and key.startswith(start)}
    return inside or tensors
