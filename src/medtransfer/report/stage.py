"""Stage `report`: write page, Markdown, tables and figure from the tracking store, and log them as a run."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from medtransfer import tracking
from medtransfer.analysis.described import Described
from medtransfer.analysis.feature_maps import read_maps
from medtransfer.analysis.learning import read_learning
from medtransfer.analysis.model import Analysis, Sampling
from medtransfer.analysis.no_results import no_fine_tunings
from medtransfer.analysis.planned import compare_with_plan
from medtransfer.analysis.pool import Pool
from medtransfer.analysis.pools import collect
from medtransfer.analysis.similarities import read_similarities
from medtransfer.analysis.starts import compare_starts
from medtransfer.analysis.summary import analyse
from medtransfer.config import Report
from medtransfer.environment import gc_paused
from medtransfer.errors import InputError, StageError
from medtransfer.forks import beside
from medtransfer.hashing import digest
from medtransfer.indicators.contract import ViewSettings
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.progress import status
from medtransfer.records import write_json, write_text
from medtransfer.records.tables import as_csv
from medtransfer.report import data_notes, page, pruning_text, size_text, starts_text, tables
from medtransfer.report.plots import by_size, initialisations
from medtransfer.report.plots.figure import draw
from medtransfer.report.verdict_text import counted

TITLE = "Which checkpoint to start from"
FILES = (
    "report.html",
    "report.md",
    "dice.csv",
    "tis.csv",
    "selectors.csv",
    "contrasts.csv",
    "pruning.csv",
    "sizes.csv",
    "initialisations.csv",
    "dice_by_epoch.png",
)
BY_SIZE = "metric_by_size.png"  # where there is more than one size
STARTS = "initialisations.png"  # where a target has more than one
SOON = 0.3  # seconds after which MLflow is loaded beside the reading of the runs


def run(
    section: Report, setting: RobustnessSetting, views: ViewSettings | None = None, described: Described | None = None,
    eta: int = 0,
) -> tracking.Made:  # fmt: skip
    """Compute everything from the store, and write it below `report.out` and as a run.

    Args:
        section: validated params.
        setting: robustness setting to prefer if a target was scored at several.
        views: view settings of the score runs to prefer; None for any.
        described: the study to judge; None for everything in the store.
        eta: factor of a race before which indicators would prune; 0 for none.

    Returns:
        Its files, its texts for the terminal (the whole one, and the verdict and the table of the plain ways of choosing
        alone), and the digest of its run.

    Raises:
        InputError: the store holds no finished fine-tuning of the study.
    """
    try:
        return _run(section, setting, views, described, eta)
    finally:
        gc.unfreeze()


def _run(
    section: Report, setting: RobustnessSetting, views: ViewSettings | None, described: Described | None, eta: int
) -> tracking.Made:  # fmt: skip
    with _kept(), status("report: reading the tracking store"):
        pools, left_out = _collect(setting, views, described)
    if not pools:
        raise no_fine_tunings()
    starts = tuple(compare_starts(pools, section.confidence, section.margin, section.reference, section.least))
    analysis = replace(
        analyse(pools, left_out, sampling_of(section), searched(setting), eta), starts=starts, learned=read_learning(starts),
        reference=section.reference, maps=read_maps(pools), similarities=read_similarities(pools),
        plan=compare_with_plan(described, pools),
    )  # fmt: skip
    out = Path(section.out)
    for name in (BY_SIZE, STARTS):
        (out / name).unlink(missing_ok=True)
    with status("report: writing"), beside(lambda: _write_beside(out, analysis)), beside(tracking.read_states) as states:
        text = _write_page(out, analysis)
        tracking.connect()  # loads MLflow, which takes as long as what is left to draw
    metrics = tables.tis_metrics(analysis)
    write_json(out / "metrics.json", metrics)
    names = [*FILES, *([BY_SIZE] if analysis.sizes else []), *([STARTS] if starts else [])]
    cell = _publish(out, names, analysis, metrics, text)
    texts = _text(analysis, out), tables.short(analysis)
    return tracking.Made([cell], [out / name for name in (*names, "metrics.json")], texts, states.result)


def _collect(
    setting: RobustnessSetting, views: ViewSettings | None, described: Described | None
) -> tuple[Sequence[Pool], list[str]]:  # fmt: skip
    """Read the pools (`collect`); if that takes long, MLflow is loaded meanwhile, which publishes the report in the end."""

    def read() -> tuple[Sequence[Pool], list[str], tracking.Seen] | Exception:
        try:
            with tracking.watching() as seen:
                return *collect(setting, views, described), seen
        except (InputError, StageError) as error:
            return error  # else everything would be read once more, to fail again

    with beside(read) as reading:
        if not reading.wait(SOON):
            tracking.connect()
    if isinstance(reading.result, Exception):
        raise reading.result
    pools, left_out, seen = reading.result
    tracking.note(seen)
    return pools, left_out


def _write_page(out: Path, analysis: Analysis) -> str:
    """Write the page and its text, which is returned."""
    text = tables.markdown(analysis, TITLE)
    write_text(out / "report.md", text)
    write_text(out / "report.html", page.render(analysis, TITLE))
    return text


def _write_beside(out: Path, analysis: Analysis) -> None:
    """Write the tables, and draw the pictures."""
    write_text(out / "dice.csv", as_csv(tables.dice_rows(analysis)))
    write_text(out / "tis.csv", as_csv(tables.tis_rows(analysis)))
    write_text(out / "selectors.csv", as_csv(tables.selector_rows(analysis)))
    write_text(out / "contrasts.csv", as_csv(tables.contrast_rows(analysis)))
    write_text(out / "pruning.csv", as_csv(pruning_text.csv_rows(analysis.prunings)))
    write_text(out / "initialisations.csv", as_csv(starts_text.csv_rows(analysis.starts, analysis.learned)))
    write_text(out / "sizes.csv", as_csv(size_text.csv_rows(analysis.sizes)))
    if analysis.sizes:
        by_size.write_png(out / BY_SIZE, analysis.sizes)
    if analysis.starts:
        initialisations.write_png(out / STARTS, analysis.starts)
    with status("report: drawing"):
        draw(out / "dice_by_epoch.png", analysis.judged)


def _text(analysis: Analysis, out: Path) -> str:
    """Return the text for the terminal."""
    missing = data_notes.missing(analysis)
    lines, headings = counted(sum(map(len, missing.values())), "line"), ", ".join(f"“{heading}”" for heading in missing)
    lacking = f"\n\nMissing or left out: {lines} in {out / 'report.md'}, below {headings}." if missing else ""
    return f"{tables.brief(analysis)}{lacking}\n\nThe page: {out / 'report.html'}"


@contextmanager
def _kept() -> Iterator[None]:
    """Leave what the block makes out of garbage collection: thousands of runs stay to the end, and are traversed at each one."""
    with gc_paused():
        yield
        gc.freeze()


def sampling_of(section: Report) -> Sampling:
    """Return how the report computes intervals."""
    return Sampling(section.draws, section.confidence, section.seed, section.margin, section.least, section.patients)


def searched(setting: RobustnessSetting) -> list[str]:
    """Return a warning if the setting won a search on results of this store, since then it is judged in-sample."""
    current = {name: str(value) for name, value in asdict(setting).items()}
    names = (*current, "results", "tis_held_out", tracking.PARENT)
    for run in tracking.read_runs("search", only=names):
        chosen = {name: run.params.get(name) for name in current}
        if tracking.PARENT not in run.tags and run.params.get("results") == "own" and chosen == current:
            held = run.metrics.get("tis_held_out")
            outside = (
                "" if held is None else f"; settings chosen without the target they are judged on had a mean TIS of {held:.3f}"
            )
            text = ", ".join(f"{name} {value}" for name, value in current.items())
            won = f"The setting of robustness ({text}) won a search on results of this store"
            return [f"{won}: choosing by it is judged in-sample{outside}."]
    return []


def _publish(out: Path, names: Sequence[str], analysis: Analysis, metrics: Mapping[str, float], text: str) -> str:
    """Log the report as one run, whose digest is returned; a report with the same result is logged only once."""
    inputs = sorted({run for judged in analysis.judged for run in judged.pool.runs})
    sampling = asdict(analysis.sampling)
    cell = digest([inputs, metrics, sampling, text], 16)
    params = {"configurations": len(analysis.judged), "runs": len(inputs), "eta": analysis.eta, **sampling}
    with tracking.once("report", "report", cell, params) as handle:
        if handle:
            handle.log_metrics(metrics)
            log_files(handle, out, names)
    return cell


def log_files(handle: tracking.Run, folder: Path, names: Sequence[str]) -> None:
    """Log files of a folder to the root of the run's artifacts."""
    for name in names:
        handle.log_artifact(folder / name)
