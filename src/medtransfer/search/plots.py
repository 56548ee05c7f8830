"""Optuna's plots of a search: importance of each parameter, mean TIS by parameter and by pairs of them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
import pandas as pd
from matplotlib import pyplot
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import BaseImportanceEvaluator
from optuna.trial import FrozenTrial
from optuna.visualization import matplotlib as plots

from medtransfer.records import atomic_path
from medtransfer.search.evaluate import Table

PLOTS: dict[str, Callable[..., Any]] = {
    "importance": plots.plot_param_importances, "slice": plots.plot_slice, "contour": plots.plot_contour,
}  # fmt: skip


class ExplainedVariance(BaseImportanceEvaluator):
    """Share of the variance that each parameter explains; exact on a full grid, where Optuna's forests only estimate it."""

    def evaluate(
        self, study: optuna.Study, params: list[str] | None = None, *, target: Callable[[FrozenTrial], float] | None = None
    ) -> dict[str, float]:
        """Return the variance of the mean value by level of each parameter, relative to that of all values."""
        trials = pd.DataFrame([{**trial.params, "value": trial.value} for trial in study.get_trials(deepcopy=False)])
        total = trials["value"].var(ddof=0)
        return {name: trials.groupby(name)["value"].transform("mean").var(ddof=0) / total for name in params or []}


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
    for name, plot in names.items():
        _save(folder / name, plot, study, varied)
    return list(names), []


def exhaustive_study(table: Table) -> optuna.Study:
    """Return an in-memory Optuna study with one finished trial per setting, in order, whose value is the mean TIS."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = _choices(table)
    distributions: dict[str, BaseDistribution] = {name: CategoricalDistribution(values) for name, values in choices.items()}
    distributions["margin"] = FloatDistribution(min(choices["margin"]), max(choices["margin"]))
    values = table.mean(range(len(table.cases))).tolist()
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        # rounded, since a plot of equal values would show the noise of their last digits
        optuna.create_trial(params=vars(setting).copy(), distributions=distributions, value=round(value, 9))
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
        warnings.simplefilter("ignore")  # Optuna warns that these plots are experimental, scipy of contours of few points
        axes = plot(study, params=varied, target_name="mean TIS", **options)
    figure = np.ravel(axes)[0].figure
    figure.set_size_inches(max(7.0, 2.8 * len(varied)), 2.8 * len(varied) if plot is plots.plot_contour else 4.0)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png", bbox_inches="tight")
    pyplot.close(figure)
