"""Registry of selectors, each with its names, its mark, its choice and its cost.

To add one, add one line to `SELECTORS`; tables, texts and pictures take everything from there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pickle import PicklingError
from typing import Any, Protocol

from medtransfer.metrics.transfer import Key
from medtransfer.selectors.marks import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Mark
from medtransfer.selectors.rules import RULES, Choice, Rule
from medtransfer.selectors.score_names import INDICATOR_NAMES
from medtransfer.selectors.trials import LAST, Trial, last_once, once, race, twice

OUTCOME = "outcome"  # in place of a score: the mean outcome itself, which is known only in hindsight
HISTORY = "history"  # score of a pool by the outcomes of the same weights on other targets


class Pool(Protocol):
    """Candidates that are compared on one target, as a selector sees them.

    Attributes:
        candidates: keys of the candidates, ascending; the epochs of a series.
        is_series: whether the candidates are checkpoints of one pretraining, keyed by epoch.
        means: mean outcome by candidate.
        scores: scores by name and candidate.
        unfit: candidates without a usable score, by name of the score; rules pass over them.
        common_seeds: seeds that all candidates were fine-tuned with.
    """

    @property
    def candidates(self) -> tuple[Key, ...]: ...  # noqa: D102
    @property
    def is_series(self) -> bool: ...  # noqa: D102
    @property
    def means(self) -> Mapping[Key, float]: ...  # noqa: D102
    @property
    def scores(self) -> Mapping[str, Mapping[Key, float]]: ...  # noqa: D102
    @property
    def unfit(self) -> Mapping[str, Collection[Key]]: ...  # noqa: D102
    @property
    def common_seeds(self) -> Sequence[int]: ...  # noqa: D102


@dataclass(frozen=True)
class Selector:
    """A method of choosing among the candidates of a pool.

    Attributes:
        name: name in tables, options and the store.
        label: name in headings.
        phrase: name within sentences.
        meaning: what it does, in one line.
        mark: colour and shape.
        choose: the choice in a pool; None where it cannot choose. A choice of None is a blind draw, or that of a trial.
        spent: epochs of pretraining that had to be run before a choice could be made; 0 where the weights exist.
        needs: score that it chooses by; None where it looks at none.
        rule: that it applies to this score.
        sign: 1 where higher scores are better, -1 where lower ones are; the rule sees the score times it.
        length: of the pretraining in epochs where it is fixed beforehand.
        baseline: whether others are measured against it.
        against: selectors that it is compared with, pool by pool.
        further: whether it is one of many that share a mark, which pictures name together.
        trial: fine-tunings that it chooses by; None where it chooses before any.
    """

    name: str
    label: str
    phrase: str
    meaning: str
    mark: Mark
    choose: Callable[[Pool], Choice[Any] | None] = field(compare=False, repr=False)
    spent: Callable[[Pool, Choice[Any]], float] = field(compare=False, repr=False)
    needs: str | None = None
    rule: type[Rule[Any]] | None = None
    sign: int = 1
    length: int | None = None
    baseline: bool = False
    against: tuple["Selector", ...] = ()
    further: bool = False
    trial: Trial | None = None

    def __reduce__(self) -> tuple[Callable[[str], "Selector"], tuple[str]]:
        """Pickle it by name, since its functions cannot be.

        Raises:
            PicklingError: it is not the one of its name.
        """
        known = fixed(self.length) if self.length and self.name not in SELECTORS else SELECTORS.get(self.name)
        if self != known:
            raise PicklingError(f"the selector {self.name} is neither one of SELECTORS nor a fixed length")
        return named, (self.name,)

    def rungs(self, pool: Pool) -> tuple[int, ...]:
        """Return the number of candidates in each rung of its trial in a pool; empty without one."""
        return self.trial.rungs(len(pool.candidates), len(pool.common_seeds)) if self.trial else ()


def complete_scores(pool: Pool, name: str) -> dict[Key, float]:
    """Return the scores of a pool's candidates; empty if any lacks it, except the random initialisation of a series.

    Candidates whose features are not finite have no usable score and are passed over.
    """
    scores = {candidate: score for candidate, score in pool.scores.get(name, {}).items() if candidate in pool.candidates}
    optional = ({0} if pool.is_series else set()) | set(pool.unfit.get(name, ()))
    return scores if set(pool.candidates) - optional <= set(scores) else {}


def by_score(
    name: str, needs: str, rule: str, label: str, phrase: str, meaning: str, mark: Mark, baseline: bool = False,
    against: tuple[Selector, ...] = (), higher_is_better: bool = True,
) -> Selector:  # fmt: skip
    """Build the selector that applies a rule of `RULES`, one that needs scores alone, to a score of the pool.

    It can choose if every candidate has the score; the random initialisation may lack it and is then ignored. A rule that
    needs epochs can choose only in a series.
    """
    applied, sign = RULES[rule], 1 if higher_is_better else -1

    def choose(pool: Pool) -> Choice[Any] | None:
        scores = complete_scores(pool, needs)
        if not scores or (applied.needs_epochs and not (pool.is_series and any(scores))):
            return None
        return applied.choose({candidate: sign * score for candidate, score in scores.items()})

    return Selector(
        name, label, phrase, meaning, mark, choose, _until_stop, needs=needs, rule=applied, sign=sign, baseline=baseline,
        against=against,
    )  # fmt: skip


def fixed(epoch: int) -> Selector:
    """Build the selector that always pretrains for the same number of epochs."""
    return Selector(
        name=f"fixed-{epoch}", label=f"always epoch {epoch}", phrase=f"always epoch {epoch}",
        meaning=f"pretrains for {epoch} epochs, decided beforehand", mark=Mark(BLUE, "o"), baseline=True, length=epoch,
        choose=lambda pool: _epoch(pool, epoch), spent=lambda pool, choice: epoch,
    )  # fmt: skip


def named(name: str) -> Selector:
    """Return the selector of a name, one of `SELECTORS` or a fixed length."""
    return SELECTORS[name] if name in SELECTORS else fixed(int(name.removeprefix("fixed-")))


def _epoch(pool: Pool, epoch: int) -> Choice[Any] | None:
    return Choice(epoch) if pool.is_series and epoch in pool.candidates else None


def _last(pool: Pool) -> Any:
    return pool.candidates[-1] if pool.is_series else 0


def _until_stop(pool: Pool, choice: Choice[Any]) -> float:
    return choice.stopped_at or _last(pool)


def _whole(pool: Pool, choice: Choice[Any]) -> float:
    return _last(pool)


def _on_average(pool: Pool, choice: Choice[Any]) -> float:
    return sum(map(int, pool.candidates)) / len(pool.candidates) if pool.is_series else 0


NONE = Selector(
    name="none", label="no pretraining", phrase="no pretraining",
    meaning="epoch 0: the random initialisation, or the weights that a pretraining continues from",
    mark=Mark(BLUE, "_"), baseline=True, length=0, choose=lambda pool: _epoch(pool, 0), spent=lambda pool, choice: 0,
)  # fmt: skip
FULL = Selector(
    name="full", label="last checkpoint", phrase="the last checkpoint", meaning="pretrains to the end",
    mark=Mark(BLUE, "v"), baseline=True, choose=lambda pool: _epoch(pool, _last(pool)), spent=_whole,
)  # fmt: skip
RANDOM = Selector(
    name="random", label="random checkpoint", phrase="a random checkpoint", meaning="expected value of a blind draw",
    mark=Mark(GREY, "P"), baseline=True, choose=lambda pool: Choice(None), spent=_on_average,
)  # fmt: skip
ORACLE = Selector(
    name="oracle", label="best in hindsight", phrase="the best checkpoint", meaning="TIS 1 by definition",
    mark=Mark(BLACK, "*"), needs=OUTCOME, rule=RULES["best"], choose=lambda pool: RULES["best"].choose(pool.means),
    spent=_whole,
)  # fmt: skip
EQUAL_COST = Selector(  # only compared with, since its length depends on the mean cost of the other selector
    name="fixed at equal cost", label="fixed at equal cost", phrase="fixed lengths of equal cost",
    meaning="fixed lengths that cost as many epochs on average", mark=Mark(BLUE, "o"), baseline=True,
    choose=lambda pool: None, spent=_whole,
)  # fmt: skip
_OPPONENTS = (NONE, FULL, RANDOM)  # a rule that sees every checkpoint costs as much as the last one


def by_indicator(name: str) -> Selector:
    """Build the selector of the best score by an indicator, with the name and meaning in INDICATOR_NAMES."""
    named = INDICATOR_NAMES[name]
    built = by_score(
        name.replace("_", "-"), name, "best", named.label, named.label, f"the checkpoint {named.prefers}", Mark(SKY, "p"),
        higher_is_better=named.higher_is_better,
    )  # fmt: skip
    return replace(built, further=True)


def by_fine_tuning(
    name: str, trial: Trial, label: str, phrase: str, meaning: str, mark: Mark, further: bool = False
) -> Selector:  # fmt: skip
    """Build the selector that fine-tunes candidates and takes the best; the choice differs from seed to seed."""
    built = Selector(name, label, phrase, meaning, mark, lambda pool: None, _whole, further=further, trial=trial)
    return replace(built, choose=lambda pool: Choice(None) if built.rungs(pool) else None)


SELECTORS: dict[str, Selector] = {
    selector.name: selector for selector in (
        by_score("offline", "robustness", "best", "robustness, offline", "robustness (offline)",
                 "the checkpoint of the highest robustness", Mark(VERMILLION, "^"), against=_OPPONENTS),
        by_score("online", "robustness", "first-drop", "robustness, online", "robustness (online)",
                 "stops pretraining where robustness first fails to rise, keeps the checkpoint before",
                 Mark(GREEN, "D", "--"), against=(*_OPPONENTS, EQUAL_COST)),
        by_score("online-keep-stop", "robustness", "keep-stop", "robustness, online, keeping the stop",
                 "robustness (online, keeping the stop)",
                 "stops where robustness first fails to rise and keeps that checkpoint, at the cost of the online choice",
                 Mark(ORANGE, "h")),
        by_score("source-accuracy", "source_accuracy", "best", "source accuracy", "source accuracy",
                 "the checkpoint most accurate on the source images", Mark(PURPLE, "s"), baseline=True),
        by_score("history", HISTORY, "best", "history", "history",
                 "the checkpoint with the highest mean TIS on the other targets of the report", Mark(GREY, "X"), baseline=True),
        *(by_indicator(name) for name in INDICATOR_NAMES),
        by_fine_tuning("one-each", Trial(once), "one fine-tuning each", "one fine-tuning of each checkpoint",
                       "fine-tunes every checkpoint with one seed and takes the best", Mark(BLACK, "d")),
        by_fine_tuning("one-each-last5", Trial(last_once), f"one fine-tuning each, last {LAST}",
                       f"one fine-tuning of each of the last {LAST} checkpoints",
                       f"fine-tunes the last {LAST} checkpoints with one seed and takes the best", Mark(SKY, "p"), further=True),
        by_fine_tuning("two-seeds", Trial(twice), "two fine-tunings each", "two fine-tunings of each checkpoint",
                       "fine-tunes every checkpoint with two seeds and takes the best mean", Mark(SKY, "p"), further=True),
        by_fine_tuning("race", Trial(race), "race by seeds", "a race by seeds",
                       "fine-tunes all with one seed, the best third with a second one, a third of these with a third one, "
                       "each in full length", Mark(BLACK, "8")),
        NONE, FULL, RANDOM, ORACLE,
    )
}  # fmt: skip
CONTRASTED = tuple(selector for selector in SELECTORS.values() if selector.against)


def selectors_for(pool: Pool) -> list[Selector]:
    """Return all selectors of a pool: those of `SELECTORS`, then the fixed lengths of a series."""
    lengths = [fixed(int(epoch)) for epoch in pool.candidates if epoch] if pool.is_series else []
    return [*SELECTORS.values(), *lengths]
