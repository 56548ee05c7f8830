"""Scenarios of a study beside each other: modes and initialisations of a target and size, their curves, and what decoders gain."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from medtransfer import tracking
from medtransfer.analysis.time_to_reach import SHARE, Curve, gain_of, level_of, time_to_reach
from medtransfer.finetune.protocol import Protocol
from medtransfer.modes import MODES
from medtransfer.records import size_text, write_text
from medtransfer.records.tables import as_csv, as_markdown
from medtransfer.studies import curves_plot
from medtransfer.studies.finished import Start
from medtransfer.studies.printed import RANDOM, Tables
from medtransfer.studies.rows import Planned, Row
from medtransfer.tasks import TASKS
from medtransfer.tasks.contract import Metric

CSV, DECODERS_CSV = "scenarios.csv", "decoders.csv"
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
    reached = [line for key, group in groups.items() for line in _reached(key, group, curves, confidence)]
    gains = [line for key, group in groups.items() for line in _gains(key, group, tables, confidence)]
    sections = []
    if curves:
        write_text(out / CSV, as_csv(reached))
        for key, group in groups.items():
            if any(_run(one) in curves for one in group):
                _draw(
                    out / f"curves-{'-'.join(filter(None, (key.target, _size(key.size), key.part)))}.png",
                    key,
                    group,
                    curves,
                    samples,
                )
        sections += [
            f"## Steps to {100 * SHARE:g} % of the way from chance to the best final mean, by the {samples} samples",
            as_markdown(_readable_lines(reached)),
            f"Final is the mean of the test samples; the level and what reaches it are of the curves by the {samples} samples. "
            f"A mean and its {100 * confidence:g} % interval (Student's t, over seeds) are given where all runs reach the level. "
            "Scenarios of one recipe are compared. The resolution is the distance of two points of a curve. Figures: "
            "`curves-<target>-<size>.png`.",
        ]
    if gains:
        write_text(out / DECODERS_CSV, as_csv(gains))
        sections += [
            "## Gain from the pretrained decoder", as_markdown([_readable_gain(line) for line in gains]),
            "The mean difference to the same encoder with a random decoder, over shared seeds, with its interval.",
        ]  # fmt: skip
    return sections


@dataclass(frozen=True)
class Group:
    """What scenarios are compared on.

    Attributes:
        target: name of the target.
        size: number or share of training images; None for all.
        part: name of the part, where parts of several recipes have this target and size; else empty.
    """

    target: str
    size: float | None
    part: str = ""

    @property
    def label(self) -> str:
        """Target, and part if it is named."""
        return f"{self.target} ({self.part})" if self.part else self.target


def _groups(rows: Sequence[Row]) -> dict[Group, list[Planned]]:
    """Return the finished cells by target, size and recipe: steps of different recipes are not of one length."""
    by_recipe: dict[tuple[str, float | None], dict[str, list[Planned]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for one in (one for one in row.cells if one.finished):
            by_recipe[row.key.target, row.key.size][Protocol.of(one.part.params.finetune).key].append(one)
    return {
        Group(*key, cells[0].part.name if len(recipes) > 1 else ""): cells
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
        cells: its finished cells, those of a run that several parts have once.
        parts: names of their parts.
    """

    name: str
    cells: tuple[Planned, ...]
    parts: str

    @property
    def values(self) -> list[float]:
        """Values on the test samples."""
        return [one.finished.value for one in self.cells if one.finished]

    def runs_in(self, curves: Mapping[str, Curve]) -> list[Curve]:
        """Return the curves of those of its runs that have one."""
        return [curves[_run(one)] for one in self.cells if _run(one) in curves]


def _scenarios(group: Sequence[Planned]) -> list[Scenario]:
    """Return the scenarios of a group, from the best mean to the worst."""
    found: dict[tuple[str, Start], list[Planned]] = defaultdict(list)
    for one in group:
        if one.finished:
            found[one.cell.mode, Start.of(one.finished)].append(one)
    randoms = Counter((mode, start.encoder) for mode, start in found if not start.epoch)
    scenarios = []
    for (mode, start), cells in found.items():
        weights = f"{start.origin}, epoch {start.epoch}"
        if not start.epoch:
            weights = RANDOM if randoms[mode, start.encoder] == 1 else f"{RANDOM} of {start.origin}"
        name = f"{start.encoder} {weights}" + ("" if mode == "full" else f", {mode}")
        once = {_run(one): one for one in cells}
        scenarios.append(Scenario(name, tuple(once.values()), ", ".join(dict.fromkeys(one.part.name for one in cells))))
    return sorted(scenarios, key=lambda scenario: -fmean(scenario.values))


