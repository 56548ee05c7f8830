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
Part = tuple[float, Flags, dict[str, float]]  # value, flags and terms


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
        blocks = assign_blocks(self._context.groups, self._context.blocks, self._context.seed)[sample.images]
        whole = self._measure(sample)
        without = [self._measure(sample.keep(blocks != block)) for block in range(self._blocks)]
        value, flags, terms, replicates = _mean(whole, without)
        undefined = {"undefined": 1} if np.isnan(value) else {}
        score = Score(
            self._indicator.name, self._indicator.setting(self._context.options), None if undefined else float(value),
            standard_error(replicates), flags | sample.flags | undefined,
            replicates if np.isfinite(replicates).all() else [],
        )  # fmt: skip
        parts = [Score(score.indicator, {**score.setting, "term": name}, term, flags=score.flags) for name, term in terms.items()]
        return Measured(self._context.images, [score, *parts])

    def _measure(self, sample: T) -> list[Part]:
        """Return value, flags and terms of each part of a sample; one without rows, such as a label of one block, has no value."""
        parts = self._indicator.parts(sample)
        return [self._indicator.measure_terms(part, self._context) if len(part.images) else (np.nan, {}, {}) for part in parts]

    @property
    def _blocks(self) -> int:
        return count_blocks(self._context.groups, self._context.blocks)


def _mean(whole: Sequence[Part], without: Sequence[Sequence[Part]]) -> tuple[float, Flags, dict[str, float], list[float]]:
    """Return the mean over parts of their values, their highest flags, the mean of each term, and the mean without each block.

    Parts with a value in the sample and without every block count, so that all these means are of the same ones; if there is
    none, those with a value in the sample. How many do not count is the flag `undefined_labels`.

    Args:
        whole: the P parts of the sample.
        without: those without each block, (blocks, P).
    """
    defined = np.array([[not np.isnan(value) for value, *_ in parts] for parts in (whole, *without)])  # (1 + blocks, P)
    chosen = defined.all(axis=0) if defined.all(axis=0).any() else defined[0]
    counted: list[int] = np.flatnonzero(chosen).tolist()
    values = [float(np.mean([parts[index][0] for index in counted])) if counted else np.nan for parts in (whole, *without)]
    names = dict.fromkeys(name for _, each, _ in whole for name in each)
    flags = {name: max(each.get(name, 0) for _, each, _ in whole) for name in names}
    flags |= {"undefined_labels": left_out} if len(whole) > 1 and (left_out := len(whole) - len(counted)) else {}
    first = whole[counted[0]][2] if counted else {}
    terms = {name: float(np.mean([whole[index][2][name] for index in counted])) for name in first}
    return values[0], flags, terms, values[1:]


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
