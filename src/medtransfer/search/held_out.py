"""Best setting over all targets, judged in-sample, and without each target, judged on that held-out target."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.metrics.comparison import ClusterMean, cluster_mean, differences
from medtransfer.metrics.ties import rounded
from medtransfer.search.evaluate import OBJECTIVE, Case, Table, tabulate
from medtransfer.search.settings import Tried, remoteness

ANY, PLAIN = "any", "any-default"  # in place of an indicator: all compete, at every setting or with one each
JOINT = {ANY, PLAIN}
COLUMNS = {"best": "tis", "first-drop": "tis_online"}  # columns of trials.csv by rule; those of others are tis_<rule>


@dataclass(frozen=True)
class Best:
    """The best setting on some cases.

    Attributes:
        study: name of the choice, such as `search-without-acdc`.
        trial: row of the setting in the table.
        setting: the setting.
        value: mean TIS over the cases that it was chosen on.
        tied: number of other settings with the same value.
        trials: number of settings compared.
    """

    study: str
    trial: int
    setting: Tried
    value: float
    tied: int
    trials: int


@dataclass(frozen=True)
class Scores:
    """TIS of one case, or its mean over several.

    Attributes:
        chosen: TIS at the chosen setting, by rule.
        default: TIS at the default setting of robustness; None if its scores are not stored.
        full: TIS of the last checkpoint.
        none: TIS of no pretraining; None if it was not fine-tuned everywhere.
    """

    chosen: dict[str, float]
    default: float | None
    full: float
    none: float | None


@dataclass(frozen=True)
class HeldOut:
    """One target, judged at the setting that was chosen without it.

    Attributes:
        target: its name.
        best: setting that was chosen without it.
        cases: TIS of each of its cases.
        weights: what the cases of a pretraining share, for each case.
    """

    target: str
    best: Best
    cases: tuple[Scores, ...]
    weights: tuple[str, ...]

    @property
    def scores(self) -> Scores:
        """Mean over the cases."""
        return average(self.cases)


@dataclass(frozen=True)
class Family:
    """The configurations that share a winner: all, or those of one encoder.

    Attributes:
        encoder: name of the encoder; empty if all encoders share the winner.
        table: TIS of its cases.
        best: best setting over all targets.
        cases: scores at the winner, in-sample.
        held_out: scores by held-out target; empty with a single target.
    """

    encoder: str
    table: Table
    best: Best
    cases: tuple[Scores, ...]
    held_out: tuple[HeldOut, ...]


@dataclass(frozen=True)
class Totals:
    """Means over the configurations of all families; those held out are None if a family has a single target.

    Attributes:
        configurations: number of configurations.
        in_sample: TIS where the settings were chosen.
        held_out: TIS on targets that the settings were chosen without.
        mean_held_out: mean of the latter at the chosen settings, with its error over pretrainings or targets
            (`with_overlap`).
        gain: likewise of its difference to the default setting; None if that is not scored.
    """

    configurations: int
    in_sample: Scores
    held_out: Scores | None
    mean_held_out: ClusterMean | None = None
    gain: ClusterMean | None = None

    @property
    def optimism(self) -> float | None:
        """In-sample value minus held-out value."""
        return None if self.held_out is None else self.in_sample.chosen[OBJECTIVE] - self.held_out.chosen[OBJECTIVE]

    def metrics(self) -> dict[str, float]:
        """Return the numbers by metric name in the tracking store."""
        seen = self.in_sample
        numbers: dict[str, float | None] = {}
        for name, scores in (("in_sample", seen), ("held_out", self.held_out)):
            for rule, value in scores.chosen.items() if scores else ():
                numbers[column(rule).replace("tis", f"tis_{name}", 1)] = value
        numbers |= {"tis_default": seen.default, "tis_full": seen.full, "tis_none": seen.none, "optimism": self.optimism}
        return {name: value for name, value in numbers.items() if value is not None}


@dataclass(frozen=True)
class Searched:
    """The search over the settings of one indicator, or over those of all.

    Attributes:
        name: of the indicator, or one of JOINT.
        families: configurations that share a winner.
        totals: means over the configurations of all families.
    """

    name: str
    families: tuple[Family, ...]
    totals: Totals


def column(rule: str) -> str:
    """Return the name of a rule's mean TIS in trials.csv."""
    return COLUMNS.get(rule, f"tis_{rule}".replace("-", "_"))


