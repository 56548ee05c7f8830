"""Plots of a search: importance of each parameter and mean TIS by parameter, by Optuna, and mean TIS by pairs of parameters."""

import warnings
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import BaseImportanceEvaluator
from optuna.trial import FrozenTrial
from optuna.visualization import matplotlib as plots

from medtransfer.progress import track
from medtransfer.records import atomic_path
from medtransfer.search.evaluate import Table

TICKS = 6  # the most choices of a parameter that are all named beside an axis


class ExplainedVariance(BaseImportanceEvaluator):
    """Share of the variance that each parameter explains; exact on a full grid, where Optuna's forests only estimate it."""

    def evaluate(
        self, study: optuna.Study, params: list[str] | None = None, *, target: Callable[[FrozenTrial], float] | None = None
    ) -> dict[str, float]:
        """Return the variance of the mean value by level of each parameter, relative to that of all values."""
        trials = pd.DataFrame([{**trial.params, "value": trial.value} for trial in study.get_trials(deepcopy=False)])
        total = trials["value"].var(ddof=0)
        return {name: trials.groupby(name)["value"].transform("mean").var(ddof=0) / total for name in params or []}


def plot_pairs(study: optuna.Study, params: Sequence[str], target_name: str) -> Figure:
    """Draw the mean value over all settings with two choices, for every two parameters, in shades of one scale.

    Optuna's contours would interpolate between choices that have no order.
    """
    trials = pd.DataFrame([{**trial.params, "value": trial.value} for trial in study.get_trials(deepcopy=False)])
    pairs = list(combinations(params, 2))
    tables = [trials.pivot_table("value", index=second, columns=first) for first, second in pairs]
    low, high = min(table.to_numpy().min() for table in tables), max(table.to_numpy().max() for table in tables)
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(3.4 * columns + 0.8, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.ravel()[len(pairs) :]:
        panel.remove()
    for panel, table, (first, second) in zip(panels.ravel(), tables, pairs, strict=False):
        shades = panel.imshow(table, aspect="auto", origin="lower", interpolation="nearest", cmap="cividis", vmin=low, vmax=high)
        panel.set_xlabel(first)
        panel.set_ylabel(second)
        panel.set_xticks(*_ticks(table.columns))
        panel.set_yticks(*_ticks(table.index))
    figure.colorbar(shades, ax=panels, label=f"{target_name}, over all settings with both")
    return figure


def _ticks(choices: "pd.Index[Any]") -> tuple[list[int], list[str]]:
    """Return positions and labels of the choices of a parameter, of many only the ends and the middle."""
    places = range(len(choices)) if len(choices) <= TICKS else (0, len(choices) // 2, len(choices) - 1)
    return list(places), [str(choices[place]) for place in places]


PLOTS: dict[str, Callable[..., Any]] = {
    "importance": plots.plot_param_importances, "slice": plots.plot_slice, "pairs": plot_pairs,
}  # fmt: skip


def draw(folder: Path, suffix: str, table: Table) -> tuple[list[str], list[str]]:
    """Draw every plot that the settings allow.

    Args:
        folder: folder of the files.
        suffix: suffix of the file names, such as `-unet`.
        table: TIS of every case at every setting.

    Returns:
        The names of the files, and sentences on what could not be drawn.
    """
    study = exhaustive_study(table)
    varied = [name for name, choices in _choices(table).items() if len(choices) > 1]
    if len(varied) < 2 or len({trial.value for trial in study.get_trials(deepcopy=False)}) < 2:
        reason = "all settings have the same TIS" if len(varied) > 1 else "fewer than two parameters were varied"
        return [], [f"There are no plots{suffix and f' of {suffix[1:]}'}: {reason}, so none is of importance."]
    names = {f"{name}{suffix}.png": plot for name, plot in PLOTS.items()}
    for name, plot in track(names.items(), "search: drawing", len(names), "pictures"):
        _save(folder / name, plot, study, varied)
    return list(names), []


def exhaustive_study(table: Table) -> optuna.Study:
    """Return an in-memory Optuna study with one finished trial per setting, in order, whose value is the mean TIS."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = _choices(table)
    distributions: dict[str, BaseDistribution] = {name: CategoricalDistribution(values) for name, values in choices.items()}
    distributions["margin"] = FloatDistribution(min(choices["margin"]), max(choices["margin"]))
    # rounded, since plots of equal values would show the noise of their last digits
    values = table.mean(range(len(table.cases))).round(9).tolist()
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.create_trial(params=vars(setting).copy(), distributions=distributions, value=value)
        for setting, value in zip(table.settings, values, strict=True)
    )
    return study


def _choices(table: Table) -> dict[str, list[Any]]:
    names = vars(table.settings[0])
    return {name: list(dict.fromkeys(getattr(setting, name) for setting in table.settings)) for name in names}


def _save(path: Path, plot: Callable[..., Any], study: optuna.Study, varied: list[str]) -> None:
    matplotlib.use("Agg")
    options = {"evaluator": ExplainedVariance()} if plot is plots.plot_param_importances else {}
    with warnings.catch_warnings(), pyplot.rc_context():  # Optuna changes matplotlib's global style
        warnings.simplefilter("ignore")  # Optuna warns that its plots are experimental
        drawn = plot(study, params=varied, target_name="mean TIS", **options)
    if isinstance(drawn, Figure):
        figure = drawn
    else:  # the axes, by Optuna
        figure = np.ravel(drawn)[0].figure
        figure.set_size_inches(max(7.0, 2.8 * len(varied)), 4.0)
    if plot is plots.plot_slice:
        for panel in np.ravel(drawn):
            panel.tick_params(axis="x", labelrotation=30)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png", bbox_inches="tight")
    pyplot.close(figure)
