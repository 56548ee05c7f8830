"""Collect the pools of candidates from the tracking store: outcomes by seed and scores, joined by key."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from medtransfer import tracking
from medtransfer.analysis.described import EVALUATED, Described, is_tested
from medtransfer.analysis.pool import PORTION, Pool, portion_of
from medtransfer.config.loaded_files import repeated_options
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.indicators.contract import ViewSettings
from medtransfer.indicators.robustness.pairs import METRICS
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.indicators.robustness.triplet import POOLED
from medtransfer.metrics.transfer import Key
from medtransfer.modes import MODES
from medtransfer.records.lineage import read_parents
from medtransfer.records.pretraining import ADDED_OPTIONS, RANDAUGMENT
from medtransfer.selectors.selectors import HISTORY, OUTCOME, SELECTORS
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Metric
from medtransfer.tracking import StoredRun
from medtransfer.wording import are, counted

FIELDS = ("source", "origin", "encoder", "target", "mode")
DIGESTS = ("pretraining", "data", "protocol")
TUNED = (*FIELDS, *DIGESTS, "epoch", "seed", "primary")  # params of a fine-tuning
VIEWS = (*(one.name for one in fields(ViewSettings)), "tf32")  # params of a score run that say what was measured
UNUSABLE = {  # flags of a score that is no basis for a choice, with the reason, from the most to the least specific
    "no_source_head": "there is no softmax head", "nonfinite": "its features are not finite",
    "undefined": "it is not defined there",
}  # fmt: skip
FORMER_PRETRAINING = {name: str(value) for name, value in ADDED_OPTIONS.items()}  # params that runs of earlier versions lack
ON_OR_OFF = {"True": str(RANDAUGMENT), "False": "None"}  # the param `randaugment` of earlier versions
MOST_PROTOCOLS = 3  # that a message tells the settings of
MOST_RUNS = 3  # that a message names
VALIDATION = "validation_{}"  # metric of a fine-tuning: the primary metric of the validation samples
IMAGES, EMPTY = "test_images", "test_images_predicted_empty"  # metrics of a fine-tuning


def collect(
    setting: RobustnessSetting, views: ViewSettings | None = None, described: Described | None = None
) -> tuple[list[Pool], list[str]]:
    """Read the pool of every pretraining, target, mode and protocol from the store.

    If a target was scored at several settings, the scores of the given setting and views are used, else the newest.

    Args:
        setting: preferred robustness setting.
        views: preferred view settings of the score runs; None for any.
        described: the study whose fine-tunings are read; None for all.

    Returns:
        The pools by name; and lines on what was left out: incomplete pools of which there is a complete one with the same
        fields, fine-tunings of an older format, and those that the parameters do not describe.

    Raises:
        InputError: all fine-tunings are of an older format, or of another study.
    """
    tuned, outdated = _fine_tunings()
    if described is not None:
        tuned, others = _of_study(tuned, described)
        outdated += others
    scores, trained = _scores(tuned, setting, views), _trained()
    every_epoch = described is None or described.every_epoch
    pools = [_pool(key, tuned[key], scores.get(key, {}), trained, every_epoch) for key in sorted(tuned)]
    done = {tuple(pool.fields.values()) for pool in pools if pool.complete}
    kept = [pool for pool in pools if pool.complete or tuple(pool.fields.values()) not in done]
    seedless = [f"{pool.name}: equal results with every seed, which count once" for pool in kept if pool.seedless]
    left_out = [
        *outdated,
        *seedless,
        *(_describe(pool) for pool in pools if not pool.complete and tuple(pool.fields.values()) in done),
    ]
    return sorted(_with_labels(kept), key=lambda pool: pool.name), left_out


PoolKey = tuple[str, ...]  # values of FIELDS and DIGESTS, and the portion


def _fine_tunings() -> tuple[dict[PoolKey, list[StoredRun]], list[str]]:
    """Read the newest finished fine-tuning of every cell, by pool, and lines on those of an older format or without an outcome."""
    primary = {task.primary.name: task.primary for task in TASKS.values()}
    metrics = [*primary, *map(VALIDATION.format, primary), *(metric.constant("test") for metric in primary.values())]
    newest: dict[str, StoredRun] = {}
    read = (*TUNED, *PORTION, "select", *metrics, IMAGES, EMPTY, EVALUATED)
    for run in tracking.read_runs("finetune", only=read):  # newest first
        if is_tested(run):
            newest.setdefault(run.tags[tracking.CELL], run)
    tuned: dict[PoolKey, list[StoredRun]] = defaultdict(list)
    older = [run for run in newest.values() if not set(TUNED) <= run.params.keys()]
    outdated = {run.id for run in older}
    current = [run for run in newest.values() if run.id not in outdated]
    broken = [run for run in current if not math.isfinite(run.metrics.get(run.params["primary"], math.nan))]
    unusable = {run.id for run in broken}
    for run in current:
        if run.id not in unusable:
            tuned[(*(run.params[name] for name in (*FIELDS, *DIGESTS)), *portion_of(run.params))].append(run)
    found: list[tuple[int, str, str]] = []  # how many, what is wrong with them, and what mends it
    if older:
        lacking = ", ".join(sorted({name for run in older for name in TUNED if name not in run.params}))
        verb = "is" if len(older) == 1 else "are"
        text = f"{len(older)} of {counted(len(newest), 'fine-tuning')} {verb} of an older format, without {lacking}"
        found.append((len(older), text, "`medtransfer finetune`"))
    if broken:
        runs = ", ".join(run.id for run in broken[:MOST_RUNS])
        which = f"run{'' if len(broken) == 1 else 's'} {runs}{' and more' if len(broken) > MOST_RUNS else ''}"
        text = f"{are(len(broken), 'fine-tuning')} without a finite value of the primary metric ({which})"
        found.append((len(broken), text, "`medtransfer finetune --force`"))
    if found and not tuned:
        texts = " and ".join(text for _, text, _ in found)
        raise InputError(f"expected fine-tunings in the tracking store, but {texts}; make them again with {found[-1][2]}")
    return tuned, [f"{text}; {'it is' if count == 1 else 'they are'} made again with {remedy}" for count, text, remedy in found]


def _trained() -> dict[str, dict[str, Any]]:
    """Return recipe and seed of every pretraining in the store, by its digest; imported weights have no training rate.

    Of imported weights of which some tensors were not loaded, return how many were; of those that continue from a checkpoint,
    from which.
    """
    trained: dict[str, dict[str, Any]] = {}
    for run in tracking.read_runs("pretrain"):
        counts = (run.params.get(f"weights_{name}", "").split() for name in ("matched", "total"))
        if partial := [f"{matched} of {total}" for matched, total in zip(*counts, strict=True) if matched != total]:
            trained[run.params["pretraining"]] = {"loaded": f"{', '.join(dict.fromkeys(partial))} tensors"}
        lineage = {"chain": run.params.get("chain", ""), "parents": parents} if (parents := read_parents(run.params)) else {}
        if {"lr", "seed", "pretraining"} <= run.params.keys():
            params = {**FORMER_PRETRAINING, **run.params}
            if (former := ON_OR_OFF.get(params.get("randaugment", ""))) is not None:
                params["randaugment"] = former
            settings = {name: value for name, value in params.items() if name not in {"origin", "seed", "pretraining"}}
            known = {"recipe": digest(settings), "pretraining_seed": run.params["seed"]}
            trained[run.params["pretraining"]] = known | lineage
        elif lineage and "pretraining" in run.params:  # averaged over checkpoints of such a pretraining
            trained[run.params["pretraining"]] = lineage
    return trained


def _of_study(
    tuned: Mapping[PoolKey, list[StoredRun]], described: Described
) -> tuple[dict[PoolKey, list[StoredRun]], list[str]]:  # fmt: skip
    """Return the fine-tunings of the described study, and a line on the others.

    Raises:
        InputError: there are only others.
    """
    differing = {key: described.differing(dict(zip((*FIELDS, *DIGESTS), key, strict=False))) for key in tuned}
    kept = {key: runs for key, runs in tuned.items() if not differing[key]}
    left = [key for key in tuned if differing[key]]
    if not left:
        return kept, []
    settings = _settings({runs[0].params["protocol"]: runs[0] for runs in map(tuned.__getitem__, left)}, described)
    known = {"protocol": f"protocol ({settings})"} if settings else {}
    names = ", ".join(known.get(name, name) for name in dict.fromkeys(name for key in left for name in differing[key]))
    count = sum(len(tuned[key]) for key in left)
    they = "it differs" if count == 1 else "they differ"
    text = f"{are(count, 'fine-tuning')} not of the study that the parameters describe: {they} in {names}"
    if not kept:
        raise InputError(
            f"expected fine-tunings of the study that the parameters describe, but all of the store differ in {names}; run "
            f"`medtransfer finetune --study{repeated_options()}`, set the parameters as they were, or take everything in the store "
            "with --all, which `report` and `search` have"
        )
    return kept, [f"{text}; --all of `report` and `search` takes them too"]


def _settings(by_protocol: Mapping[str, StoredRun], described: Described) -> str:
    """Name the settings in which fine-tunings by other protocols differ from the study; of many protocols those of the first."""
    others = [run for protocol, run in by_protocol.items() if protocol != described.protocol]
    whole = [tracking.find_finished("finetune", run.tags[tracking.CELL]) for run in others[:MOST_PROTOCOLS]]
    named = [settings for run in whole if run and (settings := described.settings_of(run.params))]
    more = [f"{len(others) - MOST_PROTOCOLS} more recipes"] if named and len(others) > MOST_PROTOCOLS else []
    return "; ".join([*named, *more])


def _scores(
    tuned: Mapping[PoolKey, Sequence[StoredRun]], setting: RobustnessSetting, views: ViewSettings | None
) -> dict[PoolKey, dict[str, Any]]:
    """Read the scores of the same pretraining on the same data: the fields of a pool that come from its score run."""
    params = {"distance": setting.distance, "margin": setting.margin, "level": setting.level, **(asdict(views) if views else {})}
    preferred = {name: str(value) for name, value in params.items()}
    by_weights: dict[tuple[str, str], list[StoredRun]] = defaultdict(list)
    for run in tracking.read_runs("score"):
        by_weights[run.params["pretraining"], run.params["data"]].append(run)
    chosen: dict[PoolKey, StoredRun] = {}
    alike: dict[PoolKey, tuple[str, ...]] = {}
    for key in tuned:
        fields = dict(zip((*FIELDS, *DIGESTS), key, strict=False))
        if scored := by_weights[fields["pretraining"], fields["data"]]:
            chosen[key] = first = _preferred(scored, preferred)
            alike[key] = (first.id, *(run.id for run in scored if run is not first and _views(run) == _views(first)))
    ids = sorted({run.id for run in chosen.values()})
    plain = {selector.needs for selector in SELECTORS.values() if selector.needs} - {OUTCOME, HISTORY, "robustness"}
    scored_by = {metric for run in chosen.values() for metric in run.params.get("scores", "").split()}
    broken = {f"{metric}_{flag}" for metric in {*METRICS.values(), *plain, *scored_by} for flag in UNUSABLE}
    curves = tracking.read_all_curves(ids, sorted({*METRICS.values(), *broken, *plain, *scored_by}))
    return {
        key: {"score_runs": alike[key], **_score_fields(
            run, setting.pooling, key[FIELDS.index("mode")], {m: curve.get(run.id, {}) for m, curve in curves.items()}
        )}
        for key, run in chosen.items()
    }  # fmt: skip


def _preferred(scored: Sequence[StoredRun], preferred: Mapping[str, str]) -> StoredRun:
    """Return the newest run at the preferred settings; without robustness at those that it has; else the newest of all."""
    matching = [run for run in scored if all(run.params.get(name) == value for name, value in preferred.items())]
    if not matching and not any("distance" in run.params for run in scored):
        matching = [run for run in scored if all(run.params.get(name, value) == value for name, value in preferred.items())]
    return (matching or scored)[0]


def _views(run: StoredRun) -> list[str | None]:
    return [run.params.get(name) for name in VIEWS]


def _score_fields(run: StoredRun, pooling: str, mode: str, curves: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    pooled = POOLED[pooling][mode]
    names = {name: name for name in curves if name not in METRICS.values() and not name.endswith(tuple(UNUSABLE))}
    names["robustness"] = METRICS[pooled]
    unfit: dict[str, dict[Key, str]] = {
        name: {
            **{epoch: "it is not finite" for epoch, value in curves[metric].items() if not math.isfinite(value)},
            **{
                epoch: reason
                for flag, reason in reversed(UNUSABLE.items())
                for epoch, count in curves.get(f"{metric}_{flag}", {}).items() if count
            },
        }
        for name, metric in names.items()
    }  # fmt: skip
    scores = {
        name: {epoch: value for epoch, value in curves[metric].items() if epoch not in unfit[name]}
        for name, metric in names.items() if curves[metric]
    }  # fmt: skip
    unfit = {name: epochs for name, epochs in unfit.items() if epochs}
    if "robustness" not in scores:  # a run of other indicators
        return {"scores": scores, "score_run": run.id, "unfit": unfit}
    scores = {"robustness": scores.pop("robustness"), **scores}
    text = "{distance}, margin {margin}, level {level}, {images} images".format(**run.params)
    return {
        "scores": scores, "score_run": run.id, "unfit": unfit,
        "score": RobustnessSetting(run.params["distance"], float(run.params["margin"]), int(run.params["level"]), pooling),
        "setting": f"{text}, {'pooled' if pooled else 'flattened'}",
    }  # fmt: skip


def _pool(
    key: PoolKey, runs: Sequence[StoredRun], scored: Mapping[str, Any], trained: Mapping[str, Mapping[str, Any]],
    every_epoch: bool,
) -> Pool:  # fmt: skip
    params = dict(zip((*FIELDS, *DIGESTS, "size", "fold"), key, strict=True))
    by_cell: dict[tuple[Key, int], StoredRun] = {(int(run.params["epoch"]), int(run.params["seed"])): run for run in runs}
    outcome = {cell: run.metrics[run.params["primary"]] for cell, run in by_cell.items()}
    once = _once_per_candidate(outcome) if params["mode"] in MODES and MODES[params["mode"]].on_features else outcome
    seedless = len(once) < len(outcome)
    outcome, by_cell = once, {cell: by_cell[cell] for cell in once}
    tuned = {epoch for epoch, _ in outcome}
    if scored and not every_epoch:
        scored = {**scored, **{name: _only(scored.get(name, {}), tuned) for name in ("scores", "unfit")}}
    scores = scored.get("scores", {})
    candidates = tuned.union(*scores.values(), *scored.get("unfit", {}).values())
    blank = sum(run.metrics.get(EMPTY, -1) == run.metrics.get(IMAGES) for run in runs)
    metric = _primary(runs[0].params["primary"])
    constant = max(run.metrics.get(metric.constant("test"), -math.inf) for run in runs)
    ids = [*(run.id for run in runs), *([scored["score_run"]] if scored else [])]
    return Pool(
        {name: params[name] for name in (*FIELDS, "size", "fold") if params[name]},
        {name: params[name] for name in DIGESTS}, outcome,
        candidates=tuple(sorted(candidates)), metric=metric, runs=tuple(ids),
        validation=_validation(by_cell, metric.name), fine_tunings={cell: run.id for cell, run in by_cell.items()},
        seedless=seedless, blind=blank == len(runs), blank=blank, constant=constant,
        **{"scores": scores, **scored, **trained.get(params["pretraining"], {})},
    )  # fmt: skip


def _once_per_candidate(outcome: Mapping[tuple[Key, int], float]) -> dict[tuple[Key, int], float]:
    """Return one outcome of each candidate if no seed changes any, as with a head that is solved for; else all."""
    by_candidate: dict[Key, dict[int, float]] = defaultdict(dict)
    for (candidate, seed), value in outcome.items():
        by_candidate[candidate][seed] = value
    if any(len(set(values.values())) > 1 for values in by_candidate.values()):
        return dict(outcome)
    first = min(set.intersection(*(set(values) for values in by_candidate.values())), default=None)
    return {
        (candidate, seed): values[seed]
        for candidate, values in by_candidate.items() for seed in [min(values) if first is None else first]
    }  # fmt: skip


def _only(by_name: Mapping[str, Mapping[Key, Any]], candidates: Collection[Key]) -> dict[str, dict[Key, Any]]:
    """Keep the values of some candidates, and the names that have any."""
    kept = {name: {key: value for key, value in values.items() if key in candidates} for name, values in by_name.items()}
    return {name: values for name, values in kept.items() if values}


def _validation(by_cell: Mapping[tuple[Key, int], StoredRun], primary: str) -> dict[tuple[Key, int], float]:
    """Return the validation value of the weights that each fine-tuning kept; empty where one has none."""
    curve = VALIDATION.format(primary)
    if not all(curve in run.metrics for run in by_cell.values()):
        return {}
    last = {cell: run.metrics[curve] for cell, run in by_cell.items()}
    chosen = {run.id for run in by_cell.values() if run.params.get("select") == "validation"}
    best = {run: max(values.values()) for run, values in tracking.read_curves(sorted(chosen), curve).items()} if chosen else {}
    return {cell: best.get(by_cell[cell].id, value) for cell, value in last.items()}


def _primary(name: str) -> Metric:
    return next(task.primary for task in TASKS.values() if task.primary.name == name)


def _describe(pool: Pool) -> str:
    fine_tuned = len({candidate for candidate, _ in pool.outcome})
    digests = ", ".join(f"{name} {value}" for name, value in pool.digests.items())
    return f"{pool.name}: {fine_tuned} of {len(pool.candidates)} epochs fine-tuned ({digests})"


def _with_labels(pools: Sequence[Pool]) -> list[Pool]:
    """Label pools of the same name by what they differ in, so that names are unique."""
    by_name: dict[str, list[Pool]] = defaultdict(list)
    for pool in pools:
        by_name[pool.name].append(pool)
    return [labelled for group in by_name.values() for labelled in (_labelled(group) if len(group) > 1 else group)]


def _labelled(group: Sequence[Pool]) -> list[Pool]:
    parts = {"source": [pool.fields["source"] for pool in group], **{d: [pool.digests[d] for pool in group] for d in DIGESTS}}
    differing = {name: values for name, values in parts.items() if len(set(values)) > 1}
    if len(set(parts["source"])) == len(group):
        differing = {"source": parts["source"]}
    labels = [", ".join(f"{name} {values[index]}" for name, values in differing.items()) for index in range(len(group))]
    return [replace(pool, label=f" [{label}]") for pool, label in zip(group, labels, strict=True)]
