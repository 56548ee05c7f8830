"""Scenarios of a study beside each other: modes and initialisations of a target and size, their curves, and what decoders gain."""

from collections import defaultdict
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
from medtransfer.studies.curves_plot import Scenario, draw_curves
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
            as_markdown([_readable(line) for line in reached]),
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


def _scenarios(group: Sequence[Planned]) -> dict[str, list[Planned]]:
    """Return the cells of each scenario by its name, from the best mean to the worst."""
    found: dict[str, list[Planned]] = defaultdict(list)
    for one in group:
        mode = "" if one.cell.mode == "full" else f", {one.cell.mode}"
        weights = f"{one.cell.origin}, epoch {one.cell.epoch}" if one.cell.epoch else RANDOM
        found[f"{one.cell.encoder} {weights}{mode}"].append(one)
    return dict(sorted(found.items(), key=lambda item: -fmean(_values(item[1]))))


def _values(cells: Sequence[Planned]) -> list[float]:
    return [one.finished.value for one in cells if one.finished]


def _reached(
    key: Group, group: Sequence[Planned], curves: Mapping[str, Curve], confidence: float
) -> list[Line]:  # fmt: skip
    scenarios = {name: cells for name, cells in _scenarios(group).items() if all(_run(one) in curves for one in cells)}
    if not scenarios:
        return []
    level, lines = _level(scenarios, curves), []
    for name, cells in scenarios.items():
        values, found = _values(cells), time_to_reach([curves[_run(one)] for one in cells], level, confidence)
        low, high = found.interval or (None, None)
        lines.append({
            "target": key.label, "size": _size(key.size), "scenario": name, "mean": fmean(values),
            "std": stdev(values) if len(values) > 1 else None, "n": len(values), "level": level, "reached": found.count,
            "steps": found.mean, "steps_low": low, "steps_high": high,
        })  # fmt: skip
    return lines


def _level(scenarios: Mapping[str, Sequence[Planned]], curves: Mapping[str, Curve]) -> float:
    """Return the level to reach, from the last points of the curves."""
    finals = {name: [curves[_run(one)][max(curves[_run(one)])] for one in cells] for name, cells in scenarios.items()}
    return level_of(finals, _metric([one for cells in scenarios.values() for one in cells]).chance)


def _gains(
    key: Group, group: Sequence[Planned], tables: Mapping[str, Tables], confidence: float
) -> list[Line]:  # fmt: skip
    by_start: dict[tuple[str, tuple[str, str, int]], dict[object, float]] = defaultdict(dict)
    parts = {}
    for one in group:
        if one.finished and (one.cell.mode == "full" or MODES[one.cell.mode].decoder_transferred):
            by_start[one.cell.mode, one.start][one.cell.seed, one.cell.fold] = one.finished.value
            parts[one.start] = one.part.name
    lines = []
    for (mode, start), values in by_start.items():
        encoder, origin, epoch = start
        gain = None if mode == "full" else gain_of(values, by_start.get(("full", start), {}), confidence)
        if gain is None:
            continue
        low, high = gain.interval or (None, None)
        table = tables.get(parts[start])
        printed = (
            [table.find(key.target, encoder, origin, epoch, name, key.size) for name in (mode, "full")] if table else [None, None]
        )
        lines.append({
            "target": key.label, "size": _size(key.size), "encoder": encoder, "origin": origin if epoch else RANDOM,
            "gain": gain.mean, "low": low, "high": high, "n": gain.n,
            "printed_gain": printed[0].mean - printed[1].mean if printed[0] and printed[1] else None,
        })  # fmt: skip
    return lines


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
    starts, scenarios = list(dict.fromkeys(one.start for one in group)), _scenarios(group)
    drawn = []
    for name, cells in scenarios.items():
        style = ":" if not cells[0].cell.epoch else "--" if MODES[cells[0].cell.mode].decoder_transferred else "-"
        if own := [curves[_run(one)] for one in cells if _run(one) in curves]:
            drawn.append(Scenario(name, starts.index(cells[0].start), style, own))
    complete = {name: cells for name, cells in scenarios.items() if all(_run(one) in curves for one in cells)}
    images = f"{_size(key.size)} {'of the ' if isinstance(key.size, float) else ''}training images"
    title, label = f"{key.label}, {images}", f"{samples} {_metric(group).label}"
    draw_curves(path, drawn, _level(complete, curves) if complete else None, title, label)


def _metric(cells: Sequence[Planned]) -> Metric:
    """Return the metric of the first cell that is finished."""
    name = next(one.finished.metric for one in cells if one.finished)
    return next(task.primary for task in TASKS.values() if task.primary.name == name)