def judge_family(study: str, encoder: str, table: Table, default: RobustnessSetting, default_measured: bool) -> Family:
    """Find the winner over all targets and the one without each target.

    Args:
        study: name of the winner's choice.
        encoder: name of the family, empty for all encoders.
        table: TIS of its cases.
        default: setting of robustness to compare with; among equally good settings the nearest to it wins.
        default_measured: whether the default can be judged on the stored scores.
    """
    at_default = tabulate(table.cases, [default]) if default_measured else None
    everything = range(len(table.cases))
    best = find_best(study, table, everything, default)
    targets = table.cases_by_target()
    held_out = []
    for target, cases in targets.items() if len(targets) > 1 else ():
        seen = [case for case in everything if case not in cases]
        chosen = find_best(f"{study}-without-{target}", table, seen, default)
        weights = tuple(table.cases[case].weights for case in cases)
        judged = tuple(_judge(table, at_default, case, chosen.trial) for case in cases)
        held_out.append(HeldOut(target, chosen, judged, weights))
    in_sample = tuple(_judge(table, at_default, case, best.trial) for case in everything)
    return Family(encoder, table, best, in_sample, tuple(held_out))


def _judge(table: Table, default: Table | None, case: int, row: int) -> Scores:
    judged: Case = table.cases[case]
    chosen = {rule: float(tis[row, case]) for rule, tis in table.tis.items()}
    return Scores(chosen, None if default is None else float(default.tis[OBJECTIVE][0, case]), judged.full, judged.none)


def find_best(study: str, table: Table, cases: Sequence[int], default: RobustnessSetting) -> Best:
    """Return the setting with the highest mean TIS over the cases; ties go to the nearest to the default."""
    values = table.mean(cases).tolist()
    best = rank(table, values, default)[0]
    return Best(
        study, best, table.settings[best], values[best], list(map(rounded, values)).count(rounded(values[best])) - 1, len(values)
    )


def rank(table: Table, values: Sequence[float], default: RobustnessSetting) -> list[int]:
    """Rank the table's rows by descending value; ties by nearness to the default."""
    return sorted(range(len(values)), key=lambda row: (-rounded(values[row]), *remoteness(table.settings[row], default)))


def average(cases: Sequence[Scores]) -> Scores:
    """Average over cases."""
    defaults = [case.default for case in cases if case.default is not None]
    nones = [case.none for case in cases if case.none is not None]
    return Scores(
        {rule: _mean([case.chosen[rule] for case in cases]) for rule in cases[0].chosen},
        _mean(defaults) if len(defaults) == len(cases) else None, _mean([case.full for case in cases]),
        _mean(nones) if len(nones) == len(cases) else None,
    )  # fmt: skip


def total(families: Sequence[Family]) -> Totals:
    """Average over the configurations of all families."""
    seen = [case for family in families for case in family.cases]
    targets = [target for family in families for target in family.held_out]
    held_out = [case for target in targets for case in target.cases]
    if len(held_out) != len(seen):
        return Totals(len(seen), average(seen), None)
    factors = {
        "pretraining": [weights for target in targets for weights in target.weights],
        "target": [target.target for target in targets for _ in target.cases],
    }  # fmt: skip
    values, defaults = [case.chosen[OBJECTIVE] for case in held_out], [case.default for case in held_out]
    known = [default for default in defaults if default is not None]
    gain = cluster_mean(differences(values, known), factors) if len(known) == len(values) else None
    mean = cluster_mean(values, factors)
    if any(family.best.trials > 1 for family in families):
        folds = min(len(family.held_out) for family in families)
        mean, gain = with_overlap(mean, folds), gain and with_overlap(gain, folds)
    return Totals(len(seen), average(seen), average(held_out), mean, gain)


def with_overlap(mean: ClusterMean, folds: int) -> ClusterMean:
    """Return a mean over held-out targets with an error that counts what the choices without each target have in common.

    Any two of these choices are made on the same targets but one, so the held-out values depend on each other, and the error of
    independent values is too small. The variance is multiplied by 1 + folds / (folds - 1), for folds - 1 training targets to
    one test target.

    Args:
        mean: over all held-out targets, as if they were independent.
        folds: number of targets, each held out once; at least 2.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003.
    """
    return mean if mean.error is None else replace(mean, error=mean.error * sqrt(1 + folds / (folds - 1)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
