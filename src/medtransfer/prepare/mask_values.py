"""From the raw values of a mask file to class numbers: inferred for one class, by a table, or by a threshold."""

import logging
import reprlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medtransfer.errors import InputError
from medtransfer.prepare.picture_files import RawMask
from medtransfer.records import IGNORE

NEAR = 32  # how far from 0 and 255 the values of a JPEG mask may be
MIDDLE, WHITE = 128, 255
MOST_SHOWN = 8  # values of a mask in a message, and in an example of `labels`
PLACEHOLDER = "<class>"  # in an example of `labels`, for a class that cannot be known
BINARY = ({0: 0, 1: 1}, {0: 0, 255: 1})

log = logging.getLogger("medtransfer")


@dataclass(frozen=True)
class MaskRule:
    """How raw values become class numbers; 0 is background, IGNORE a pixel that is left out.

    Attributes:
        table: class number of each raw value; None for one class whose masks hold {0, 1} or {0, 255}.
        ignored: raw values of pixels to leave out of loss and metrics.
        threshold: lowest raw value of the only class; None to use the table.
        segments: class number of each label of a segment, in DICOM segmentations.
        classes: names of the non-background classes, for messages.
        from_command: whether `labels` is an option of the command line, not one of a reader, for messages.
        assumed: whether nobody has said what the values mean, so that a message may propose another table.
        own: what values meant when the model's target was prepared, which a message proposes where it is assumed otherwise.
        notes: kinds of notes that were logged already.
    """

    table: Mapping[int, int] | None
    ignored: frozenset[int]
    threshold: float | None
    segments: Mapping[str, int] = field(default_factory=dict)
    classes: Sequence[str] = field(default=(), compare=False)
    from_command: bool = field(default=False, compare=False)
    assumed: bool = field(default=False, compare=False)
    own: Mapping[int, str] = field(default_factory=dict, compare=False)
    notes: set[str] = field(default_factory=set, compare=False)

    def number(self, raw: RawMask, path: Path) -> np.ndarray:
        """Return the class numbers of a mask, uint8 (h, w).

        Raises:
            InputError: a raw value has no class.
        """
        values = distinct(raw.values).tolist()
        ignored = np.isin(raw.values, list(self.ignored))
        if self.threshold is not None:
            mask = (raw.values >= self.threshold).astype(np.uint8)
        elif self.table is None and raw.lossy and not self.ignored and all(min(v, 255 - v) <= NEAR for v in values):
            self._note_lossy(values, path)
            mask = (raw.values >= MIDDLE).astype(np.uint8)
        else:
            mask = self._look_up(raw, [value for value in values if value not in self.ignored], path)
        mask[ignored] = IGNORE
        return mask

    @property
    def ignores(self) -> bool:
        """Whether labels may be IGNORE."""
        return bool(self.ignored) or IGNORE in self.segments.values()

    def check_segments(self, labels: Iterable[str], path: Path) -> None:
        """Raise InputError if a segment of a DICOM segmentation has no class."""
        if unknown := [label for label in labels if label not in self.segments]:
            raise InputError(
                f"expected segments labelled {', '.join(map(repr, self.segments))} in {path}, but got "
                f"{', '.join(map(repr, unknown[:8]))}; name them in `classes`, or map them in `labels`, such as "
                f"{{{unknown[0]}: {next(iter(self.segments))}}}"
            )

    def number_segments(self, segments: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
        """Return the class numbers of a segmentation's masks, bool (x, y, z) by their labels.

        Raises:
            InputError: a segment has no class, or a voxel two.
        """
        self.check_segments(segments, path)
        masks = [mask * np.uint8(self.segments[label]) for label, mask in segments.items()]
        return join_masks(masks, [path] * len(masks))

    def _look_up(self, raw: RawMask, values: Sequence[int], path: Path) -> np.ndarray:
        rules = [rule for rule in BINARY if not rule.keys() & self.ignored] or [BINARY[0]]
        table = self.table if self.table is not None else next((rule for rule in rules if rule.keys() >= set(values)), rules[-1])
        if unknown := [value for value in values if value not in table]:
            meaning = "" if raw.meaning == "labels" else f"the {raw.meaning} "
            option = "--labels" if self.from_command else "the option `labels`"
            split = ""
            if self.table is None:
                split = ", or split them with " + ("--mask-threshold" if self.from_command else "`threshold`")
            remedy = f"define them with {option}{self._such_as([*values, *sorted(self.ignored)])}{split}"
            if not are_whole(values):
                remedy = f"save whole numbers, which alone can be {option}{split}"
            if raw.lossy and split:
                threshold = f"--mask-threshold {MIDDLE}" if self.from_command else f"the option `threshold: {MIDDLE}`"
                remedy = f"its compression changes values, so split them with {threshold}, or save it as PNG"
            raise InputError(
                f"expected the labels {sorted(table)} in {path}, but got {meaning}{unknown[:8]}; "
                f"{describe_values(values)}; {remedy}"
            )
        mask = np.zeros(raw.values.shape, np.uint8)
        for value in values:
            mask[raw.values == value] = table[value]
        return mask

    def _such_as(self, values: Sequence[int]) -> str:
        """Return an example of the option `labels` for a mask of these values, with what is defined already."""
        if self.assumed and set(values) <= self.own.keys():
            return f", such as `{show_labels(self.own, self.from_command)}`, as the model's target was prepared"
        names = {0: "background", IGNORE: "ignore"} | dict(enumerate(self.classes, start=1))
        known = {} if self.assumed else {value: names.get(number, "ignore") for value, number in (self.table or {}).items()}
        return such_as(values, self.classes, known | dict.fromkeys(self.ignored, "ignore"), self.from_command)

    def _note_lossy(self, values: Sequence[int], path: Path) -> None:
        if "lossy" not in self.notes and not set(values) <= {0, 255}:
            self.notes.add("lossy")
            log.warning(
                "%s: %s holds %d values near 0 and 255, as lossy compression makes them; such masks are split at %d (%s)",
                "predict" if self.from_command else "prepare", path, len(values), MIDDLE,
                "--mask-threshold" if self.from_command else "option `threshold`",
            )  # fmt: skip


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the sorted values of an array, each once; those of bytes are counted, which is faster than `numpy.unique`."""
    return np.flatnonzero(np.bincount(values.ravel())) if values.dtype == np.uint8 else np.unique(values)


def are_whole(values: Iterable[float]) -> bool:
    """Return whether all values are whole numbers, as keys of the option `labels` must be."""
    return all(float(value).is_integer() for value in values)


def describe_values(values: Sequence[float]) -> str:
    """Say which values one mask has."""
    shown = ", ".join(f"{value:g}" for value in values[:MOST_SHOWN]) + (", …" if len(values) > MOST_SHOWN else "")
    return f"it has the values {shown} (other masks may have others)"


def such_as(values: Sequence[float], classes: Sequence[str], known: Mapping[int, str], from_command: bool = False) -> str:
    """Return an example of the option `labels`, with a comma before it; nothing where the values are too many, or no whole numbers.

    Args:
        values: raw values of a mask.
        classes: names of the non-background classes. Of several ones none is guessed, unless every value is a class number, or
            one value and one class are left; the only class takes the first unknown value, and further values are ignored.
        known: names of the values that have one.
        from_command: whether it is an option of the command line, not one of a reader.
    """
    if not classes or len(values) > MOST_SHOWN or not are_whole(values):
        return ""
    names: dict[float, str] = {0: "background"}
    names.update(known.items())
    free = [name for name in classes if name not in names.values()]
    unknown = sorted({*values, *known} - names.keys(), key=lambda value: (len(classes) > 1 or value != WHITE, value))
    if not known and set(values) <= set(range(len(classes) + 1)):
        names.update(enumerate(classes, start=1))
    elif len(classes) == 1 or not free or (known and len(free) == len(unknown) == 1):
        names.update(zip(unknown, [*free, *["ignore"] * len(unknown)], strict=False))
    example = show_labels({value: names.get(value, PLACEHOLDER) for value in sorted({*values, *known})}, from_command)
    return f", such as `{example}` (each value {', '.join(classes) if len(classes) > 1 else 'a class'}, `background` or `ignore`)"


def show_labels(table: Mapping[int, str] | Mapping[float, str], from_command: bool = False) -> str:
    """Return the option `labels` with a table, as it is written in a definition or in a command."""
    pairs = ", ".join(f"{value:g}: {name}" for value, name in table.items())
    return f"--labels {shlex.quote(f'{{{pairs}}}')}" if from_command else f"labels: {{{pairs}}}"


def read_rule(
    labels: Any, classes: Sequence[str], threshold: Any, *, segments: bool = False,
    look: Callable[[], tuple[Path, Sequence[float]] | None] | None = None,
) -> MaskRule:  # fmt: skip
    """Check the options `labels` and `threshold`.

    Args:
        labels: raw value -> class, `background` or `ignore`.
        classes: names of the non-background classes.
        threshold: lowest value of the only class.
        segments: whether masks may be DICOM segmentations: `labels` may then map labels of segments, too, and a segment that
            has the name of a class is of that class.
        look: returns a mask's file and its values, for the message where several classes have no table; None if there is none.

    Raises:
        InputError: one of them is invalid, or several classes have no table.
    """
    numbers = {"background": 0} | {name: number for number, name in enumerate(classes, start=1)} | {"ignore": IGNORE}
    if segments and (labels is None or isinstance(labels, Mapping)):
        texts = {value: name for value, name in (labels or {}).items() if isinstance(value, str)}
        if unknown := [name for name in texts.values() if name not in numbers]:
            raise InputError(f"expected the option labels to map to one of {', '.join(numbers)}, but got {unknown[0]!r}")
        by_label = {name: numbers[name] for name in classes} | {label: numbers[name] for label, name in texts.items()}
        rest = {value: name for value, name in (labels or {}).items() if value not in texts}
        alone = MaskRule({} if len(classes) > 1 else None, frozenset(), threshold, classes=tuple(classes))
        return replace(read_rule(rest, classes, threshold) if rest else alone, segments=by_label)
    if labels is None and len(classes) > 1 and look and (seen := look()):
        raise InputError(
            f"expected the option labels to map raw values to each of {', '.join(classes)}, but it is not set; look at {seen[0]}: "
            f"{describe_values(seen[1])}; set the option `labels`{such_as(seen[1], classes, {})}, as they are meant"
        )
    try:
        if not (labels or (labels is None and len(classes) == 1)) or any(type(value) is not int for value in labels or {}):
            raise KeyError("a label is not a whole number")
        table = {value: numbers[name] for value, name in (labels or {}).items()}
    except (AttributeError, KeyError, TypeError):
        known = ", ".join(numbers)
        got = "it is not set" if labels is None else f"got {labels!r}"
        raise InputError(f"expected the option labels to map raw values, whole numbers, to one of {known}, but {got}") from None
    ignored = frozenset(value for value, number in table.items() if number == IGNORE)
    named = {value: number for value, number in table.items() if number != IGNORE}
    if threshold is not None and (type(threshold) not in (int, float) or not np.isfinite(threshold) or named or len(classes) > 1):
        raise InputError(
            "expected the option threshold to be the lowest value of the only class, without other `labels` than `ignore`, but got "
            f"{threshold!r} with {reprlib.repr(list(classes))} and {reprlib.repr(labels)}"
        )
    if not named and len(classes) > 1:
        raise InputError(f"expected the option labels to map raw values to each of {', '.join(classes)}, but got {labels!r}")
    return MaskRule(named or None, ignored, threshold, classes=tuple(classes))


def join_masks(masks: Sequence[np.ndarray], paths: Sequence[Path]) -> np.ndarray:
    """Return the union of several masks (h, w) of one picture; a pixel that one of them ignores is ignored.

    Raises:
        InputError: the masks differ in size, or a pixel has two classes.
    """
    whole = masks[0].copy()
    for mask, path in zip(masks[1:], paths[1:], strict=True):
        if mask.shape != whole.shape:
            raise InputError(f"expected masks of one size to join, but {paths[0]} and {path} differ; replace one of them")
        clash = (whole > 0) & (mask > 0) & (whole != mask) & (whole != IGNORE) & (mask != IGNORE)
        if clash.any():
            raise InputError(
                f"expected one class per pixel in the masks to join, but {clash.sum()} pixels of {path} have another class in "
                f"{paths[0]} or a mask after it; correct the masks"
            )
        np.maximum(whole, mask, out=whole)
    return whole
