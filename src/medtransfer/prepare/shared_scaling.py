"""One intensity scale for several images: equal raw values become equal pixels."""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from medtransfer.data.intensities import PERCENTILES, IntensityRule, Limits, read_intensity_rule, require_finite, to_uint8
from medtransfer.errors import InputError
from medtransfer.prepare.faults import attempt_all
from medtransfer.progress import track
from medtransfer.records import ImageRule
from medtransfer.seeds import derive_seed

DRAWN, MOST = 10_000, 10**7  # pixels of each image that the statistics are computed from, and of all of them
Source = TypeVar("Source")


class SharedScaling(Generic[Source]):
    """The raw values that become 0 and 255 by a rule for several images together.

    The images are read when the first of them is scaled. Of each up to DRAWN pixels count, drawn by a fixed seed.
    """

    def __init__(
        self, sources: Sequence[Source], read: Callable[[Source], np.ndarray], rule: IntensityRule,
        files_of: Callable[[Source], Sequence[Path]] | None = None,
    ) -> None:  # fmt: skip
        """Name the images.

        Args:
            sources: what `read` reads.
            read: returns the finite intensities of one image, (..., C).
            rule: what is computed from them, for each channel.
            files_of: returns the files of an image, where all that cannot be read are to be named (`faults`).
        """
        self._sources, self._read, self.rule, self._files_of = list(sources), read, rule, files_of

    def restrict(self, sources: Collection[Source]) -> None:
        """Compute the statistics of these images alone, such as those of the training split."""
        self._sources = [source for source in self._sources if source in sources]
        self.__dict__.pop("limits", None)  # computed again where all images were read before

    @cached_property
    def limits(self) -> list[Limits]:
        """Raw values that become 0 and 255, of each channel; one apart where all values are the same."""
        number = min(DRAWN, max(1, MOST // max(1, len(self._sources))))
        sources = enumerate(track(self._sources, "prepare: intensities", len(self._sources), "pictures"))

        def draw(numbered: tuple[int, Source]) -> np.ndarray:
            return _draw(self._read(numbered[1]), number, numbered[0])

        if (files_of := self._files_of) is None:
            drawn = np.concatenate(list(map(draw, sources)))  # (N, C)
        else:
            drawn = np.concatenate(attempt_all(sources, draw, lambda numbered: files_of(numbered[1])))
        limits = [self.rule.limits(values) for values in drawn.T]
        return [(low, high if high > low else low + 1) for low, high in limits]


def _draw(values: np.ndarray, number: int, index: int) -> np.ndarray:
    values = values.reshape(-1, values.shape[-1])  # (pixels, C)
    if len(values) <= number:
        return values
    return values[np.random.default_rng(derive_seed("intensities", index)).integers(len(values), size=number)]


class DatasetScaling(Generic[Source]):
    """How the images of one dataset are scaled to uint8, by the option `scaling`."""

    def __init__(
        self, option: Any, own: str, sources: Sequence[Source], groups: Sequence[str], read: Callable[[Source], np.ndarray],
        files_of: Callable[[Source], Sequence[Path]],
    ) -> None:  # fmt: skip
        """Read the option.

        Args:
            option: `own`, `group` or `dataset`, whose percentiles 0.5 and 99.5 become 0 and 255; or a rule as in
                `read_intensity_rule`, a mapping with the further key `over` for one of these three.
            own: what each image is called, `image` or `volume`.
            sources: what `read` reads, without images whose values are kept.
            groups: the patient of each.
            read: returns the finite intensities of one image, (..., C).
            files_of: returns the files of one image.

        Raises:
            InputError: the option is invalid.
        """
        names = (own, "group", "dataset")
        given = dict(option) if isinstance(option, dict) else option
        over = given.pop("over", own) if isinstance(given, dict) else own
        if isinstance(given, str):
            over, given = given, None
        if over not in names:
            raise InputError(
                f"expected the option scaling to be one of {', '.join(names)}, or a rule such as [low, high], "
                f"{{percentiles: [1, 99], over: dataset}} or {{z-score: 3}}, but got {option!r}"
            )
        self.rule = PERCENTILES if given is None else read_intensity_rule(given)
        self.over = None if self.rule.kind == "window" else over
        self._own = own
        keys = dict(zip(sources, groups if over == "group" else ["dataset"] * len(sources), strict=True))
        members: dict[str, list[Source]] = {key: [] for key in keys.values()}
        for source, key in keys.items():
            members[key].append(source)
        self._shared = {key: SharedScaling(sources, read, self.rule, files_of) for key, sources in members.items()}
        self._keys = keys

    @property
    def apart(self) -> bool:
        """Whether each image is scaled by its own statistics."""
        return self.over == self._own

    def scale(self, source: Source, values: np.ndarray, path: Path) -> np.ndarray:
        """Scale the intensities (..., C) of one of the images to uint8, each channel by its own statistics.

        Raises:
            InputError: a value is NaN or infinite.
        """
        values = require_finite(values, path)
        channels = np.moveaxis(values, -1, 0)  # (C, ...)
        if self.over in ("group", "dataset"):
            limits = self._shared[self._keys[source]].limits
        else:
            limits = [self.rule.limits(channel) for channel in channels]
        return np.stack([to_uint8(channel, *pair) for channel, pair in zip(channels, limits, strict=True)], axis=-1)

    def restrict(self, sources: Collection[Source]) -> None:
        """Compute the statistics of the dataset from these images alone, those of the training split."""
        if self.over == "dataset" and self._shared:
            self._shared["dataset"].restrict(sources)

    def limits(self) -> list[Limits]:
        """Return the raw values that become 0 and 255 in the whole dataset, of each channel; empty if there are none."""
        if self.over is None:
            return [(self.rule.low, self.rule.high)]
        return self._shared["dataset"].limits if self.over == "dataset" and self._shared else []

    def image_rule(self, *, group: str | None, **others: Any) -> ImageRule:
        """Return the scaling as a rule for new images, once the dataset is read.

        Args:
            group: regular expression for a group; None where every image is one.
            others: further fields of the rule.
        """
        own = self.over == "group" and group is None
        over, limits = self._own if own else self.over, self.limits()
        if over == "dataset" and not limits:
            return ImageRule("keep", **others)
        return ImageRule(
            self.rule.kind, self.rule.low, self.rule.high, over=over, group=group if over == "group" else None,
            limits=[list(pair) for pair in limits] if over == "dataset" else None, **others,
        )  # fmt: skip

    def describe(self) -> str:
        """Describe the scaling in words, with the numbers that the whole dataset was scaled by."""
        if self.over is None:
            return str(self.rule)
        numbers = ", ".join(f"{low:g} and {high:g}" for low, high in self.limits())
        return f"{self.rule}, per {self.over}{f' ({numbers}, of training images)' if numbers else ''}"
