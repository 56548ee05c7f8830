"""Finished runs of the tracking store go in; one record a configuration comes out, everything joined by key."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from medtransfer import tracking
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.tasks.modes import MODES
from medtransfer.tracking import StoredRun

FIELDS = ("source", "origin", "encoder", "target", "mode")
DIGESTS = ("pretraining", "data", "protocol")
ROBUSTNESS = {False: "robustness", True: "robustness_pooled"}  # by pooling


@dataclass
class Configuration:
    """One line of checkpoints on one target in one mode, as the store knows it.

    Attributes:
        fields: source, origin, encoder, target, mode.
        digests: pretraining, data, protocol; runs of different digests are never mixed.
        dice: test Dice by (epoch, seed).
        robustness: by epoch, at the default setting of the mode; empty when nothing was scored.
        accuracy: source accuracy by epoch.
        epochs: of all checkpoints that the store knows of.
        setting: of the robustness, for people; empty when nothing was scored.
        score_run: id of the run that holds the scores and their per-image distances; empty when there is none.
        score: distance, level and margin (texts, as logged) and `pooled` of the robustness; empty when nothing was scored.
        every_seed: whether means go over all seeds of an epoch, not over those that all epochs share.
        runs: ids of the runs that it was read from.
        label: tells configurations of the same fields apart.
    """

    fields: dict[str, str]
    digests: dict[str, str]
    dice: dict[tuple[int, int], float] = field(default_factory=dict)
    robustness: dict[int, float] = field(default_factory=dict)
    accuracy: dict[int, float] = field(default_factory=dict)
    epochs: tuple[int, ...] = ()
    setting: str = ""
    score_run: str = ""
    score: dict[str, Any] = field(default_factory=dict)
    every_seed: bool = False
    runs: list[str] = field(default_factory=list)
    label: str = ""

    @property
    def name(self) -> str:
        """Give the readable name."""
        return "{encoder} {origin} → {target}, {mode}".format(**self.fields) + self.label

    @property
    def seeds(self) -> tuple[int, ...]:
        """Give all seeds that any epoch was fine-tuned with."""
        return tuple(sorted({seed for _, seed in self.dice}))

    @property
    def common_seeds(self) -> tuple[int, ...]:
        """Give the seeds that every fine-tuned epoch has: only over these are means comparable."""
        by_epoch = [{seed for e, seed in self.dice if e == epoch} for epoch in {e for e, _ in self.dice}]
        return tuple(sorted(set.intersection(*by_epoch))) if by_epoch else ()

    @property
    def complete(self) -> bool:
        """Tell whether every epoch has a Dice and all share a seed."""
        return {epoch for epoch, _ in self.dice} == set(self.epochs) and bool(self.common_seeds)

    @property
    def missing(self) -> list[str]:
        """Name every cell and score that the configuration lacks."""
        cells = [
            f"{self.name}: no finished fine-tuning of epoch {epoch}, seed {seed}"
            for epoch in self.epochs for seed in self.seeds if (epoch, seed) not in self.dice
        ]  # fmt: skip
        scores = [f"{self.name}: no robustness of epoch {epoch}" for epoch in self.epochs if epoch not in self.robustness]
        return cells + scores


def collect(setting: Mapping[str, object], pooling: str) -> tuple[list[Configuration], list[str]]:
    """Read all configurations from the store.

    Where a target was scored in several ways, the scores of the given setting count, the newest otherwise.

    Args:
        setting: params of the wanted score runs.
        pooling: `frozen` (features are pooled where the encoder is frozen downstream), `always` or `never`.

    Returns:
        The configurations by name, and in words the incomplete ones that were left out beside complete ones.
    """
    found: dict[tuple[str, ...], Configuration] = {}
    seen: set[str] = set()
    for run in tracking.read_runs(
        "finetune", only=(*FIELDS, *DIGESTS, "epoch", "seed", "dice")
    ):  # the newest first: an older run of the same cell is left out
        if run.tags[tracking.CELL] not in seen:
            seen.add(run.tags[tracking.CELL])
            _add(found, run)
    wanted = {name: str(value) for name, value in setting.items()}
    _join_scores(found.values(), tracking.read_runs("score"), wanted, POOLED[pooling])
    for configuration in found.values():
        fine_tuned = {epoch for epoch, _ in configuration.dice}
        configuration.epochs = tuple(sorted(fine_tuned | configuration.robustness.keys()))
    ordered = [found[key] for key in sorted(found)]
    done = {tuple(configuration.fields.values()) for configuration in ordered if configuration.complete}
    kept = [c for c in ordered if c.complete or tuple(c.fields.values()) not in done]
    left = [_describe(c) for c in ordered if not c.complete and tuple(c.fields.values()) in done]
    _tell_apart(kept)
    return sorted(kept, key=lambda configuration: configuration.name), left


def _describe(configuration: Configuration) -> str:
    fine_tuned = len({epoch for epoch, _ in configuration.dice})
    digests = ", ".join(f"{name} {value}" for name, value in configuration.digests.items())
    return f"{configuration.name}: {fine_tuned} of {len(configuration.epochs)} epochs fine-tuned ({digests})"


def _tell_apart(configurations: list[Configuration]) -> None:
    """Label configurations of the same name by what they differ in, since a name stands for one configuration."""
    by_name: dict[str, list[Configuration]] = defaultdict(list)
    for configuration in configurations:
        by_name[configuration.name].append(configuration)
    for group in (group for group in by_name.values() if len(group) > 1):
        parts = {"source": [c.fields["source"] for c in group], **{d: [c.digests[d] for c in group] for d in DIGESTS}}
        differing = {name: values for name, values in parts.items() if len(set(values)) > 1}
        if len(set(parts["source"])) == len(group):
            differing = {"source": parts["source"]}
        for place, configuration in enumerate(group):
            configuration.label = f" [{', '.join(f'{name} {values[place]}' for name, values in differing.items())}]"


def _add(found: dict[tuple[str, ...], Configuration], run: StoredRun) -> None:
    fields = {name: run.params[name] for name in FIELDS}
    digests = {name: run.params[name] for name in DIGESTS}
    configuration = found.setdefault((*fields.values(), *digests.values()), Configuration(fields, digests))
    configuration.dice[int(run.params["epoch"]), int(run.params["seed"])] = run.metrics["dice"]
    configuration.runs.append(run.id)


def _join_scores(
    configurations: Iterable[Configuration], runs: list[StoredRun], wanted: Mapping[str, str], pooled: Mapping[bool, bool]
) -> None:
    """Give each configuration the scores of the same pretraining on the same data."""
    by_key: dict[tuple[str, str], list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_key[run.params["pretraining"], run.params["data"]].append(run)
    chosen: list[tuple[Configuration, StoredRun]] = []
    for configuration in configurations:
        scored = by_key[configuration.digests["pretraining"], configuration.digests["data"]]
        if scored:
            matching = [run for run in scored if all(run.params.get(name) == value for name, value in wanted.items())]
            chosen.append((configuration, (matching or scored)[0]))
    ids = sorted({run.id for _, run in chosen})
    curves = {name: tracking.read_curves(ids, name) for name in (*ROBUSTNESS.values(), "source_accuracy")}
    for configuration, run in chosen:
        flag = pooled[MODES[configuration.fields["mode"]].encoder_frozen]
        configuration.robustness = curves[ROBUSTNESS[flag]].get(run.id, {})
        configuration.accuracy = curves["source_accuracy"].get(run.id, {})
        configuration.score_run = run.id
        configuration.score = {**{name: run.params[name] for name in ("distance", "level", "margin")}, "pooled": flag}
        configuration.setting = "{distance}, margin {margin}, level {level}, {images} images".format(**run.params)
        configuration.setting += ", pooled" if flag else ", flattened"
        configuration.runs.append(run.id)
