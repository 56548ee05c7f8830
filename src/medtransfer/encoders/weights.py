"""Read weights files, and load their tensors into an encoder with an audit; incomplete loads raise."""

import warnings
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.weight_names import MAPPINGS
from medtransfer.errors import InputError
from medtransfer.records import BROKEN_ARRAYS, in_one_line, require_file
from medtransfer.records.untrusted import check_not_packed

HEADS = ("fc.", "head.", "heads.", "classifier.", "linear.", "projector.", "projection_head.")
# Prefixes that training code adds to an encoder's names. Of two copies only the trained one is listed, not the momentum
# copy of MoCo (encoder_k), a student or a teacher.
PREFIXES = ("module.", "_orig_mod.", "model.", "encoder.", "encoder_q.", "backbone.")
PICKLES = (".pt", ".pth", ".ckpt", ".pth.tar")
NESTED = ("state_dict", "model_state_dict", "model")  # keys under which training code saves the tensors
NAMED = 3  # names of each kind in a message
# A counter that no output depends on and that older files lack; it is loaded if present, but not part of the audit.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class LoadAudit:
    """Result of loading weights.

    Attributes:
        source: where the tensors come from.
        mapping: key of MAPPINGS by which their names were read.
        prefix: prefix of the encoder's names in the source, which was removed first.
        total: number of tensors of the encoder, without batch counters.
        matched: number of tensors that were set, by name and shape.
        missing: tensors of the encoder that the source lacks.
        mismatched: tensors that it has with another shape or data type.
        unexpected: names in the source that the encoder lacks.
        left_out: names in the source that are not part of the encoder: heads, computed buffers, names without the prefix.
        changed: fraction of the encoder's parameter elements that the load changed.
    """

    source: str
    mapping: str
    prefix: str
    total: int
    matched: int
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...]
    changed: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every tensor of the encoder was set and the source has no unexpected one."""
        return self.matched == self.total and not self.unexpected

    @property
    def names(self) -> str:
        """How the names in the source were read, for messages."""
        return f"names read as {self.mapping}" + (f" after the prefix {self.prefix}" if self.prefix else "")

    def __str__(self) -> str:
        """Summarise the audit in one sentence."""
        counts = {
            "missing": self.missing,
            "of another shape": self.mismatched,
            "unexpected": self.unexpected,
            "left out": self.left_out,
        }
        rest = ", ".join(f"{len(names)} {what}{_some(names)}" for what, names in counts.items())
        return (
            f"{self.source}: {self.matched} of {self.total} encoder tensors matched ({self.names}), "
            f"{rest}; {self.changed:.1%} of the parameters changed"
        )


def load_encoder_weights(
    encoder: Encoder,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    mapping: str | None = None,
    channels: str = "RGB",
    allow_partial: bool = False,
    allow_unchanged: bool = False,
) -> LoadAudit:
    """Load an encoder's weights.

    Prefixes of PREFIXES that all tensors of the encoder share are removed from their names.

    Args:
        encoder: encoder to change in place.
        tensors: tensors by name.
        source: where they come from, for messages.
        mapping: key of MAPPINGS; None for the one that fits best.
        channels: channel order that the first convolution expects: RGB, BGR or grey; its weight is converted to RGB.
        allow_partial: whether to load what fits although tensors are missing, mismatched or unexpected.
        allow_unchanged: whether the weights may equal those that the encoder already has (epoch 0).

    Returns:
        The audit.

    Raises:
        InputError: the mapping is unknown, or the tensors do not fit, are not finite, change nothing, or hold the encoder
            twice; the encoder is then unchanged.
    """
    if mapping is not None and mapping not in MAPPINGS:
        raise InputError(f"expected a mapping among {', '.join(MAPPINGS)}, but got {mapping!r}; name one of them")
    readings = [
        _read_names(encoder, tensors, source, name, prefix, channels)
        for prefix in _prefixes(tensors) for name in ([mapping] if mapping else MAPPINGS)
    ]  # fmt: skip
    audit, renamed = max(readings, key=lambda reading: (reading[0].matched, -len(reading[0].unexpected)))
    if twice := {other.prefix for other, _ in readings if other.matched == audit.matched > 0} - {audit.prefix}:
        raise InputError(
            f"expected the encoder {encoder.name} once in {source}, but it has the prefixes {audit.prefix!r} and "
            f"{min(twice)!r}; write the one you want to a separate file"
        )
    if audit.matched == 0 or not (audit.complete or allow_partial):
        raise InputError(_refusal(encoder, audit))
    if infinite := [name for name, tensor in renamed.items() if not torch.isfinite(tensor).all()]:
        raise InputError(
            f"expected finite weights in {source}, but {len(infinite)} tensors hold infinities or NaN{_some(infinite)}; "
            "use an intact file"
        )
    changed = _copy(encoder, renamed)
    if changed == 0 and not allow_unchanged:
        raise InputError(
            f"expected weights that differ from the initialisation of {encoder.name} in {source}, but all are equal "
            "to it; name the file of a trained encoder"
        )
    return LoadAudit(**{**vars(audit), "changed": changed})


def read_weights(path: Path, allow_pickle: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a weights file.

    Args:
        path: a .safetensors file or one of PICKLES, which holds a state dict, directly or under one of NESTED.
        allow_pickle: whether a pickle may be read; only tensors and plain values are unpickled (`weights_only`).

    Returns:
        The tensors by their names in the file.

    Raises:
        InputError: the file is missing, broken, of another kind, holds no tensors, or is a pickle that was not allowed.
    """
    require_file(path, "weights", "correct the path, or get the file again")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if not path.name.endswith(PICKLES):
        raise InputError(f"expected a .safetensors, .pt or .pth file, but got {path}; convert it to .safetensors")
    if not allow_pickle:
        raise InputError(
            f"expected a .safetensors file, but {path} is a pickle, which is read only on request; "
            "set pickle: true in its origin if you trust where it comes from, or convert it to .safetensors"
        )
    return _unwrap(_read_pickle(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return _unwrap(load_file(path), path)
    except (SafetensorError, *BROKEN_ARRAYS) as error:
        raise InputError(
            f"expected weights in {path}, but they cannot be read ({in_one_line(error)}); get the file again"
        ) from None


def _read_pickle(path: Path) -> Any:
    try:
        check_not_packed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warnings about a file are part of the message below
            with torch.serialization.safe_globals([Namespace]):  # training code saves its command-line options, too
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken or hostile pickle raises nearly anything
        raise InputError(
            f"expected tensors and nothing else in {path}, but it cannot be read ({in_one_line(error)}); get the file again or "
            "convert it to .safetensors"
        ) from None


def _unwrap(value: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict in the content of a file."""
    for key in NESTED:
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not isinstance(value, dict) or not value or not all(isinstance(tensor, Tensor) for tensor in value.values()):
        raise InputError(f"expected tensors by name in {path}, but got {_describe(value)}; name a file that holds one state dict")
    if unusable := [str(name) for name, tensor in value.items() if not _is_plain(tensor)]:
        raise InputError(
            f"expected dense tensors of numbers in {path}, but {len(unusable)} are sparse, quantised or without content"
            f"{_some(unusable)}; convert them"
        )
    return {str(name): tensor for name, tensor in value.items()}


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta


def _describe(value: Any) -> str:
    if not isinstance(value, dict):
        return f"one {type(value).__name__}"
    others = sorted(str(name) for name, entry in value.items() if not isinstance(entry, Tensor))
    return f"a dictionary with other entries{_some(others)}" if others else "nothing"


def _prefixes(names: Iterable[str]) -> list[str]:
    """List the combinations of PREFIXES that names begin with, the empty one first."""
    prefixes = {""}
    for name in names:
        prefix = ""
        while more := next((known for known in PREFIXES if name.startswith(known, len(prefix))), None):
            prefix += more
            prefixes.add(prefix)
    return sorted(prefixes)


def _read_names(
    encoder: Encoder, tensors: Mapping[str, Tensor], source: str, mapping: str, prefix: str, channels: str
) -> tuple[LoadAudit, dict[str, Tensor]]:
    """Compare the tensors with the encoder's by one mapping and prefix; also return the tensors that fit."""
    state = encoder.state_dict()
    names = {name: MAPPINGS[mapping](name.removeprefix(prefix)) if name.startswith(prefix) else None for name in tensors}
    names = {name: encoder.prefix + ours if ours and encoder.prefix + ours in state else ours for name, ours in names.items()}
    heads = HEADS + encoder.heads
    left_out = tuple(name for name, ours in names.items() if ours is None or (ours not in state and ours.startswith(heads)))
    given = {ours: tensors[name] for name, ours in names.items() if ours is not None and name not in set(left_out)}
    if channels != "RGB":
        first = next(name for name, tensor in state.items() if tensor.ndim == 4)
        given |= {first: _in_rgb(given[first], channels)} if first in given else {}
    fitting = {name: tensor for name, tensor in given.items() if name in state and _fits(tensor, state[name])}
    counted = [name for name in state if not name.endswith(COUNTER)]
    missing = tuple(name for name in counted if name not in given)
    mismatched = tuple(name for name in counted if name in given and name not in fitting)
    unexpected = tuple(name for name in given if name not in state)
    matched = len(counted) - len(missing) - len(mismatched)
    return LoadAudit(source, mapping, prefix, len(counted), matched, missing, mismatched, unexpected, left_out), fitting


def _in_rgb(weight: Tensor, channels: str) -> Tensor:
    """Convert the weight (C, channels, h, w) of a first convolution to RGB input, where grey images have three equal channels."""
    if weight.ndim != 4:
        return weight
    if channels == "BGR":
        return weight.flip(1)
    return weight.repeat(1, 3, 1, 1) / 3 if weight.shape[1] == 1 else weight  # (C, 1, h, w) -> (C, 3, h, w)


def _fits(tensor: Tensor, own: Tensor) -> bool:
    return tensor.shape == own.shape and tensor.is_floating_point() == own.is_floating_point()


@torch.no_grad()
def _copy(encoder: Encoder, tensors: dict[str, Tensor]) -> float:
    """Copy the tensors and return the fraction of all parameter elements that changed."""
    parameters = {name for name, _ in encoder.named_parameters()}
    changed = 0
    for name, tensor in encoder.state_dict().items():
        if name not in tensors:
            continue
        before = tensor.clone()
        tensor.copy_(tensors[name])
        changed += int((tensor != before).sum()) if name in parameters else 0
    return changed / sum(parameter.numel() for parameter in encoder.parameters())


def _some(names: list[str] | tuple[str, ...]) -> str:
    """Return the first names in parentheses."""
    return f" ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})" if names else ""


def _refusal(encoder: Encoder, audit: LoadAudit) -> str:
    partial = ", or set allow_partial: true to load what fits" if audit.matched else ""
    return (
        f"expected all {audit.total} tensors of the encoder {encoder.name} in {audit.source} and no others, but "
        f"{audit.matched} matched, {len(audit.missing)} are missing{_some(audit.missing)}, {len(audit.mismatched)} "
        f"have another shape{_some(audit.mismatched)}, {len(audit.unexpected)} are unexpected{_some(audit.unexpected)} "
        f"({audit.names}); name weights of this very architecture and arguments{partial}"
    )
