"""Finished trials go in; the best settings, judged in-sample and on targets that they never saw, come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medtransfer.search.evaluate import Evaluator, Setting
from medtransfer.search.study import Trial


@dataclass(frozen=True)
class Best:
    """The best trial of a study.

    Attributes:
        study: its name.
        trial: its number; of equal trials the earliest.
        setting: what it tried.
        value: mean TIS offline over the configurations that the study sees.
        tied: how many other settings have the very same value.
        trials: how many were counted.
    """

    study: str
    trial: int
    setting: Setting
    value: float
    tied: int
    trials: int


@dataclass(frozen=True)
class Scores:
    """Mean TIS over some configurations.

    Attributes:
        chosen: of the setting in question, offline.
        online: of the same setting, online.
        default: of the setting that the params name, None where its scores were not stored.
        full: of always taking the last checkpoint.
        none: of no pretraining, None where it was not fine-tuned everywhere.
    """

    chosen: float
    online: float
    default: float | None
    full: float
    none: float | None


@dataclass(frozen=True)
class HeldOut:
    """One target, judged by the setting that was chosen without it; its cases are at `places`."""

    target: str
    best: Best
    places: tuple[int, ...]
    scores: Scores


@dataclass(frozen=True)
class Family:
    """The configurations that share a winner: all, or those of one encoder.

    Attributes:
        encoder: empty when all encoders share the winner.
        best: of the study that sees every target.
        places: of the cases.
        targets: of the cases.
        in_sample: the winner on the very configurations that it was chosen on.
        held_out: by target; empty with a single target.
    """

    encoder: str
    best: Best
    places: tuple[int, ...]
    targets: tuple[str, ...]
    in_sample: Scores
    held_out: tuple[HeldOut, ...]


@dataclass(frozen=True)
class Totals:
    """Means over the configurations of all families; `held_out` is None where a family has a single target."""

    configurations: int
    in_sample: Scores
    held_out: Scores | None

    @property
    def optimism(self) -> float | None:
        """Give by how much the in-sample value flatters."""
        return None if self.held_out is None else self.in_sample.chosen - self.held_out.chosen

    def metrics(self) -> dict[str, float]:
        """Give the numbers under the names that the store uses."""
        held = self.held_out
        found = {
            "tis_in_sample": self.in_sample.chosen, "tis_in_sample_online": self.in_sample.online,
            "tis_default": self.in_sample.default, "tis_full": self.in_sample.full, "tis_none": self.in_sample.none,
            "tis_held_out": held.chosen if held else None, "tis_held_out_online": held.online if held else None,
            "optimism": self.optimism,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}


def find_best(study: str, trials: Sequence[Trial]) -> Best:
    """Take the highest value, of equal ones the earliest trial, and count the other settings that reach it."""
    best = max(trials, key=lambda one: (one.value, -one.number))
    equal = {one.setting for one in trials if one.value == best.value}
    return Best(study, best.number, best.setting, best.value, len(equal) - 1, len(trials))


def judge_family(
    encoder: str, places: Sequence[int], best: Best, without: Mapping[str, Best], evaluator: Evaluator, default: Setting | None
) -> Family:
    """Judge the winner in-sample, and each target by the setting that was chosen without it.

    Args:
        encoder: name of the family, empty for all.
        places: of its cases.
        best: of the study over all targets.
        without: best of the study that does not see the target, by target.
        evaluator: of all cases.
        default: the setting to compare with, None where it was not measured.
    """
    held = []
    for target, chosen in without.items():
        own = tuple(place for place in places if evaluator.cases[place].target == target)
        held.append(HeldOut(target, chosen, own, average(evaluator, dict.fromkeys(own, chosen.setting), default)))
    targets = tuple(sorted({evaluator.cases[place].target for place in places}))
    in_sample = average(evaluator, dict.fromkeys(places, best.setting), default)
    return Family(encoder, best, tuple(places), targets, in_sample, tuple(held))


def average(evaluator: Evaluator, settings: Mapping[int, Setting], default: Setting | None) -> Scores:
    """Average over the cases at the given places, each judged at its setting."""
    outcomes = [evaluator.outcomes(setting)[place] for place, setting in settings.items()]
    cases = [evaluator.cases[place] for place in settings]
    nones = [case.none for case in cases if case.none is not None]
    return Scores(
        _mean([one.offline for one in outcomes]), _mean([one.online for one in outcomes]),
        None if default is None else evaluator.mean_tis(default, tuple(settings)),
        _mean([case.full for case in cases]), _mean(nones) if len(nones) == len(cases) else None,
    )  # fmt: skip


def total(families: Sequence[Family], evaluator: Evaluator, default: Setting | None) -> Totals:
    """Average over the configurations of all families."""
    shared = {place: family.best.setting for family in families for place in family.places}
    held = {place: one.best.setting for family in families for one in family.held_out for place in one.places}
    whole = shared.keys() == held.keys()
    return Totals(len(shared), average(evaluator, shared, default), average(evaluator, held, default) if whole else None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
