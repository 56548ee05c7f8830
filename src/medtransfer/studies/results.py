"""Results of a study: every initialisation's mean, and the printed one beside it where the paper has one."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from medtransfer.config.study_files import StudyFile
from medtransfer.metrics.two_samples import Summary, welch
from medtransfer.records import size_text, write_text
from medtransfer.records.tables import as_csv, as_markdown
from medtransfer.studies.finished import Start, name_origins, name_starts, repetitions
from medtransfer.studies.printed import Number, Tables, tables_of
from medtransfer.studies.rows import Row, group_by_start, list_rows, part_names
from medtransfer.studies.scenarios import write_scenarios
from medtransfer.wording import are, counted, training_images

CSV, MARKDOWN = "study.csv", "study.md"


def write_results(chosen: StudyFile, out: Path) -> str:
    """Write `study.csv`, `study.md` and what `write_scenarios` adds; return a summary for the terminal."""
    rows, tables = list_rows(chosen), tables_of(chosen)
    lines = [line for row in rows for line in _lines(row, tables)]
    missing = sum(len(row.cells) - len(row.finished) for row in rows)
    write_text(out / CSV, as_csv([{name: value for name, value in line.items() if name != "name"} for line in lines]))
    scenarios = write_scenarios(rows, tables, chosen.parts[0].params.report.confidence, out)
    write_text(out / MARKDOWN, _markdown(chosen, lines, missing, scenarios))
    return _summary(chosen, lines, missing, out)


def _lines(row: Row, by_part: Mapping[str, Tables]) -> Iterator[dict[str, Any]]:
    """Yield a line per initialisation and recipe, from the best mean to the worst, and the best ones where a paper prints these."""
    by_start, parts = repetitions(row.finished), {start: part_names(own) for start, own in group_by_start(row.cells).items()}
    metric = row.finished[0].metric if row.finished else ""
    ordered = sorted(by_start, key=lambda start: -fmean(by_start[start]))
    names, origins = name_starts({start: parts[start] for start in ordered}), name_origins(ordered)
    tables_of_start = {start: next((by_part[part] for part in parts[start] if part in by_part), None) for start in ordered}
    lines = {
        start: {
            "part": ", ".join(parts[start]), "target": row.key.target, "mode": row.key.mode,
            "size": "all" if row.key.size is None else size_text(row.key.size), "encoder": start.encoder,
            "origin": origins[start], "epoch": start.epoch, "metric": metric, "name": names[start],
        }
        for start in ordered
    }  # fmt: skip
    for start in ordered:
        tables, printed = tables_of_start[start], None
        if tables is not None and not tables.of_best and (start.epoch or start.random):
            printed = tables.find(row.key.target, start.encoder, start.origin, start.epoch, row.key.mode, row.key.size)
        yield lines[start] | _compared(by_start[start], printed)
    for encoder in dict.fromkeys(start.encoder for start in ordered):
        best = next(start for start in ordered if start.encoder == encoder)
        tables = tables_of_start[best]
        if tables is not None and tables.of_best:
            printed = tables.find(row.key.target, encoder, "", 0, row.key.mode, row.key.size)
            yield lines[best] | _compared(by_start[best], printed) | _named_best(best)


def _named_best(best: Start) -> dict[str, str]:
    return {"origin": "the best", "name": f"{best.encoder} the best" + (f", epoch {best.epoch}" if best.epoch else "")}


def _compared(values: Sequence[float], printed: Number | None) -> dict[str, Any]:
    mean, p = fmean(values), None
    if printed is not None and printed.std is not None and printed.n and min(printed.n, len(values)) > 1:
        p = welch(Summary.of(values), Summary(printed.mean, printed.std, printed.n)).p
    return {
        "n": len(values), "mean": mean, "std": stdev(values) if len(values) > 1 else None,
        "printed_table": printed and printed.table, "printed_mean": printed and printed.mean,
        "printed_std": printed and printed.std, "printed_n": printed and printed.n,
        "difference": printed and mean - printed.mean, "p_welch": p,
    }  # fmt: skip


def _markdown(chosen: StudyFile, lines: Sequence[dict[str, Any]], missing: int, more: Sequence[str]) -> str:
    blocks: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        blocks.setdefault((line["target"], line["mode"], line["size"]), []).append(line)
    parts = [f"# {chosen.name}", chosen.about.what + (f" Repeats {chosen.about.paper}." if chosen.about.paper else "")]
    parts += [f"{are(missing, 'cell')} not finished."] if missing else []
    for (target, mode, size), members in blocks.items():
        parts += [f"## {target}, {mode}, {training_images(size)}", as_markdown([_readable(line) for line in members])]
    if any(line["printed_mean"] is not None for line in lines):
        parts.append(
            "p is that of Welch's test against the printed mean and spread, not corrected for the number of comparisons. A "
            "difference may come from the split, since few papers publish theirs, and from all that they do not say."
        )
    return "\n\n".join([*parts, *more]) + "\n"


def _readable(line: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "initialisation": line["name"],
        line["metric"]: _with_spread(line["mean"], line["std"]), "n": line["n"],
    }  # fmt: skip
    if line["printed_mean"] is None:
        return {**shown, "printed": "–", "difference": "–", "p": "–"}
    return {
        **shown, "printed": _with_spread(line["printed_mean"], line["printed_std"]), "difference": f"{line['difference']:+.4f}",
        "p": "–" if line["p_welch"] is None else f"{line['p_welch']:.3g}",
    }  # fmt: skip


def _with_spread(mean: float, std: float | None) -> str:
    return f"{mean:.4f}" + ("" if std is None else f" ± {std:.4f}")


def _summary(chosen: StudyFile, lines: Sequence[dict[str, Any]], missing: int, out: Path) -> str:
    compared = [line for line in lines if line["printed_mean"] is not None]
    text = f"{chosen.name}: {counted(len(lines), 'mean')}"
    if compared:
        tested = [line["p_welch"] for line in compared if line["p_welch"] is not None]
        differing = f"{sum(p < 0.05 for p in tested)} differ at 5 %"
        if len(tested) < len(compared):
            differing = f"{len(tested)} could be tested and {differing}" if tested else "none could be tested"
        text += f", {len(compared)} of them beside a printed one, of which {differing}"
    text += f"; {are(missing, 'cell')} not finished" if missing else ""
    return f"{text}. The tables: {out / MARKDOWN}, {out / CSV}"
