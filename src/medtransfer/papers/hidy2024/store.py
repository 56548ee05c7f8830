"""Released results of the paper in the tracking store, and pools built from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from medtransfer import tracking
from medtransfer.analysis.no_results import no_replay
from medtransfer.analysis.pool import Pool
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.tasks import TASKS
from medtransfer.tracking import StoredRun

STAGE = "replay"
TABLE = "robustness.csv"  # artifact of a run of the kind `robustness`
LEVEL = -2  # of the default robustness, like DEFAULT
DEFAULT = {"distance": "cosine", "margin": 0.5, "level": LEVEL}  # section 6 of the paper
KEY = ["encoder", "target", "mode", "scheme", "epoch", "seed"]
GROUP = ["encoder", "scheme", "target"]  # identifies one series of scores


@dataclass(frozen=True)
class Released:
    """Contents of the two released files, read from the store.

    Both tables are sorted by key, so they do not depend on the order of rows in the files or of runs in the store.

    Attributes:
        dice: one row per fine-tuning: encoder, target, mode, scheme, epoch, seed, and its metrics. Random initialisations
            (epoch 0) are listed under the scheme `simple` and used for both.
        scores: one row per score: encoder, scheme, target, distance, margin, level, pooled, epoch, robustness, copied
            (whether the value is a copy of another epoch's, not a measurement).
        runs: ids of the runs with scores, by (encoder, scheme, target).
    """

    dice: pd.DataFrame
    scores: pd.DataFrame
    runs: dict[tuple[str, str, str], str]

    @classmethod
    def of(cls, dice: pd.DataFrame, scores: pd.DataFrame, runs: Mapping[tuple[str, str, str], str]) -> "Released":
        """Sort both tables by key."""
        columns = [*GROUP, "distance", "margin", "level", "pooled", "epoch"]
        return cls(dice.sort_values(KEY, ignore_index=True), scores.sort_values(columns, ignore_index=True), dict(runs))

    @cached_property
    def keys(self) -> list[tuple[str, str, str, str]]:
        """(encoder, target, mode, scheme) of every configuration."""
        cells = self.dice[["encoder", "target", "mode", "scheme"]].drop_duplicates()
        return sorted(cells.itertuples(index=False, name=None))

    @cached_property
    def measured(self) -> pd.DataFrame:
        """Scores without copies."""
        return self.scores[~self.scores["copied"]].drop(columns="copied").reset_index(drop=True)

    @cached_property
    def _by_group(self) -> dict[tuple[object, ...], pd.DataFrame]:
        return dict(iter(self.dice.groupby(["encoder", "target", "mode"])))

    def tuned(self, encoder: str, target: str, mode: str, scheme: str) -> pd.DataFrame:
        """Return the fine-tunings of a configuration; a random initialisation serves every scheme."""
        dice = self._by_group[encoder, target, mode]
        return dice[(dice["scheme"] == scheme) | (dice["epoch"] == 0)]


def read_released(downstream: str | None = None, robustness: str | None = None) -> Released:
    """Read a replay from the store.

    Args:
        downstream: digest of the file of fine-tunings; None for that of the newest replay.
        robustness: digest of the file of scores; None for that of the newest replay.

    Raises:
        InputError: the store holds no such replay.
    """
    runs = tracking.read_runs(STAGE)
    if downstream is None or robustness is None:
        results = [run for run in runs if run.params["kind"] == "result"]
        if not results:
            raise no_replay()
        downstream, robustness = results[0].params["downstream"], results[0].params["robustness"]
    tuned = [run for run in runs if (run.params["kind"], run.params.get("file")) == ("finetune", downstream)]
    scored = [run for run in runs if (run.params["kind"], run.params.get("file")) == ("robustness", robustness)]
    dice = pd.DataFrame([{**_key(run), **run.metrics, "run": run.id} for run in tuned])
    scores = pd.concat([_read_scores(run) for run in scored], ignore_index=True)
    ids = {(run.params["encoder"], run.params["scheme"], run.params["target"]): run.id for run in scored}
    return Released.of(dice, scores, ids)


def _key(run: StoredRun) -> dict[str, object]:
    return {name: int(run.params[name]) if name in {"epoch", "seed"} else run.params[name] for name in KEY}


def _read_scores(run: StoredRun) -> pd.DataFrame:
    with tracking.artifact_folder(run.id, "") as folder:
        table = pd.read_csv(folder / TABLE, float_precision="round_trip")
    return table.assign(**{name: run.params[name] for name in GROUP})


def build_pools(
    released: Released, scores: pd.DataFrame, rotation: Mapping[str, int] | None = None, labels: Mapping[str, str] | None = None
) -> list[Pool]:
    """Build the pools of all schemes with robustness at the paper's default setting, joined by key by default.

    Args:
        released: released results from the store.
        scores: rows of `Released.scores` to use, at any setting.
        rotation: by scheme, how many positions the list of Dice is rotated to the left against that of the epochs.
        labels: by target, the target whose scores are used for it.
    """
    at_default = scores[(scores[list(DEFAULT)] == pd.Series(DEFAULT)).all(axis=1)]
    groups = at_default.groupby([*GROUP, "pooled"])
    robustness = {key: dict(zip(rows["epoch"], rows["robustness"], strict=True)) for key, rows in groups}
    pools = []
    for encoder, target, mode, scheme in released.keys:
        tuned, pooled = released.tuned(encoder, target, mode, scheme), POOLED["frozen"][mode]
        position = rotated(sorted(tuned["epoch"].unique()), (rotation or {}).get(scheme, 0))
        label = (labels or {}).get(target, target)
        score_run = released.runs.get((encoder, scheme, label))
        pools.append(
            Pool(
                {"source": "imagenet", "origin": scheme, "encoder": encoder, "target": target, "mode": mode},
                {"pretraining": f"{encoder}-{scheme}", "data": target, "protocol": "paper"},
                outcome={(position[row.epoch], row.seed): row.dice for row in tuned.itertuples(index=False)},
                scores={
                    "robustness": robustness.get((encoder, scheme, label, pooled), {}),
                    "source_accuracy": dict(zip(tuned["epoch"], tuned["source_accuracy"], strict=True)),
                },
                candidates=tuple(sorted(int(epoch) for epoch in tuned["epoch"].unique())),
                setting=f"cosine, margin 0.5, level -2, {'pooled' if pooled else 'flattened'}, as released",
                metric=TASKS["segmentation"].primary, every_seed=True, runs=(*tuned["run"], *([score_run] if score_run else [])),
            )
        )  # fmt: skip
    return sorted(pools, key=lambda pool: pool.name)


def rotated(epochs: Sequence[int], places: int) -> dict[int, int]:
    """Return the epoch that the Dice of each epoch is moved to when the list of Dice is rotated to the left."""
    return {int(epochs[(index + places) % len(epochs)]): int(epoch) for index, epoch in enumerate(epochs)}
