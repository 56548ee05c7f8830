"""Our results beside a paper's printed ones, where the store holds as much as was printed.

A result counts if it has the paper's initialisation, target, mode and number of training images, by the packaged recipe of the
paper, on as many test images, with as many runs or folds. What lacks any of these is named, and not compared. Initialisations and
targets are taken by their names; augmentation is not compared.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from medtransfer import tracking
from medtransfer.config import parse_yaml
from medtransfer.config.load import PRESETS
from medtransfer.metrics.two_samples import Summary, welch
from medtransfer.papers.printed.paper import ANY, Paper, Setting
from medtransfer.papers.printed.tables import Cell
from medtransfer.report.format import probability

IMAGES = ("train_images", "test_images")
FIELDS = (
    "target",
    "encoder",
    "origin",
    "epoch",
    "mode",
    "size",
    "seed",
    "fold",
    "folds",
    "pretraining",
    "data",
    "protocol",
    "primary",
)
NEEDED = {"target", "encoder", "origin", "epoch", "mode", "seed"}  # params without which a run is none of ours
CAVEAT = (
    "Initialisations and targets are taken by their names: whether the encoder is the paper's, at its size, is not checked. Where "
    "the paper draws its test images, ours are another draw."
)


@dataclass(frozen=True)
class Beside:
    """A printed result with ours.

    Attributes:
        cell: the printed one.
        target: our target.
        start: encoder, origin and epoch of ours.
        values: our outcome of each run or fold, in the paper's unit.
        missing: what ours lacks to be comparable; empty if nothing.
    """

    cell: Cell
    target: str
    start: str
    values: tuple[float, ...]
    missing: tuple[str, ...]

    @property
    def p_welch(self) -> float | None:
        """P-value of Welch's test; None without a printed spread."""
        printed = self.cell.summary()
        if printed is None or len(self.values) < 2:
            return None
        return welch(Summary(fmean(self.values), stdev(self.values), len(self.values)), printed).p


def find_ours(paper: Paper, cells: Sequence[Cell]) -> list[Beside]:
    """Find our result of every printed one; of several the one that lacks least, such as that of the most runs."""
    settings = {index: setting for index, cell in enumerate(cells) if (setting := paper.setting(cell)) is not None}
    if not settings:
        return []
    recipes = {setting.recipe: _training(setting.recipe) for setting in settings.values()}
    keys = dict.fromkeys(name for recipe in recipes.values() for name in recipe)
    metrics = {name for setting in settings.values() for name in setting.metrics}
    runs = tracking.read_runs("finetune", only=(*FIELDS, *keys, *IMAGES, *metrics))
    chains = {run.params["pretraining"]: run.params["chain"] for run in tracking.read_runs("pretrain") if "chain" in run.params}
    groups, targets = defaultdict(list), {setting.target for setting in settings.values()}
    for run in runs:  # newest first
        if run.params.keys() >= NEEDED and run.params["target"] in targets:
            groups[tuple(run.params.get(name, "None") for name in FIELDS if name not in {"seed", "fold"})].append(run)
    found = []
    for index, setting in settings.items():
        fitting = [
            _compare(cells[index], setting, same, recipes[setting.recipe], paper.unit) for same in groups.values()
            if _fits(same[0].params, setting, chains)
        ]  # fmt: skip
        if fitting:
            found.append(min(fitting, key=lambda one: (len(one.missing), -len(one.values))))
    return found


def _training(recipe: str) -> dict[str, Any]:
    """Return what a packaged recipe says of the training, as far as it does not depend on the target."""
    values: Any = parse_yaml((PRESETS / f"{recipe}.yaml").read_text(encoding="utf-8"))
    return {"epoch_steps": None} | {name: value for name, value in values["finetune"].items() if name != "augmentation"}


def _plain(name: str) -> str:
    """Return the name of an initialisation without what papers, catalogue and chains write in different ways."""
    return name.lower().replace(">", "").replace("-", "")


