"""Scenarios of a study beside each other: modes and initialisations of a target and size, their curves, and what decoders gain."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from medtransfer import tracking
from medtransfer.analysis.by_size import Repeats
from medtransfer.analysis.time_to_reach import SHARE, Curve, gain_of, level_of, mean_curve, time_to_reach
from medtransfer.finetune.protocol import Protocol
from medtransfer.modes import MODES
from medtransfer.records import size_text, write_text
from medtransfer.records.tables import as_csv, as_markdown
from medtransfer.studies import curves_plot
from medtransfer.studies.finished import Finished, Start, by_repetition, name_origins, name_starts
from medtransfer.studies.printed import Tables
from medtransfer.studies.rows import Planned, Row, group_by_start, part_names
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Metric
from medtransfer.wording import counted, training_images

CSV, DECODERS_CSV = "scenarios.csv", "decoders.csv"
OVER = "over folds, each the mean of its seeds, or without folds over seeds"
MOST_PARTS, MOST_LETTERS = 3, 60  # that a group is named by
WATCHED = ("test", "validation")  # samples of the curves, the first that has some
Line = dict[str, Any]


def write_scenarios(rows: Sequence[Row], tables: Mapping[str, Tables], confidence: float, out: Path) -> list[str]:
    """Write `scenarios.csv`, `decoders.csv` and a figure of the curves per target and size; return sections of Markdown.

    Nothing is written of a study that transfers no decoder and has no curves.

    Args:
        rows: rows of the study.
        tables: printed tables of parts by name.
        confidence: coverage of the intervals.
        out: folder.
    """
    groups = _groups(rows)
    samples, curves = _read_curves([one for group in groups.values() for one in group])
    sections = _write_steps(groups, samples, curves, confidence, out) if curves else []
    gains = [(key, line) for key, group in groups.items() for line in _gains(key, group, tables, confidence)]
    if gains:
        write_text(out / DECODERS_CSV, as_csv([line for _, line in gains]))
        sections += [
            "## Gain from the pretrained decoder", as_markdown([_readable_gain(key, line) for key, line in gains]),
            f"The mean difference to the same encoder with a random decoder, {OVER}, as far as both have them, with its interval.",
        ]  # fmt: skip
    return sections


def _write_steps(
    groups: "Mapping[Group, Sequence[Planned]]", samples: str, curves: Mapping[str, Curve], confidence: float, out: Path
) -> list[str]:  # fmt: skip
    reached = [(key, line) for key, group in groups.items() for line in _reached(key, group, curves, confidence)]
    write_text(out / CSV, as_csv([line for _, line in reached]))
    drawn = [_draw(out, key, group, curves, samples) for key, group in groups.items() if any(_run(one) in curves for one in group)]
    scenarios = [scenario for group in groups.values() for scenario in _scenarios(group) if not MODES[scenario.mode].on_features]
    lost = len(scenarios) - len(reached)
    left_out = f"{counted(lost, 'scenario')} without a curve of each run {'is' if lost == 1 else 'are'} left out. " if lost else ""
    return [
        f"## Steps to {100 * SHARE:g} % of the way from chance to the best final mean, by the {samples} samples",
        as_markdown([_readable(key, line) for key, line in reached]),
        f"Final is the mean of the test samples; the level and what reaches it are of the curves by the {samples} samples. "
        f"A mean and its {100 * confidence:g} % interval (Student's t, {OVER}) are given where all reach the level. Scenarios of "
        f"one recipe are compared. {left_out}The resolution is the distance of two points of a curve. Figures: "
        f"{', '.join(f'`{name}`' for name in drawn)}.",
    ]


@dataclass(frozen=True)
class Group:
    """What scenarios are compared on.

    Attributes:
        target: name of the target.
        size: number or share of training images; None for all.
        parts: names of the parts, where parts of several recipes have this target and size; else empty.
    """

    target: str
    size: float | None
    parts: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Target, and parts if they are named."""
        return f"{self.target} ({', '.join(self._named)})" if self.parts else self.target

    @property
    def picture(self) -> str:
        """Name of the file of its curves."""
        return f"curves-{'-'.join([self.target, _size(self.size), *self._named]).replace(' ', '-')}.png"

    @property
    def _named(self) -> tuple[str, ...]:
        """The parts; of many, or with long names, the first, which no other group has, and their number."""
        if len(self.parts) <= MOST_PARTS and len("".join(self.parts)) <= MOST_LETTERS:
            return self.parts
        return (self.parts[0], f"{len(self.parts) - 1} more")


