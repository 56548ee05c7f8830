"""Load tensors into an encoder with an audit; incomplete loads raise."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medtransfer.encoders.contract import Encoder
from medtransfer.encoders.weight_names import MAPPINGS
from medtransfer.encoders.weights_file import some
from medtransfer.errors import InputError
from medtransfer.wording import counted

HEADS = (
    "fc.", "head.", "heads.", "classifier.", "linear.", "last_linear.", "logits.", "projector.", "projection.", "projection_head.",
    "proj_head.", "mlp_head.", "predictor.", "prototypes.",
)  # fmt: skip
# Words in the prefix of a second copy of the encoder: of MoCo (encoder_k), DINO, BYOL, lightly and timm. Such a copy is
# loaded only if the user names its prefix.
COPIES = {"momentum", "k", "key", "student", "teacher", "target", "ema", "swa"}
# A counter that no output depends on and that older files lack; it is loaded if present, but not part of the audit.
COUNTER = "num_batches_tracked"
MOST_PREFIXES = 8  # that are tried


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
        rest = ", ".join(f"{len(names)} {what}{some(names)}" for what, names in counts.items())
        return (
            f"{self.source}: {self.matched} of {self.total} encoder tensors matched ({self.names}), "
            f"{rest}; {100 * self.changed:.1f} % of the parameters changed"
        )


def load_encoder_weights(
    encoder: Encoder,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    mapping: str | None = None,
    prefix: str = "",
    channels: str = "RGB",
    allow_partial: bool = False,
    allow_unchanged: bool = False,
) -> LoadAudit:
    """Load an encoder's weights.

    A prefix that the encoder's tensors share, such as `module.encoder_q.`, is removed from their names, unless it marks a copy.

    Args:
        encoder: encoder to change in place.
        tensors: tensors by name.
        source: where they come from, for messages.
        mapping: key of MAPPINGS; None for the one that fits best.
        prefix: start of the names to take; only needed for a copy such as `teacher.`, or if the encoder is there twice.
        channels: channel order that the first convolution expects: RGB, BGR or grey; its weight is converted to RGB.
        allow_partial: whether to load what fits although tensors are missing, mismatched or unexpected.
        allow_unchanged: whether the weights may equal those that the encoder already has (epoch 0).

    Returns:
        The audit.

    Raises:
        InputError: the mapping is unknown, or the tensors do not fit, are not finite, all constant, change nothing, or hold the
            encoder twice; the encoder is then unchanged.
    """
    if mapping is not None and mapping not in MAPPINGS:
        raise InputError(f"expected a mapping among {', '.join(MAPPINGS)}, but got {mapping!r}; name one of them")
    mappings = [mapping] if mapping else list(MAPPINGS)
    prefixes = [name for name in _prefixes(encoder, tensors, mappings) if name.startswith(prefix)]
    readings = [
        _read_names(encoder, tensors, source, name, start, channels)
        for start in (prefix, *(start for start in prefixes if not _is_copy(start.removeprefix(prefix))))
        for name in mappings
    ]  # fmt: skip
    audit, renamed = max(readings, key=lambda reading: (reading[0].matched, -len(reading[0].unexpected)))
    equal = {other.prefix: set(map(id, fitting.values())) for other, fitting in readings if other.matched == audit.matched > 0}
    if twice := [start for start, fitting in equal.items() if not fitting & set(map(id, renamed.values()))]:
        raise InputError(
            f"expected the encoder {encoder.name} once in {source}, but it has the prefixes "
            f"{' and '.join(map(repr, sorted({audit.prefix, *twice})))}; name the one you want by `prefix` in its origin"
        )
    if audit.matched == 0 or not (audit.complete or allow_partial):
        raise InputError(_refusal(encoder, audit, tensors, [start for start in prefixes if _is_copy(start)]))
    if infinite := [name for name, tensor in renamed.items() if not torch.isfinite(tensor).all()]:
        raise InputError(
            f"expected finite weights in {source}, but there are infinities or NaN in {counted(len(infinite), 'tensor')}"
            f"{some(infinite)}; use an intact file"
        )
    matrices = [tensor for tensor in renamed.values() if tensor.ndim > 1 and tensor.numel() > 1]
    if matrices and all(bool((tensor == tensor.flatten()[0]).all()) for tensor in matrices):
        raise InputError(
            f"expected trained weights in {source}, but all {len(matrices)} tensors of weights have one value throughout, such "
            f"as {matrices[0].flatten()[0]:g}; use the file of a trained encoder"
        )
    changed = _copy(encoder, renamed)
    if changed == 0 and not allow_unchanged:
        raise InputError(
            f"expected weights that differ from the initialisation of {encoder.name} in {source}, but all are equal "
            "to it; name the file of a trained encoder"
        )
    return LoadAudit(**{**vars(audit), "changed": changed})


def _prefixes(encoder: Encoder, names: Iterable[str], mappings: Iterable[str]) -> list[str]:
    """List the starts of names after which at least half of the encoder's tensor names follow, the most frequent first."""
    state = encoder.state_dict()
    ours = {*state, *(name.removeprefix(encoder.prefix) for name in state)}
    counts = Counter(
        name[:end]
        for name in names
        for end in [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        if any(MAPPINGS[mapping](name[end:]) in ours for mapping in mappings)
    )
    return [start for start, count in counts.most_common(MOST_PREFIXES) if 2 * count >= len(state)]


def _is_copy(prefix: str) -> bool:
    return not COPIES.isdisjoint(re.split(r"[._]", prefix))


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


def _refusal(encoder: Encoder, audit: LoadAudit, tensors: Mapping[str, Tensor], copies: list[str]) -> str:
    partial = ", or set allow_partial: true to load what fits" if audit.matched else ""
    copy = f", or set prefix: {copies[0]} in the origin to take this copy of the encoder" if copies else ""
    first = next(name for name, tensor in encoder.state_dict().items() if tensor.ndim == 4)
    own = tensors.get(audit.prefix + first.removeprefix(encoder.prefix))
    grey = ", or set input with channels: grey" if own is not None and own.ndim == 4 and own.shape[1] == 1 else ""
    return (
        f"expected all {audit.total} tensors of the encoder {encoder.name} in {audit.source} and no others, but "
        f"{audit.matched} matched, {len(audit.missing)} are missing{some(audit.missing)}, {len(audit.mismatched)} "
        f"have another shape{some(audit.mismatched)}, {len(audit.unexpected)} are unexpected{some(audit.unexpected)} "
        f"({audit.names}); name weights of this very architecture and arguments{copy}{grey}{partial}"
    )
