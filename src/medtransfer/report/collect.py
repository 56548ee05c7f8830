"""Finished runs of the tracking store go in; one record a configuration comes out, everything joined by key."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from medtransfer import tracking
from medtransfer.runtime import digest
from medtransfer.tracking import StoredRun

FIELDS = ("source", "scheme", "encoder", "target", "mode")
DIGESTS = ("pretraining", "data", "protocol")
ROBUSTNESS = {"full": "robustness", "decoder": "robustness_pooled"}  # default setting: pooled iff the encoder is frozen


@dataclass
class Configuration:
    """One line of checkpoints on one target in one mode, as the store knows it.

    Attributes:
        fields: source, scheme, encoder, target, mode.
        digests: pretraining, data, protocol; runs of different digests are never mixed.
        dice: test Dice by (epoch, seed).
        robustness: by epoch, at the default setting of the mode; empty when nothing was scored.
        accuracy: source accuracy by epoch.
        epochs: of all checkpoints that the store knows of.
        newest: start of the newest run, ms.
        runs: ids of the runs that it was read from.
        label: tells configurations of the same fields apart.
    """

    fields: dict[str, str]
    digests: dict[str, str]
    dice: dict[tuple[int, int], float] = field(default_factory=dict)
    robustness: dict[int, float] = field(default_factory=dict)
    accuracy: dict[int, float] = field(default_factory=dict)
    epochs: tuple[int, ...] = ()
    newest: int = 0
    runs: list[str] = field(default_factory=list)
    label: str = ""

    @property
    def name(self) -> str:
        """Give the readable name."""
        return "{encoder} {scheme} → {target}, {mode}".format(**self.fields) + self.label

    @property
    def seeds(self) -> tuple[int, ...]:
        """Give all seeds that any epoch was fine-tuned with."""
        return tuple(sorted({seed for _, seed in self.dice}))

    @property
    def missing(self) -> list[str]:
        """Name every cell and score that the configuration lacks."""
        cells = [
            f"{self.name}: no finished fine-tuning of epoch {epoch}, seed {seed}"
            for epoch in self.epochs for seed in self.seeds if (epoch, seed) not in self.dice
        ]  # fmt: skip
        scores = [f"{self.name}: no robustness of epoch {epoch}" for epoch in self.epochs if epoch not in self.robustness]
        return cells + scores


def collect(every: bool) -> tuple[list[Configuration], list[str]]:
    """Read all configurations from the store.

    Args:
        every: also those that a newer one of the same fields has superseded (changed data, weights or recipe).

    Returns:
        The configurations by name, and the names of those left out.
    """
    found: dict[tuple[str, ...], Configuration] = {}
    seen: set[str] = set()
    for run in tracking.read_runs("finetune"):  # the newest first: an older run of the same cell is left out
        if run.tags[tracking.CELL] not in seen:
            seen.add(run.tags[tracking.CELL])
            _add(found, run)
    _join_scores(found.values(), tracking.read_runs("score"))
    for configuration in found.values():
        fine_tuned = {epoch for epoch, _ in configuration.dice}
        configuration.epochs = tuple(sorted(fine_tuned | configuration.robustness.keys()))
    ordered = sorted(found.values(), key=lambda c: (c.name, -c.newest))
    if every:
        for configuration in ordered:
            configuration.label = f" [{digest(configuration.digests, 6)}]"
        return ordered, []
    kept: dict[tuple[str, ...], Configuration] = {}
    left: list[str] = []
    for configuration in ordered:
        key = tuple(configuration.fields.values())
        if key in kept:
            left.append(f"{configuration.name} ({', '.join(f'{k} {v}' for k, v in configuration.digests.items())})")
        else:
            kept[key] = configuration
    _tell_apart(list(kept.values()))
    return list(kept.values()), left


def _tell_apart(configurations: list[Configuration]) -> None:
    """Name the source of configurations that differ in nothing else, since a name stands for one configuration."""
    names = Counter(configuration.name for configuration in configurations)
    for configuration in configurations:
        if names[configuration.name] > 1:
            configuration.label = f" [{configuration.fields['source']}]"


def _add(found: dict[tuple[str, ...], Configuration], run: StoredRun) -> None:
    fields = {name: run.params[name] for name in FIELDS}
    digests = {name: run.params[name] for name in DIGESTS}
    configuration = found.setdefault((*fields.values(), *digests.values()), Configuration(fields, digests))
    configuration.dice[int(run.params["epoch"]), int(run.params["seed"])] = run.metrics["dice"]
    configuration.newest = max(configuration.newest, run.started)
    configuration.runs.append(run.id)


def _join_scores(configurations: Iterable[Configuration], runs: list[StoredRun]) -> None:
    """Give each configuration the newest scores of the same pretraining on the same data."""
    newest: dict[tuple[str, str], StoredRun] = {}
    for run in runs:
        newest.setdefault((run.params["pretraining"], run.params["data"]), run)
    for configuration in configurations:
        scored = newest.get((configuration.digests["pretraining"], configuration.digests["data"]))
        if scored is not None:
            configuration.robustness = tracking.read_curve(scored.id, ROBUSTNESS[configuration.fields["mode"]])
            configuration.accuracy = tracking.read_curve(scored.id, "source_accuracy")
            configuration.runs.append(scored.id)