def _fits(params: Mapping[str, str], setting: Setting, chains: Mapping[str, str]) -> bool:
    if (params["target"], params["mode"], params.get("size", "None")) != (setting.target, setting.mode, setting.size):
        return False
    if params["epoch"] == "0":
        return setting.random and params.get("pretraining") not in chains
    names = {_plain(params["origin"]), _plain(chains.get(params.get("pretraining", ""), params["origin"]))}
    return not setting.random and not names.isdisjoint(map(_plain, setting.starts))


def _compare(
    cell: Cell, setting: Setting, runs: Sequence[tracking.StoredRun], recipe: Mapping[str, Any], unit: float
) -> Beside:  # fmt: skip
    by_repeat = dict[tuple[str, str], float]()
    for run in runs:
        key = (run.params.get("fold", "None"), run.params["seed"])
        if set(setting.metrics) <= run.metrics.keys():
            by_repeat.setdefault(key, unit * fmean(run.metrics[name] for name in setting.metrics))
    folds = defaultdict(list)
    for (fold, seed), value in sorted(by_repeat.items()):
        folds[seed if fold == "None" else fold].append(value)
    values = tuple(fmean(same) for same in folds.values())
    params, metrics = runs[0].params, runs[0].metrics
    missing = [f"{len(values)} of {cell.n} {setting.repeats}"] if len(values) < (cell.n or 2) else []
    for name, needed, kind in zip(IMAGES, (setting.train, setting.test), ("training", "test"), strict=True):
        if metrics.get(name, needed if kind == "training" else 0) < needed:  # runs on all training images do not count them
            missing.append(f"{metrics.get(name, 0):.0f} {kind} images, not {needed} or more")
    wanted = {**recipe, **setting.changes}
    other = [f"{name} {params.get(name)}, not {value}" for name, value in wanted.items() if not _same(params.get(name), value)]
    missing += [f"another recipe ({', '.join(other)})"] if other else []
    return Beside(cell, setting.target, f"{params['encoder']} {params['origin']}, epoch {params['epoch']}", values, tuple(missing))


def _same(stored: str | None, wanted: Any) -> bool:
    """Return whether a param of a run is a value of the recipe; older runs lack params that were added since."""
    return stored is None or wanted == ANY or stored == str(wanted)


def rows(found: Sequence[Beside]) -> list[dict[str, Any]]:
    """Return one row per printed result of which the store holds something."""
    return [
        {
            "table": one.cell.table, "row": one.cell.row, "column": one.cell.column, "printed_mean": one.cell.value,
            "printed_std": one.cell.std, "printed_n": one.cell.n, "target": one.target, "start": one.start, "n": len(one.values),
            "mean": fmean(one.values) if one.values else None, "std": stdev(one.values) if len(one.values) > 1 else None,
            "p_welch": None if one.missing else one.p_welch, "missing": "; ".join(one.missing),
        }
        for one in found
    ]  # fmt: skip


def compared(found: Sequence[Beside]) -> list[dict[str, Any]]:
    """Return one row per result that is as whole as the printed one, for people."""
    return [
        {
            "printed as": f"{one.cell.row}, {one.cell.column} ({one.cell.table})", "printed": _text(one.cell.value, one.cell.std),
            "ours": _text(fmean(one.values), stdev(one.values)), "n": len(one.values),
            "difference": f"{fmean(one.values) - one.cell.value:+.4g}", "p (Welch)": probability(one.p_welch), "of": one.start,
        }
        for one in found if not one.missing
    ]  # fmt: skip


def _text(mean: float, std: float | None) -> str:
    return f"{mean:.4g}" if std is None else f"{mean:.4g} ± {std:.2g}"


def sentence(found: Sequence[Beside], paper: Paper, cells: Sequence[Cell]) -> str:
    """Say how many of the printed results are whole in the store, and what the first of the others lacks."""
    possible, whole = sum(paper.setting(cell) is not None for cell in cells), sum(not one.missing for one in found)
    text = f"Of {possible} printed results that can be computed again the store holds {whole} whole"
    partly = [one for one in found if one.missing]
    if not partly:
        return f"{text}. {CAVEAT}" if whole else f"{text}."
    first = partly[0]
    return (
        f"{text}, and {len(partly)} in part, which are not compared: of {first.cell.row}, {first.cell.column}, for example, "
        f"{'; '.join(first.missing)}. {CAVEAT}"
    )
