"""The counted trials of a study go in; importance, slice and contour plots come out, or in words why there is none."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib import pyplot
from optuna.visualization import matplotlib as plots

from medtransfer.records import atomic_path
from medtransfer.search.space import Space
from medtransfer.search.study import Trial

PLOTS: dict[str, Callable[..., Any]] = {
    "importance": plots.plot_param_importances, "slice": plots.plot_slice, "contour": plots.plot_contour,
}  # fmt: skip


def draw(folder: Path, suffix: str, space: Space, trials: Sequence[Trial]) -> tuple[list[str], list[str]]:
    """Draw every plot that the trials allow.

    Args:
        folder: where to.
        suffix: of the names, such as `-unet`.
        space: of the study.
        trials: that count.

    Returns:
        The names of the files, and in words what could not be drawn.
    """
    varied = [name for name in space.distributions() if len({getattr(one.setting, name) for one in trials}) > 1]
    if len(varied) < 2 or len({one.value for one in trials}) < 2:
        reason = "all trials have the same TIS" if len(varied) > 1 else "fewer than two parameters were varied"
        return [], [f"There are no plots{suffix and f' of {suffix[1:]}'}: {reason}, so none is of importance."]
    study = _copy(space, trials)
    names = {f"{name}{suffix}.png": plot for name, plot in PLOTS.items()}
    for name, plot in names.items():
        _save(folder / name, plot, study, varied)
    return list(names), []


def _copy(space: Space, trials: Sequence[Trial]) -> optuna.Study:
    """Put the counted trials, and no others, into a study in memory."""
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.create_trial(params=vars(one.setting).copy(), distributions=space.distributions(), value=one.value)
            for one in trials
        ]
    )
    return study


def _save(path: Path, plot: Callable[..., Any], study: optuna.Study, varied: list[str]) -> None:
    matplotlib.use("Agg")
    with warnings.catch_warnings(), pyplot.rc_context():  # Optuna changes matplotlib's style for the whole process
        warnings.simplefilter("ignore")  # Optuna marks these plots as experimental, and scipy a contour of few points
        axes = plot(study, params=varied, target_name="mean TIS")
    figure = np.ravel(axes)[0].figure
    figure.set_size_inches(max(7.0, 2.8 * len(varied)), 2.8 * len(varied) if plot is plots.plot_contour else 4.0)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png", bbox_inches="tight")
    pyplot.close(figure)
