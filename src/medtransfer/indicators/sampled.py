"""Indicators that are a function of one sample, with standard errors from leaving out groups of images."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from medtransfer.indicators.contract import Batch, Context, Indicator, Measured, Options, Sampler
from medtransfer.metrics.jackknife import standard_error
from medtransfer.records.scores import Score, Setting
from medtransfer.seeds import derive_seed

Flags = dict[str, int]


class Sample(Protocol):
    """Rows that belong to images."""

    @property
    def images(self) -> NDArray[np.int64]:
        """Position of the image that each row is of, (N,)."""
        ...

    @property
    def flags(self) -> Flags:
        """Counts of noteworthy events, by name."""
        ...

    def keep(self, rows: NDArray[np.bool_]) -> Self:
        """Return the sample of the chosen rows."""
        ...


T = TypeVar("T", bound=Sample)
C = TypeVar("C", bound=Sample, covariant=True)


class Collector(Sampler, Protocol[C]):
    """A sampler whose sample is of one kind."""

    def collect(self) -> C:
        """Return the sample of all batches."""
        ...


class SampledIndicator(Indicator, Generic[T]):
    """Base class: a subclass names its sample and computes its value from it."""

    needs: ClassVar[frozenset[str]]

    @abstractmethod
    def sampler(self, context: Context) -> Collector[T]:
        """Return the sampler, which indicators share (`Context.samples`)."""

    @abstractmethod
    def measure(self, sample: T, context: Context) -> tuple[float, Flags]:
        """Return the value, NaN where it is not defined, and flags; zero counts are left out."""

    def measure_terms(self, sample: T, context: Context) -> tuple[float, Flags, dict[str, float]]:
        """Return the value, flags, and what the value is composed of, by name, each higher where it is better.

        Each term is a score of its own, whose setting has `term` besides; by default there are none.
        """
        return *self.measure(sample, context), {}

    def parts(self, sample: T) -> Sequence[T]:
        """Return the samples whose values are averaged: by default the sample itself."""
        return [sample]

    def setting(self, options: Options) -> Setting:
        """Return the parameters that the value depends on."""
        return {"level": options.level, "pixels": options.pixels}

    def metrics(self, options: Options) -> dict[str, Setting]:
        """Return the setting as that of the metric with the indicator's name."""
        return {self.name: self.setting(options)}

    def begin(self, context: Context) -> "SampledMeasurement[T]":
        """Start a measurement."""
        return SampledMeasurement(self, context)


class SampledMeasurement(Generic[T]):
    """Computes an indicator once the sample is complete."""

    def __init__(self, indicator: SampledIndicator[T], context: Context) -> None:
        """Start before the first batch."""
        self._indicator, self._context, self._sampler = indicator, context, indicator.sampler(context)

    def update(self, batch: Batch) -> None:
        """Do nothing: the pass feeds the shared sampler."""

    def compute(self) -> Measured:
        """Return the value of the sample, and those without each block of groups."""
        sample: T = self._context.samples.collect(self._sampler)
        value, flags, terms = self._measure(sample)
        blocks = assign_blocks(self._context.groups, self._context.blocks, self._context.seed)[sample.images]
        replicates = [
            float(self._measure(sample.keep(blocks != block))[0]) for block in range(self._blocks)
        ]  # fmt: skip
        undefined = {"undefined": 1} if np.isnan(value) else {}
        score = Score(
            self._indicator.name, self._indicator.setting(self._context.options), None if undefined else float(value),
            standard_error(replicates), flags | sample.flags | undefined,
            replicates if np.isfinite(replicates).all() else [],
        )  # fmt: skip
        parts = [Score(score.indicator, {**score.setting, "term": name}, term, flags=score.flags) for name, term in terms.items()]
        return Measured(self._context.images, [score, *parts])

    def _measure(self, sample: T) -> tuple[float, Flags, dict[str, float]]:
        """Return the mean over the parts of a sample that have a value, their highest flags, and the means of their terms.

        A part without rows, such as what is left where one block has all labels, has none.
        """
        parts = self._indicator.parts(sample)
        none: tuple[float, Flags, dict[str, float]] = np.nan, {}, {}
        measured = [self._indicator.measure_terms(part, self._context) if len(part.images) else none for part in parts]
        if len(measured) == 1:
            return measured[0]
        defined = [one for one in measured if not np.isnan(one[0])]
        if not defined:
            return none
        values, flags, terms = zip(*defined, strict=True)
        highest = {
            name: max(each.get(name, 0) for each in flags) for name in dict.fromkeys(name for each in flags for name in each)
        }
        highest |= {"undefined_labels": left_out} if (left_out := len(parts) - len(defined)) else {}
        return float(np.mean(values)), highest, {name: float(np.mean([each[name] for each in terms])) for name in terms[0]}

    @property
    def _blocks(self) -> int:
        return count_blocks(self._context.groups, self._context.blocks)


def count_blocks(groups: Sequence[str], blocks: int) -> int:
    """Return how many blocks the groups are divided into: those asked for, at most the groups; none of fewer than 3 groups."""
    count = min(blocks, len(set(groups)))
    return count if count >= 3 else 0


def assign_blocks(groups: Sequence[str], blocks: int, seed: int) -> NDArray[np.int64]:
    """Divide groups, such as patients, into blocks of about as many groups each.

    Args:
        groups: group of each image.
        blocks: how many blocks.
        seed: seed of the assignment.

    Returns:
        Block of each image, (N,), all 0 where there are too few groups.
    """
    names, of = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(derive_seed(seed, "blocks")).permutation(len(names))
    block: NDArray[np.int64] = (order % max(1, count_blocks(groups, blocks)))[of]
    return block
