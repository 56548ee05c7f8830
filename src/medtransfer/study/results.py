"""Results that are made of the tracking store: report, search, explanation, exported evidence; and replayed papers."""

from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer import tracking
from medtransfer.analysis.no_results import require_results
from medtransfer.config import Params
from medtransfer.hashing import file_sha256
from medtransfer.progress import loading
from medtransfer.records import TARGET_FILE
from medtransfer.study.cells import described, study_cells, unknown_ends
from medtransfer.study.store import RESULTS, command, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from medtransfer.analysis.described import Described
    from medtransfer.config import Replay

    Make = Callable[[], tracking.Made]


def _with_plan(params: Params) -> "Described":
    """Return the study that the parameters describe, with what its section `study` plans."""
    return replace(described(params), planned=tuple(study_cells(params, {})), unknown_ends=frozenset(unknown_ends(params)))


@command(*RESULTS, "report", make=False)
def report(params: Params, everything: bool = False, short: bool = False, force: bool = False) -> str:
    """Compute the tables from the tracking store, after publishing the results on disk that it lacks.

    Args:
        params: of the study to judge.
        everything: whether to judge all fine-tunings in the store, also those by other parameters.
        short: whether to return the verdict and a small table alone.
        force: whether to compute them again even if nothing has changed.
    """
    from medtransfer.score.options import robustness_of, views_of

    publish(params)
    judged = None if everything else _with_plan(params)
    section, setting, views, eta = params.report, robustness_of(params.score), views_of(params.score), params.race.eta

    require_results("own")

    def load() -> "Make":
        with loading("report"):
            from medtransfer.report.stage import run
        return partial(run, section, setting, views, judged, eta)

    request = [section.model_dump(mode="json"), asdict(setting), asdict(views), judged and judged.values, eta]
    texts = tracking.make_of_store("report", Path(section.out), request, load, force=force)
    return texts[-1 if short else 0]


@command(*RESULTS, make=False)
def export_evidence(params: Params, out: Path, names: bool) -> str:
    """Export the outcomes of the tracking store, after publishing the results on disk that it lacks."""
    from medtransfer.evidence.stage import export_rows

    publish(params)
    return export_rows(out, Path(params.prepare.out), names)


@command("search", make=False)
def search(params: Params, everything: bool = False, force: bool = False) -> str:
    """Search for the setting of robustness, and the indicator, that choose best, on own results or the paper's replayed ones.

    Args:
        params: of the study to search on.
        everything: whether to search on all own results in the store, also those by other parameters.
        force: whether to search again even if nothing has changed.
    """
    from medtransfer.score.options import robustness_of, views_of

    section, default, views, drawn = params.search, robustness_of(params.score), views_of(params.score), params.report
    judged = None if everything or section.results == "replay" else _with_plan(params)

    require_results(section.results)

    def load() -> "Make":
        with loading("search"):
            from medtransfer.search.results import read_own

        def make() -> tracking.Made:
            if section.results == "replay":
                with loading("search"):
                    from medtransfer.papers.hidy2024.searchable import read_replayed
                results = read_replayed()
            else:
                settings = set(product(section.distances, section.levels))
                results = read_own(default, settings, views, drawn.least, judged, section.indicators)
            with loading("search"):  # once there is something to search on
                from medtransfer.search.stage import run
            return run(section, results, default, drawn.confidence, drawn.margin)

        return make

    used = [drawn.least, drawn.confidence, drawn.margin]
    request = [section.model_dump(mode="json"), asdict(default), asdict(views), judged and judged.values, used]
    return tracking.make_of_store("search", Path(section.out), request, load, force=force)[0]


@command(*RESULTS, "explain", make=False)
def explain(params: Params, force: bool = False) -> str:
    """Show what goes with the test results over the checkpoints of the study, or over those of the paper's replayed results."""
    from medtransfer.score.options import robustness_of, views_of

    section, setting, views, drawn = params.explain, robustness_of(params.score), views_of(params.score), params.report
    checkpoints, prepared = Path(params.pretrain.out), Path(params.prepare.out)
    judged, records = None, []
    if section.results == "own":
        publish(params)
        judged = _with_plan(params)
        records = sorted([*checkpoints.glob("*/epoch-*.json"), *prepared.glob(f"*/{TARGET_FILE}")])

    require_results(section.results)

    def load() -> "Make":
        with loading("explain"):
            from medtransfer.analysis.planned import compare_with_plan
            from medtransfer.analysis.pools import collect

        def make() -> tracking.Made:
            pools, left_out = ([], []) if section.results == "replay" else collect(setting, views, judged)
            left_out = [*compare_with_plan(judged, pools), *left_out]
            with loading("explain"):  # once there is something to explain
                from medtransfer.explain.cases import Cases, read_own
                from medtransfer.explain.stage import run
                from medtransfer.papers.hidy2024.explainable import read_replayed_cases

            def read(features: Path) -> Cases:
                if section.results == "replay":
                    return read_replayed_cases()
                return read_own(pools, left_out, checkpoints, prepared, features, params.score, drawn.least)

            return run(section, read, drawn.confidence)

        return make

    measured = [[str(record), file_sha256(record)] for record in records]
    sections = [section.model_dump(mode="json"), params.score.model_dump(mode="json"), drawn.least, drawn.confidence]
    request = [sections, judged and judged.values, measured]
    return tracking.make_of_store("explain", Path(section.out), request, load, force=force)[0]


@command("replay", needs=lambda params, force=False: _check_files(params.replay))
def replay(params: Params, force: bool = False) -> str:
    """Replay a paper: its released result files, or its claims on its printed tables."""
    return _replay_released(params, force) if params.replay.paper == "hidy" else _replay_printed(params.replay, force)


def _check_files(section: "Replay") -> None:
    """Refuse a replay of released results whose files are not named or do not exist."""
    from medtransfer.papers.hidy2024.named_files import named_files

    if section.paper == "hidy":
        named_files(section)


def _replay_released(params: Params, force: bool) -> str:
    from medtransfer.papers.hidy2024.named_files import named_files

    section, drawn, eta = params.replay, params.report, params.race.eta
    files = named_files(section)

    def load() -> "Make":
        with loading("replay"):
            from medtransfer.papers.hidy2024.files import read_files

            tables = read_files(*files)  # other files are refused before the libraries that judge these are loaded
            from medtransfer.papers.hidy2024.stage import run
        return partial(run, section, tables, drawn, eta)

    request = [[file_sha256(file) for file in files], drawn.model_dump(mode="json"), eta]
    return tracking.make_of_store("replay", Path(section.out), request, load, force=force, own_runs=True)[0]


def _replay_printed(section: "Replay", force: bool) -> str:
    def load() -> "Make":
        with loading("replay"):
            from medtransfer.papers.printed.stage import run
        return partial(run, section)

    return tracking.make_of_store("replay", Path(section.out) / section.paper, section.paper, load, force=force)[0]
