"""A claim in a paper's words, tested on its printed numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from medtransfer.metrics.comparison import holm
from medtransfer.metrics.two_samples import hedges_g, student, welch
from medtransfer.papers.printed.tables import Cell

SIGNIFICANT = 0.05  # level of the papers' own tests
ROUNDING = 1.5e-4  # largest difference between a claimed and a computed amount that rounding explains
Key = tuple[str, str, str]  # table, row, column
Holds = Literal["holds", "does not hold"]


@dataclass(frozen=True)
class Pair:
    """Two printed numbers of which the first is said to be ahead.

    Attributes:
        first: table, row and column of the first.
        second: those of the second.
        amount: by how much, where the paper says so.
    """

    first: Key
    second: Key
    amount: float | None = None


@dataclass(frozen=True)
class Claim:
    """A claim.

    Attributes:
        where: section, table or figure.
        statement: the claim, close to the paper's words.
        groups: pairs by what belongs together, such as a target or a method.
        each: pairs of a group that must be ahead for the group to count; None for all.
        least: groups that must count for the claim to hold; None for all.
        lower: whether lower numbers are ahead, as of epochs.
        ties: whether equal numbers count as ahead.
        same: whether the claim is that the numbers of a pair do not differ significantly: such a pair counts as ahead.
        rounding: largest difference between a claimed and a computed amount that counts as the same, in the table's unit.
    """

    where: str
    statement: str
    groups: Mapping[str, Sequence[Pair]]
    each: int | None = None
    least: int | None = None
    lower: bool = False
    ties: bool = False
    same: bool = False
    rounding: float = ROUNDING


@dataclass(frozen=True)
class Comparison:
    """One pair, compared.

    Attributes:
        group: name of its group.
        first: the first cell.
        second: the second.
        gain: by how much the first is ahead.
        ahead: whether it is, by as much as the paper says where it says so.
        p: p-value of the independent t test, as the papers do it; None without spreads.
        p_ddof0: the same if the printed spreads were divided by n, not n - 1.
        p_welch: of Welch's test.
        effect: Hedges' g, above 0 where the first is ahead.
        p_holm: `p`, corrected for the comparisons of the claim.
    """

    group: str
    first: Cell
    second: Cell
    gain: float
    ahead: bool
    p: float | None
    p_ddof0: float | None
    p_welch: float | None
    effect: float | None
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the first is ahead beyond chance, by the paper's own test."""
        return self.p is not None and self.p < SIGNIFICANT and self.gain > 0

    @property
    def reversed(self) -> bool:
        """Whether the second is ahead beyond chance."""
        return self.p is not None and self.p < SIGNIFICANT and self.gain < 0


@dataclass(frozen=True)
class Judged:
    """A claim with what the printed numbers say.

    Attributes:
        claim: the claim.
        comparisons: its pairs, compared.
        holds: whether the printed means bear it out.
    """

    claim: Claim
    comparisons: tuple[Comparison, ...]
    holds: Holds

    @property
    def tested(self) -> int:
        """Comparisons whose spreads are printed."""
        return sum(one.p is not None for one in self.comparisons)

    @property
    def corrected(self) -> int:
        """Comparisons in which the first is ahead beyond chance, after Holm's correction within the claim."""
        return sum(one.p_holm is not None and one.p_holm < SIGNIFICANT and one.gain > 0 for one in self.comparisons)

    def count(self, name: Literal["ahead", "significant", "reversed"]) -> int:
        """Count the comparisons with a property."""
        return sum(getattr(one, name) for one in self.comparisons)


def judge(claim: Claim, cells: Mapping[Key, Cell]) -> Judged:
    """Test a claim on printed numbers.

    Raises:
        KeyError: a number is not printed.
    """
    compared = [_compare(claim, name, pair, cells) for name, pairs in claim.groups.items() for pair in pairs]
    corrected = iter(holm([one.p for one in compared if one.p is not None]))
    comparisons = tuple(one if one.p is None else Comparison(**{**vars(one), "p_holm": next(corrected)}) for one in compared)
    counts = {name: sum(one.ahead for one in comparisons if one.group == name) for name in claim.groups}
    reached = sum(counts[name] >= (len(pairs) if claim.each is None else claim.each) for name, pairs in claim.groups.items())
    needed = len(claim.groups) if claim.least is None else claim.least
    return Judged(claim, comparisons, "holds" if reached >= needed else "does not hold")


def _compare(claim: Claim, group: str, pair: Pair, cells: Mapping[Key, Cell]) -> Comparison:
    first, second = cells[pair.first], cells[pair.second]
    sign = -1 if claim.lower else 1
    gain = round(sign * (first.value - second.value), 10)
    ahead = gain > 0 or (claim.ties and gain == 0)
    if pair.amount is not None:
        ahead = abs(gain - pair.amount) <= claim.rounding
    one, other = first.summary(), second.summary()
    if one is None or other is None:
        return Comparison(group, first, second, gain, ahead, None, None, None, None)
    p = student(one, other).p
    if claim.same:
        ahead = p >= SIGNIFICANT
    wide, wide_other = first.summary(ddof=0), second.summary(ddof=0)
    assert wide is not None and wide_other is not None
    return Comparison(
        group, first, second, gain, ahead, p, student(wide, wide_other).p, welch(one, other).p,
        sign * hedges_g(one, other),
    )  # fmt: skip