def _told_apart(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Return the names, with their parts where a name occurs again."""
    count = Counter(names)
    return [f"{name} ({part})" if count[name] > 1 else name for name, part in zip(names, parts, strict=True)]


def _reached(key: Group, group: Sequence[Planned], curves: Mapping[str, Curve], confidence: float) -> list[Line]:
    complete = _complete(group, curves)
    if not complete:
        return []
    level, lines = _level(complete, curves), []
    for scenario in complete:
        values, found = scenario.values, time_to_reach(scenario.runs_in(curves), level, confidence)
        low, high = found.interval or (None, None)
        lines.append({
            "part": scenario.parts, "target": key.label, "size": _size(key.size), "scenario": scenario.name,
            "mean": fmean(values), "std": stdev(values) if len(values) > 1 else None, "n": len(values), "level": level,
            "reached": found.count, "steps": found.mean, "steps_low": low, "steps_high": high,
        })  # fmt: skip
    return lines


def _complete(group: Sequence[Planned], curves: Mapping[str, Curve]) -> list[Scenario]:
    """Return the scenarios all of whose runs have a curve."""
    return [scenario for scenario in _scenarios(group) if len(scenario.runs_in(curves)) == len(scenario.cells)]


def _level(scenarios: Sequence[Scenario], curves: Mapping[str, Curve]) -> float:
    """Return the level to reach, from the last points of the curves."""
    finals = [[curve[max(curve)] for curve in scenario.runs_in(curves)] for scenario in scenarios]
    return level_of(finals, _metric([one for scenario in scenarios for one in scenario.cells]).chance)


def _gains(key: Group, group: Sequence[Planned], tables: Mapping[str, Tables], confidence: float) -> list[Line]:
    by_start: dict[tuple[str, Start], dict[object, float]] = defaultdict(dict)
    parts: dict[tuple[str, Start], dict[str, None]] = defaultdict(dict)
    for one in group:
        if one.finished and (one.cell.mode == "full" or MODES[one.cell.mode].decoder_transferred):
            mode_and_start = one.cell.mode, Start.of(one.finished)
            by_start[mode_and_start][one.cell.seed, one.cell.fold] = one.finished.value
            parts[mode_and_start][one.part.name] = None
    lines = []
    for (mode, start), values in by_start.items():
        gain = None if mode == "full" else gain_of(values, by_start.get(("full", start), {}), confidence)
        if gain is None:
            continue
        low, high = gain.interval or (None, None)
        table = next((tables[part] for part in parts[mode, start] if part in tables), None)
        with_decoder, without = (
            table and table.find(key.target, start.encoder, start.origin, start.epoch, name, key.size) for name in (mode, "full")
        )
        lines.append({
            "part": ", ".join(parts[mode, start]), "target": key.label, "size": _size(key.size), "encoder": start.encoder,
            "origin": start.origin if start.epoch else RANDOM, "gain": gain.mean, "low": low, "high": high, "n": gain.n,
            "printed_gain": with_decoder.mean - without.mean if with_decoder and without else None,
        })  # fmt: skip
    return lines


def _readable_lines(lines: Sequence[Line]) -> list[Line]:
    names = _told_apart([line["scenario"] for line in lines], [line["part"] for line in lines])
    return [_readable({**line, "scenario": name}) for line, name in zip(lines, names, strict=True)]


def _readable(line: Line) -> Line:
    low, high = line["steps_low"], line["steps_high"]
    interval = "" if low is None else f" ({low:.0f} to {high:.0f})"
    return {
        "target": line["target"], "size": line["size"], "scenario": line["scenario"],
        "final": f"{line['mean']:.4f}" + ("" if line["std"] is None else f" ± {line['std']:.4f}"), "level": f"{line['level']:.4f}",
        "steps": "not reached" if line["steps"] is None else f"{line['steps']:.0f}{interval}",
        "reached by": f"{line['reached']} of {line['n']}",
    }  # fmt: skip


def _readable_gain(line: Line) -> Line:
    interval = "–" if line["low"] is None else f"{line['low']:+.4f} to {line['high']:+.4f}"
    printed = "–" if line["printed_gain"] is None else f"{line['printed_gain']:+.4f}"
    return {
        "target": line["target"], "size": line["size"], "initialisation": f"{line['encoder']} {line['origin']}",
        "gain": f"{line['gain']:+.4f}", "interval": interval, "n": line["n"], "printed": printed,
    }  # fmt: skip


def _draw(path: Path, key: Group, group: Sequence[Planned], curves: Mapping[str, Curve], samples: str) -> None:
    """Draw the curves of every scenario that has some: dashed with its decoder, dotted of random weights."""
    scenarios = [scenario for scenario in _scenarios(group) if scenario.runs_in(curves)]
    names = _told_apart([scenario.name for scenario in scenarios], [scenario.parts for scenario in scenarios])
    starts = list(dict.fromkeys(Start.of(one.finished) for one in group if one.finished))
    drawn = []
    for name, scenario in zip(names, scenarios, strict=True):
        finished, cell = scenario.cells[0].finished, scenario.cells[0].cell
        assert finished is not None
        style = ":" if not cell.epoch else "--" if MODES[cell.mode].decoder_transferred else "-"
        drawn.append(curves_plot.Scenario(name, starts.index(Start.of(finished)), style, scenario.runs_in(curves)))
    complete = _complete(group, curves)
    images = f"{_size(key.size)} {'of the ' if isinstance(key.size, float) else ''}training images"
    title, label = f"{key.label}, {images}", f"{samples} {_metric(group).label}"
    curves_plot.draw_curves(path, drawn, _level(complete, curves) if complete else None, title, label)


def _metric(cells: Sequence[Planned]) -> Metric:
    """Return the metric of the first cell that is finished."""
    name = next(one.finished.metric for one in cells if one.finished)
    return next(task.primary for task in TASKS.values() if task.primary.name == name)
