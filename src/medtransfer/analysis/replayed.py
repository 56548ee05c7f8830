"""Runs of `medtransfer/replay` go in; the paper's released results come out as tables and as configurations, keyed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from medtransfer import tracking
from medtransfer.analysis.pools import Pool
from medtransfer.errors import InputError
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.tracking import StoredRun

STAGE = "replay"
TABLE = "robustness.csv"  # the artifact of a run of the kind `robustness`
DEFAULT = {"distance": "cosine", "margin": 0.5, "level": -2}  # section 6 of the paper
KEY = ["encoder", "target", "mode", "scheme", "epoch", "seed"]


@dataclass(frozen=True)
class Released:
    """What the two released files say, read back from the store.

    Attributes:
        dice: a line a fine-tuning: encoder, target, mode, scheme, epoch, seed, and its metrics. Random initialisations
            (epoch 0) stand under the scheme `simple` and serve both.
        scores: a line a score: encoder, scheme, target, distance, margin, level, pooled, epoch, robustness, copied (the
            value is the copy of another epoch's, not a measurement).
        runs: ids of the runs that hold scores, by (encoder, scheme, target).

    Both tables are sorted by key, so the order of rows in the files or of runs in the store changes nothing.
    """

    dice: pd.DataFrame
    scores: pd.DataFrame
    runs: dict[tuple[str, str, str], str]

    @classmethod
    def of(cls, dice: pd.DataFrame, scores: pd.DataFrame, runs: Mapping[tuple[str, str, str], str]) -> "Released":
        """Sort both tables by key."""
        columns = ["encoder", "scheme", "target", "distance", "margin", "level", "pooled", "epoch"]
        return cls(dice.sort_values(KEY, ignore_index=True), scores.sort_values(columns, ignore_index=True), dict(runs))

    @cached_property
    def keys(self) -> list[tuple[str, str, str, str]]:
        """Give (encoder, target, mode, scheme) of every configuration."""
        cells = self.dice[["encoder", "target", "mode", "scheme"]].drop_duplicates()
        return sorted(cells.itertuples(index=False, name=None))

    def tuned(self, encoder: str, target: str, mode: str, scheme: str) -> pd.DataFrame:
        """Give the fine-tunings of a configuration; a random initialisation serves every scheme."""
        dice = self.dice
        found = (dice["encoder"] == encoder) & (dice["target"] == target) & (dice["mode"] == mode)
        return dice[found & ((dice["scheme"] == scheme) | (dice["epoch"] == 0))]


def read_released(downstream: str | None = None, robustness: str | None = None) -> Released:
    """Read a replay from the store.

    Args:
        downstream: digest of the file of fine-tunings; None for the newest replay's.
        robustness: digest of the file of scores; None for the newest replay's.

    Raises:
        InputError: the store holds no such replay.
    """
    runs = tracking.read_runs(STAGE)
    if downstream is None or robustness is None:
        results = [run for run in runs if run.params["kind"] == "result"]
        if not results:
            raise InputError(
                "expected a replay of the released results in the tracking store, but there is none; run `medtransfer replay` first"
            )
        downstream, robustness = results[0].params["downstream"], results[0].params["robustness"]
    tuned = [run for run in runs if (run.params["kind"], run.params.get("file")) == ("finetune", downstream)]
    scored = [run for run in runs if (run.params["kind"], run.params.get("file")) == ("robustness", robustness)]
    dice = pd.DataFrame([{**_key(run), **run.metrics, "run": run.id} for run in tuned])
    scores = pd.concat([_table(run) for run in scored], ignore_index=True)
    ids = {(run.params["encoder"], run.params["scheme"], run.params["target"]): run.id for run in scored}
    return Released.of(dice, scores, ids)


def _key(run: StoredRun) -> dict[str, object]:
    return {name: int(run.params[name]) if name in {"epoch", "seed"} else run.params[name] for name in KEY}


def _table(run: StoredRun) -> pd.DataFrame:
    with tracking.artifact_folder(run.id, "") as folder:
        table = pd.read_csv(folder / TABLE, float_precision="round_trip")
    return table.assign(**{name: run.params[name] for name in ("encoder", "scheme", "target")})


def replayed_scores(released: Released | None = None) -> pd.DataFrame:
    """Give the measured scores of the newest replay, copies left out, in the columns of `Released.scores`."""
    scores = (released or read_released()).scores
    return scores[~scores["copied"]].drop(columns="copied").reset_index(drop=True)


def replayed_configurations(released: Released | None = None) -> list[Pool]:
    """Give every configuration of the newest replay, joined by key, with robustness at the paper's default setting."""
    released = released or read_released()
    return configurations(released, replayed_scores(released))


def configurations(
    released: Released, scores: pd.DataFrame, rotation: Mapping[str, int] | None = None, labels: Mapping[str, str] | None = None
) -> list[Pool]:
    """Build the configurations of all schemes, joined by key unless told otherwise.

    Args:
        released: of the store.
        scores: lines of `Released.scores` that take part, at any setting.
        rotation: by scheme, how many places the list of Dice is rotated to the left against that of the epochs.
        labels: by target, the target whose scores are taken for it.
    """
    at_default = scores[(scores[list(DEFAULT)] == pd.Series(DEFAULT)).all(axis=1)]
    groups = at_default.groupby(["encoder", "scheme", "target", "pooled"])
    robustness = {key: dict(zip(found["epoch"], found["robustness"], strict=True)) for key, found in groups}
    found = []
    for encoder, target, mode, scheme in released.keys:
        tuned, pooled = released.tuned(encoder, target, mode, scheme), POOLED["frozen"][mode]
        place = rotated(sorted(tuned["epoch"].unique()), (rotation or {}).get(scheme, 0))
        label = (labels or {}).get(target, target)
        found.append(
            Pool(
                {"source": "imagenet", "origin": scheme, "encoder": encoder, "target": target, "mode": mode},
                {"pretraining": f"{encoder}-{scheme}", "data": target, "protocol": "paper"},
                outcome={(place[line.epoch], line.seed): line.dice for line in tuned.itertuples(index=False)},
                scores={
                    "robustness": robustness.get((encoder, scheme, label, pooled), {}),
                    "source_accuracy": dict(zip(tuned["epoch"], tuned["source_accuracy"], strict=True)),
                },
                candidates=tuple(sorted(int(epoch) for epoch in tuned["epoch"].unique())),
                setting=f"cosine, margin 0.5, level -2, {'pooled' if pooled else 'flattened'}, as released",
                every_seed=True, runs=(*tuned["run"], *_score_run(released, encoder, scheme, label)),
            )
        )  # fmt: skip
    return sorted(found, key=lambda pool: pool.name)


def rotated(epochs: Sequence[int], places: int) -> dict[int, int]:
    """Give for each epoch the one whose place its Dice takes when the list of Dice is rotated to the left."""
    return {int(epochs[(place + places) % len(epochs)]): int(epoch) for place, epoch in enumerate(epochs)}


def _score_run(released: Released, encoder: str, scheme: str, target: str) -> list[str]:
    return [released.runs[key]] if (key := (encoder, scheme, target)) in released.runs else []
