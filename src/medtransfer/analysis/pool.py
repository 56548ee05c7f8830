"""Candidates that are compared on one target: their outcomes by seed, and their scores."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.metrics.transfer import Key, SeedMean, mean_over_seeds, named
from medtransfer.records import size_text
from medtransfer.records.checkpoint import SOURCE_ACCURACY
from medtransfer.records.lineage import Parent
from medtransfer.selectors.score_names import score_label
from medtransfer.selectors.selectors import HISTORY
from medtransfer.tasks.contract import Metric

PORTION = ("size", "fold", "folds")  # params of a fine-tuning on a portion of the training samples; `None` or absent: all


def portion_of(params: Mapping[str, str]) -> tuple[str, str]:
    """Return the texts of `Pool.portion` from a run's params."""
    size, fold, folds = (params.get(name, "None") for name in PORTION)
    share = "" if size == "None" else size_text(int(size) if size.isdigit() else float(size))
    return share, "" if folds == "None" else f"{fold}/{folds}"


def fields_of(pools: "Sequence[Pool]") -> list[dict[str, str]]:
    """Return the fields of pools as rows with the same columns."""
    columns = dict.fromkeys(name for pool in pools for name in pool.fields)
    return [{name: pool.fields.get(name, "") for name in columns} for pool in pools]