def _groups(rows: Sequence[Row]) -> dict[Group, list[Planned]]:
    """Return the finished cells by target, size and recipe: steps of different recipes are not of one length."""
    by_recipe: dict[tuple[str, float | None], dict[str, list[Planned]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for one in (one for one in row.cells if one.finished):
            by_recipe[row.key.target, row.key.size][Protocol.of(one.part.params.finetune).key].append(one)
    return {
        Group(*key, part_names(cells) if len(recipes) > 1 else ()): cells
        for key, recipes in by_recipe.items() for cells in recipes.values()
    }  # fmt: skip


def _read_curves(cells: Sequence[Planned]) -> tuple[str, dict[str, Curve]]:
    """Return the samples of the curves, and by run the curve over steps."""
    by_metric: dict[str, list[Planned]] = defaultdict(list)
    for one in (one for one in cells if not MODES[one.cell.mode].on_features):  # those have no steps on images
        assert one.finished is not None
        by_metric[one.finished.metric].append(one)
    for samples in WATCHED:
        curves: dict[str, Curve] = {}
        for metric, group in by_metric.items():
            found = tracking.read_curves([_run(one) for one in group], f"{samples}_{metric}")
            curves |= {_run(one): _by_step(one, found[_run(one)]) for one in group if found.get(_run(one))}
        if curves:
            return samples, curves
    return "", {}


def _by_step(one: Planned, curve: Curve) -> dict[int, float]:
    assert one.work is not None
    steps = one.work.steps // one.part.params.finetune.train_epochs
    return {epoch * steps: value for epoch, value in curve.items()}


def _run(one: Planned) -> str:
    return one.finished.run if one.finished else ""


def _size(size: float | None) -> str:
    return "all" if size is None else size_text(size)


@dataclass(frozen=True)
class Scenario:
    """Runs of one mode and initialisation; of one recipe, data and pretraining, since others are never mixed with them.

    Attributes:
        name: initialisation and mode.
        start: its weights.
        mode: mode of transfer.
        repetitions: its finished cells by fold, or by seed without folds.
        parts: names of their parts.
    """

    name: str
    start: Start
    mode: str
    repetitions: tuple[tuple[Finished, ...], ...]
    parts: tuple[str, ...]

    @property
    def values(self) -> list[float]:
        """Value on the test samples of each repetition."""
        return [fmean(one.value for one in group) for group in self.repetitions]

    def runs_in(self, curves: Mapping[str, Curve]) -> list[list[Curve]]:
        """Return the curves by repetition, of those of its runs that have one."""
        return [own for group in self.repetitions if (own := [curves[one.run] for one in group if one.run in curves])]

    def is_complete(self, curves: Mapping[str, Curve]) -> bool:
        """Return whether each of its runs has a curve."""
        return all(one.run in curves for group in self.repetitions for one in group)


def _scenarios(group: Sequence[Planned]) -> list[Scenario]:
    """Return the scenarios of a group, from the best mean to the worst."""
    scenarios = []
    for mode in dict.fromkeys(one.cell.mode for one in group):
        by_start = group_by_start(one for one in group if one.cell.mode == mode)
        parts = {start: part_names(cells) for start, cells in by_start.items()}
        names = name_starts(parts)
        for start, cells in by_start.items():
            repetitions = by_repetition([one.finished for one in cells if one.finished])
            name = names[start] + ("" if mode == "full" else f", {mode}")
            scenarios.append(Scenario(name, start, mode, tuple(map(tuple, repetitions)), parts[start]))
    return sorted(scenarios, key=lambda scenario: -fmean(scenario.values))


def _reached(key: Group, group: Sequence[Planned], curves: Mapping[str, Curve], confidence: float) -> list[Line]:
    complete = _complete(group, curves)
    if not complete:
        return []
    level, lines = _level(complete, curves), []
    for scenario in complete:
        values, found = scenario.values, time_to_reach(scenario.runs_in(curves), level, confidence)
        low, high = found.interval or (None, None)
        lines.append({
            "part": ", ".join(scenario.parts), "target": key.target, "size": _size(key.size), "scenario": scenario.name,
            "mean": fmean(values), "std": stdev(values) if len(values) > 1 else None, "n": len(values), "level": level,
            "reached": found.count, "steps": found.mean, "steps_low": low, "steps_high": high,
        })  # fmt: skip
    return lines


def _complete(group: Sequence[Planned], curves: Mapping[str, Curve]) -> list[Scenario]:
    return [scenario for scenario in _scenarios(group) if scenario.is_complete(curves)]


def _level(scenarios: Sequence[Scenario], curves: Mapping[str, Curve]) -> float:
    """Return the level to reach, from the last points of the curves."""
    finals = [[fmean(curve[max(curve)] for curve in own) for own in scenario.runs_in(curves)] for scenario in scenarios]
    return level_of(finals, _metric(scenarios).chance)


def _gains(key: Group, group: Sequence[Planned], tables: Mapping[str, Tables], confidence: float) -> list[Line]:
    scenarios = _scenarios(group)
    origins = name_origins({scenario.start for scenario in scenarios})
    full = {scenario.start: scenario for scenario in scenarios if scenario.mode == "full"}
    lines = []
    for scenario in scenarios:
        start = scenario.start
        if not MODES[scenario.mode].decoder_transferred or start.random or start not in full:
            continue
        gain = gain_of(_repeats(scenario), _repeats(full[start]), confidence)
        if gain is None:
            continue
        low, high = gain.interval or (None, None)
        table = next((tables[part] for part in scenario.parts if part in tables), None)
        with_decoder, without = (
            table and table.find(key.target, start.encoder, start.origin, start.epoch, name, key.size)
            for name in (scenario.mode, "full")
        )
        lines.append({
            "part": ", ".join(scenario.parts), "target": key.target, "size": _size(key.size),
            "initialisation": full[start].name, "encoder": start.encoder, "origin": origins[start], "epoch": start.epoch,
            "gain": gain.mean, "low": low, "high": high, "n": gain.n,
            "printed_gain": with_decoder.mean - without.mean if with_decoder and without else None,
        })  # fmt: skip
    return lines


def _repeats(scenario: Scenario) -> Repeats:
    repeats: dict[str, dict[int, float]] = defaultdict(dict)
    for one in (one for group in scenario.repetitions for one in group):
        repeats[f"{one.cell.fold}" if one.cell.folds else ""][one.cell.seed] = one.value
    return repeats


def _readable(key: Group, line: Line) -> Line:
    low, high = line["steps_low"], line["steps_high"]
    interval = "" if low is None else f" ({low:.0f} to {high:.0f})"
    return {
        "target": key.label, "size": line["size"], "scenario": line["scenario"],
        "final": f"{line['mean']:.4f}" + ("" if line["std"] is None else f" ± {line['std']:.4f}"), "level": f"{line['level']:.4f}",
        "steps": "not reached" if line["steps"] is None else f"{line['steps']:.0f}{interval}",
        "reached by": f"{line['reached']} of {line['n']}",
    }  # fmt: skip


def _readable_gain(key: Group, line: Line) -> Line:
    interval = "–" if line["low"] is None else f"{line['low']:+.4f} to {line['high']:+.4f}"
    printed = "–" if line["printed_gain"] is None else f"{line['printed_gain']:+.4f}"
    return {
        "target": key.label, "size": line["size"], "initialisation": line["initialisation"],
        "gain": f"{line['gain']:+.4f}", "interval": interval, "n": line["n"], "printed": printed,
    }  # fmt: skip


def _draw(out: Path, key: Group, group: Sequence[Planned], curves: Mapping[str, Curve], samples: str) -> str:
    """Draw the curves of every scenario that has some, with a colour per initialisation; return the name of the file."""
    scenarios = [scenario for scenario in _scenarios(group) if scenario.runs_in(curves)]
    starts = list(dict.fromkeys(one.start for one in scenarios))
    modes = [mode for mode in MODES if any(one.mode == mode for one in scenarios)]
    drawn = [
        curves_plot.Scenario(one.name, starts.index(one.start), modes.index(one.mode), list(map(mean_curve, one.runs_in(curves))))
        for one in scenarios
    ]
    repetition = "fold" if any(one.start.folds for one in scenarios) else "run"
    complete = _complete(group, curves)
    title, label = f"{key.label}, {training_images(_size(key.size))}", f"{samples} {_metric(scenarios).label}"
    curves_plot.draw_curves(out / key.picture, drawn, _level(complete, curves) if complete else None, title, label, repetition)
    return key.picture


def _metric(scenarios: Sequence[Scenario]) -> Metric:
    """Return the metric of the first one."""
    name = scenarios[0].repetitions[0][0].metric
    return next(task.primary for task in TASKS.values() if task.primary.name == name)
