"""Plots of a search: importance of each parameter, mean TIS by its choices, and by pairs of choices."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from medtransfer.progress import track
from medtransfer.records import atomic_path
from medtransfer.search.evaluate import Table
from medtransfer.selectors.frame import EDGE, FONT, frame
from medtransfer.selectors.marks import BLACK, BLUE, GREY
from medtransfer.wording import counted

TICKS = 6  # the most choices of a parameter that are all named beside an axis
LABELS = {
    "distance": "distance between features", "margin": "margin of the triplet loss", "level": "encoder level, -1 the deepest",
    "pooling": "pooling of features",
}  # fmt: skip
MEAN_TIS = "mean TIS"


def explained_variance(study: optuna.Study, params: Sequence[str]) -> dict[str, float]:
    """Return the share of the variance of the mean TIS that each parameter explains alone, exact on a full grid.

    It is the variance of the mean by choice of the parameter, relative to that of all settings, and is not scaled to a sum of 1, as
    Optuna's importances are.
    """
    trials = _as_table(study)
    total = trials["value"].var(ddof=0)
    return {name: trials.groupby(name)["value"].transform("mean").var(ddof=0) / total for name in params}


def plot_importance(study: optuna.Study, params: Sequence[str]) -> Figure:
    """Draw the share of the variance of the mean TIS that each parameter explains, the largest at the top."""
    shares = explained_variance(study, params)
    order = sorted(shares, key=lambda name: shares[name])
    figure = Figure(figsize=(7.5, 1.3 + 0.42 * len(order)), layout="constrained")
    axes = figure.subplots()
    frame(axes, 4)
    axes.grid(visible=False)
    bars = axes.barh(range(len(order)), [100 * shares[name] for name in order], height=0.6, color=BLUE)
    axes.bar_label(bars, [f"{100 * shares[name]:.0f} %" for name in order], padding=4, color=BLACK, fontsize=FONT)
    axes.set_yticks(range(len(order)), [LABELS[name] for name in order], color=BLACK)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0, 100)
    axes.set_xlabel("variance of the mean TIS that the parameter explains alone (%)", color=BLACK)
    _title(figure, study, "What the mean TIS depends on")
    return figure


def plot_slice(study: optuna.Study, params: Sequence[str]) -> Figure:
    """Draw, for each choice of a parameter, the mean TIS of the settings with it: mean, middle half, lowest and highest."""
    trials = _as_table(study)
    figure = Figure(figsize=(0.6 + 2.6 * len(params), 3.8), layout="constrained")
    panels = figure.subplots(1, len(params), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, params, strict=True):
        frame(axes, 5)
        _draw_choices(axes, trials.groupby(name, sort=False)["value"], _order(trials[name]))
        axes.set_xlabel(LABELS[name], color=BLACK)
    panels[0].set_ylabel(MEAN_TIS, color=BLACK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=FONT, labelcolor=BLACK)
    _title(figure, study, "Mean TIS of the settings with each choice")
    return figure


def _order(values: "pd.Series[Any]") -> list[Any]:
    """Return the choices of a parameter: numbers with fractions ascending, others in the order of the params."""
    choices = list(values.unique())
    return sorted(choices) if isinstance(choices[0], float) else choices


def _draw_choices(axes: Axes, values: Any, choices: Sequence[Any]) -> None:
    """Draw bars with a dot for few choices, bands with a line for many numbers.

    Args:
        axes: where to draw.
        values: mean TIS of the settings, grouped by choice.
        choices: the choices in the order in which they are drawn.
    """
    low, first, third, high = (values.quantile(share)[choices] for share in (0, 0.25, 0.75, 1))
    means = values.mean()[choices]
    if len(choices) > TICKS and isinstance(choices[0], float):
        axes.fill_between(choices, low, high, color=BLUE, alpha=0.14, linewidth=0, label="lowest to highest")
        axes.fill_between(choices, first, third, color=BLUE, alpha=0.3, linewidth=0, label="middle half")
        axes.plot(choices, means, color=BLUE, linewidth=1.6, label="mean over settings")
        return
    places = range(len(choices))
    axes.vlines(places, low, high, color=BLUE, alpha=0.35, linewidth=1.4, label="lowest to highest")
    axes.vlines(places, first, third, color=BLUE, alpha=0.45, linewidth=6, label="middle half")
    axes.plot(places, means, "o", color=BLUE, markersize=6, label="mean over settings")
    axes.set_xticks(places, [str(choice) for choice in choices])
    axes.set_xlim(-0.5, len(choices) - 0.5)


def plot_pairs(study: optuna.Study, params: Sequence[str]) -> Figure:
    """Draw the mean TIS over all settings with two choices, for every two parameters, in shades of one scale.

    Optuna's contours would interpolate between choices that have no order.
    """
    trials = _as_table(study)
    pairs = list(combinations(params, 2))
    order = {name: _order(trials[name]) for name in params}
    tables = [
        trials.pivot_table("value", index=second, columns=first).reindex(index=order[second], columns=order[first])
        for first, second in pairs
    ]
    low, high = min(table.to_numpy().min() for table in tables), max(table.to_numpy().max() for table in tables)
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(max(5.5, 3.7 * columns + 0.8), 3.0 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.ravel()[len(pairs) :]:
        panel.remove()
    for panel, table, (first, second) in zip(panels.ravel(), tables, pairs, strict=False):
        shades = panel.imshow(table, aspect="auto", origin="lower", interpolation="nearest", cmap="cividis", vmin=low, vmax=high)
        panel.set_xlabel(LABELS[first], color=BLACK)
        panel.set_ylabel(LABELS[second], color=BLACK)
        panel.set_xticks(*_ticks(table.columns))
        panel.set_yticks(*_ticks(table.index))
        panel.tick_params(length=0, labelsize=FONT - 1, labelcolor=GREY)
        panel.spines[:].set_visible(False)
    bar = figure.colorbar(shades, ax=panels, label=f"{MEAN_TIS} over all settings with both choices")
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(color=EDGE, labelcolor=GREY)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    _title(figure, study, "Mean TIS by pairs of choices")
    return figure


def _ticks(choices: "pd.Index[Any]") -> tuple[list[int], list[str]]:
    """Return positions and labels of the choices of a parameter, of many only the ends and the middle."""
    places = range(len(choices)) if len(choices) <= TICKS else (0, len(choices) // 2, len(choices) - 1)
    return list(places), [str(choices[place]) for place in places]


def _title(figure: Figure, study: optuna.Study, text: str) -> None:
    figure.suptitle(f"{text}: {study.study_name}", x=0.012, ha="left", fontsize=12, color=BLACK)


Plot = Callable[[optuna.Study, Sequence[str]], Figure]
PLOTS: dict[str, Plot] = {"importance": plot_importance, "slice": plot_slice, "pairs": plot_pairs}


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


def _save(path: Path, plot: Plot, study: optuna.Study, varied: Sequence[str]) -> None:
    with atomic_path(path) as partial:
        plot(study, varied).savefig(partial, dpi=110, format="png")


def exhaustive_study(table: Table) -> optuna.Study:
    """Return an in-memory Optuna study with one finished trial per setting, in order, whose value is the mean TIS.

    Its name says how many settings and configurations there are.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = _choices(table)
    distributions: dict[str, BaseDistribution] = {name: CategoricalDistribution(values) for name, values in choices.items()}
    distributions["margin"] = FloatDistribution(min(choices["margin"]), max(choices["margin"]))
    # rounded, since plots of equal values would show the noise of their last digits
    values = table.mean(range(len(table.cases))).round(9).tolist()
    name = f"{counted(len(table.settings), 'setting')} on {counted(len(table.cases), 'configuration')}"
    study = optuna.create_study(direction="maximize", study_name=name)
    study.add_trials(
        optuna.create_trial(params=vars(setting).copy(), distributions=distributions, value=value)
        for setting, value in zip(table.settings, values, strict=True)
    )
    return study


def _as_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per trial: its parameters, and its value."""
    return pd.DataFrame([{**trial.params, "value": trial.value} for trial in study.get_trials(deepcopy=False)])


def _choices(table: Table) -> dict[str, list[Any]]:
    names = vars(table.settings[0])
    return {name: list(dict.fromkeys(getattr(setting, name) for setting in table.settings)) for name in names}