@dataclass(frozen=True)
class Pool:
    """Candidates that are compared on one target in one mode by one protocol.

    A candidate is one set of encoder weights, named by its key. In a series, the checkpoints of one pretraining, the key
    is the epoch.

    Attributes:
        fields: what the candidates share, of source, origin, encoder, target and mode; and `size` and `fold` of the training
            samples, where they are a portion: results of different portions are never mixed.
        digests: pretraining, data, protocol; runs of different digests are never mixed.
        outcome: test value of the metric by (candidate, seed).
        scores: every metric of the score run and the source accuracy, by name and candidate; robustness at the default
            setting of the mode; `history`, if the weights were fine-tuned on other targets, too.
        candidates: keys of all candidates that the store knows of, ascending.
        metric: primary metric of the task, which the outcomes are values of.
        setting: of the robustness, for people; empty when nothing was scored.
        score_run: id of the run that holds the scores and their per-image distances; empty when there is none.
        score_runs: ids of all score runs with the same images and views, that one first; empty likewise.
        score: the setting of that robustness; None when nothing was scored.
        every_seed: whether means go over all seeds of a candidate, not over those that all candidates share.
        runs: ids of the runs that it was read from.
        validation: validation value of the model that is kept by (candidate, seed), where every fine-tuning has one; a choice by
            fine-tuning goes by it.
        fine_tunings: ids of the runs of the fine-tunings, by (candidate, seed).
        recipe: digest of the pretraining's settings without its seed; empty for imported weights, and where it is unknown.
        pretraining_seed: seed of the pretraining; empty likewise.
        loaded: how many tensors of imported weights were loaded, where some were not; empty otherwise.
        seedless: whether the results of further seeds were left out, which are equal, as of a head that is solved for.
        blind: whether no model of any candidate predicts foreground in any test image.
        blank: number of fine-tunings whose model predicts no foreground in any test image.
        constant: metric of the best prediction that is the same in every pixel; minus infinity where it is not known.
        unfit: candidates whose score is not finite or not defined for some images, by score, with the reason; it is left out.
        other_targets: number of other targets that the score `history` rests on.
        label: distinguishes pools with the same fields.
        chain: how its weights came about, such as `supervised>chestxray14`, if its pretraining continues from a checkpoint.
        parents: the checkpoints that it continues from, oldest first; empty likewise.
    """

    fields: Mapping[str, str]
    digests: Mapping[str, str]
    outcome: Mapping[tuple[Key, int], float]
    scores: Mapping[str, Mapping[Key, float]]
    candidates: tuple[Key, ...]
    metric: Metric
    setting: str = ""
    score_run: str = ""
    score_runs: tuple[str, ...] = ()
    score: RobustnessSetting | None = None
    every_seed: bool = False
    runs: tuple[str, ...] = ()
    validation: Mapping[tuple[Key, int], float] = field(default_factory=dict)
    fine_tunings: Mapping[tuple[Key, int], str] = field(default_factory=dict)
    recipe: str = ""
    pretraining_seed: str = ""
    loaded: str = ""
    seedless: bool = False
    blind: bool = False
    blank: int = 0
    constant: float = -math.inf
    unfit: Mapping[str, Mapping[Key, str]] = field(default_factory=dict)
    other_targets: int = 0
    label: str = ""
    chain: str = ""
    parents: tuple[Parent, ...] = ()

    @property
    def name(self) -> str:
        """Readable name, which also seeds the random generators of the pool."""
        named = {**self.fields, **({"origin": self.chain} if self.chain else {})}
        weights = " ".join(named[name] for name in ("encoder", "origin") if name in named)
        start = weights or f"{len(self.candidates)} candidates"
        portion = "".join(f", {name} {value}" for name, value in zip(PORTION, self.portion, strict=False) if value)
        return f"{start} → {self.fields['target']}, {self.fields['mode']}{portion}{self.label}"

    @property
    def is_poor(self) -> bool:
        """Whether no candidate's mean is above what the same prediction in every pixel reaches."""
        return self.metric.is_poor(max(self.means.values()), self.constant)

    @property
    def portion(self) -> tuple[str, str]:
        """Size of the training subset, such as `20` or `5%`, and fold, such as `2/5`; empty for all images and without folds."""
        return self.fields.get("size", ""), self.fields.get("fold", "")

    @property
    def weights(self) -> str:
        """What pools of the same pretraining share: source, encoder and origin, as far as its candidates share them."""
        return " ".join(self.fields[name] for name in ("source", "encoder", "origin") if name in self.fields)

    @property
    def is_series(self) -> bool:
        """Whether the candidates are checkpoints of one pretraining, keyed by epoch."""
        return all(isinstance(candidate, int) for candidate in self.candidates)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that any candidate was fine-tuned with."""
        return tuple(sorted({seed for _, seed in self.outcome}))

    @cached_property
    def common_seeds(self) -> tuple[int, ...]:
        """Seeds that all fine-tuned candidates share; only over these are means comparable."""
        seeds: dict[Key, set[int]] = defaultdict(set)
        for candidate, seed in self.outcome:
            seeds[candidate].add(seed)
        return tuple(sorted(set.intersection(*seeds.values()))) if seeds else ()

    @property
    def same_seeds(self) -> bool:
        """Whether every fine-tuned candidate has the same seeds in `values`."""
        return bool(self.common_seeds) and (not self.every_seed or self.common_seeds == self.seeds)

    @property
    def used_seeds(self) -> set[int]:
        """Seeds that `values` are of."""
        return set(() if self.every_seed else self.common_seeds) or set(self.seeds)

    @cached_property
    def values(self) -> dict[Key, list[float]]:
        """Outcomes by candidate over the common seeds, or over all if none is common or with `every_seed`."""
        used = self.used_seeds
        values: dict[Key, list[float]] = {}
        for (candidate, seed), value in sorted(self.outcome.items()):
            if seed in used:
                values.setdefault(candidate, []).append(value)
        return values

    @cached_property
    def seed_means(self) -> dict[Key, SeedMean]:
        """Mean and standard deviation of `values`, by candidate."""
        values = self.values
        return mean_over_seeds({(key, index): value for key in values for index, value in enumerate(values[key])})

    @cached_property
    def means(self) -> dict[Key, float]:
        """Mean outcome by candidate."""
        return {candidate: statistics.mean for candidate, statistics in self.seed_means.items()}

    @cached_property
    def robustness(self) -> Mapping[Key, float]:
        """Robustness by candidate; empty if nothing was scored."""
        return self.scores.get("robustness", {})

    @cached_property
    def indicators(self) -> tuple[str, ...]:
        """The scores that the score run measured; robustness where nothing was scored."""
        return tuple(name for name in self.scores if name not in (SOURCE_ACCURACY, HISTORY)) or ("robustness",)

    @property
    def complete(self) -> bool:
        """Whether every candidate has an outcome and all share a seed."""
        return {candidate for candidate, _ in self.outcome} == set(self.candidates) and bool(self.common_seeds)

    @property
    def missing(self) -> list[str]:
        """One line per cell and score that the pool lacks."""
        cells = [
            f"{self.name}: no finished fine-tuning of {named(candidate)}, seed {seed}{self._uncounted(seed)}"
            for candidate in self.candidates for seed in self.seeds if (candidate, seed) not in self.outcome
        ]  # fmt: skip
        return cells + [
            f"{self.name}: no {score_label(name)} of {named(candidate)}{self._why(name, candidate)}"
            for name in self.indicators for candidate in self.candidates if candidate not in self.scores.get(name, {})
        ]  # fmt: skip

    def _uncounted(self, seed: int) -> str:
        return "" if seed in self.used_seeds else f", so seed {seed} is left out where candidates are judged"

    def _why(self, name: str, candidate: Key) -> str:
        reason = self.unfit.get(name, {}).get(candidate)
        return f", since {reason}" if reason else ""
