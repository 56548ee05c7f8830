"""Stage `rank`: rank candidate encoders on the images of a target, or find that nothing has changed since it was done.

The libraries that measure and draw, which take seconds to load, are imported where there is something to do.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer import study, tracking
from medtransfer.analysis.evidence_rows import all_rows
from medtransfer.config import Params
from medtransfer.environment import require_device
from medtransfer.errors import InputError
from medtransfer.grid_launchers import LAUNCHERS
from medtransfer.indicators.registry import require_known
from medtransfer.launchers import require_processes
from medtransfer.locks import exclusive
from medtransfer.progress import loading
from medtransfer.rank.candidates import read_candidates
from medtransfer.rank.finished import PAGE, TEXT, count_unmeasured, finish, is_finished, request_of
from medtransfer.rank.targets import check_sizes, open_target
from medtransfer.records import write_text
from medtransfer.records.finished import forget_finished, read_finished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medtransfer.analysis.pruning import Pruning
    from medtransfer.rank.ranking import Ranking

log = logging.getLogger("medtransfer")


def run(params: Params, brief: bool = False) -> str:
    """Rank the candidates, and return the text for the terminal; see `rank`.

    A ranking of the same candidates, images, settings and outcomes whose files are as they were written is reused.

    Args:
        params: params, whose section `rank` names images and candidates.
        brief: whether to return the first sentence of the verdict only.
    """
    _rank(params, reuse=True)
    text = (Path(params.rank.out) / TEXT).read_text(encoding="utf-8")
    return text.splitlines()[0] if brief else f"{text}\nThe page: {Path(params.rank.out) / PAGE}"


def run_study(params: Params) -> str:
    """Rank the candidates on every target of the study, and judge each way of choosing over all targets.

    Args:
        params: params, whose section `study` names the targets; each has a folder of its own below `rank.out`.

    Returns:
        The verdict on each target, and the table over all targets.

    Raises:
        InputError: as `rank`; or images or a target are named.
    """
    from medtransfer.rank.over_targets import over_targets, prunings
    from medtransfer.rank.tables import with_headings
    from medtransfer.rank.verdict import verdict
    from medtransfer.records.tables import as_csv, as_markdown
    from medtransfer.report import pruning_text

    section = params.rank
    if named := section.images or section.target:
        raise InputError(
            f"expected neither rank.images nor rank.target with --study, which ranks on all of study.targets, but got {named}; "
            "leave one out"
        )
    rankings = []
    for name in params.study.targets:
        log.info("rank: target %s", name)
        rankings.append(rank(study.with_values(params, "rank", target=name, out=str(Path(section.out) / name))))
    rows = over_targets(rankings)
    write_text(Path(section.out) / "judged.csv", as_csv(rows))
    found = [(with_set, one) for with_set in (True, False) for one in prunings(rankings, with_set)]
    pruned = [{"with_set": with_set, **row} for with_set, one in found for row in pruning_text.csv_rows([one])]
    write_text(Path(section.out) / "pruning.csv", as_csv(pruned))
    verdicts = [f"{ranking.target}: {verdict(ranking)[0]}" for ranking in rankings]
    table = ["What fine-tuning the same candidates gave, over the targets:", as_markdown(with_headings(rows))] if rows else []
    return "\n\n".join([*verdicts, *table, *_pruned_by(found, section.by), f"The pages: {Path(section.out) / '*' / PAGE}"])


def _pruned_by(found: "Sequence[tuple[bool, Pruning]]", by: str) -> list[str]:
    """Say how often the indicator of the verdict would have pruned the winner."""
    from medtransfer.report import pruning_text
    from medtransfer.selectors.score_names import score_label

    starts = {True: "Before a race, with all that it cannot distinguish from its best", False: "Without these"}
    return [f"{starts[kind]}, {pruning_text.sentence(one, 'targets')}" for kind, one in found if one.indicator == score_label(by)]


def rank(params: Params) -> "Ranking":
    """Rank the candidates, and write page, tables and runs; candidates that were measured before are reused.

    Raises:
        InputError: the images or what names a candidate cannot be used, or a launcher started the command several times.
        StageError: no candidate could be measured.
    """
    ranking = _rank(params, reuse=False)
    assert ranking is not None
    return ranking


def _rank(params: Params, reuse: bool) -> "Ranking | None":
    """Rank the candidates; return None where a finished ranking is reused."""
    require_processes(1, "the ranking")
    require_known([params.rank.by], "rank.by")
    require_known(params.rank.indicators, "rank.indicators")
    tracking.require_experiments(("rank",))  # before timm is loaded for the candidates
    candidates = read_candidates(params.rank.candidates, params)
    study.reach_store(params, ("rank",))
    out = Path(params.rank.out)
    with exclusive(out):
        target = open_target(params)
        evidence = all_rows(Path(params.prepare.out), Path(params.evidence.out))  # a broken file is an error before any work
        request = request_of(params, candidates, target.info, evidence)
        if reuse and is_finished(out, request):
            log.info("rank: %d of %d candidates are measured already; reused", len(candidates), len(candidates))
            return None
        check_sizes(target, candidates, params.rank.images is None)
        if (out / PAGE).exists() and not (request and read_finished(out, request)):
            log.info("rank: this ranking will replace the earlier one in %s; --out writes to another folder", out)
        forget_finished(out)
        section = params.rank
        if unmeasured := count_unmeasured(params, candidates, target.has_masks):
            if unmeasured == len(candidates) and LAUNCHERS[section.launcher].here:
                require_device(params.score.accelerator, params.score.precision)
            with tracking.project_run_set_aside():
                LAUNCHERS[section.launcher].prepare(params, section.workers, unmeasured, params.score.accelerator)
        with loading("rank"):
            from medtransfer.rank.assess import assess
        assessed = assess(params, candidates, target, evidence)
        finish(out, request, assessed.ranking, assessed.files)
        return assessed.ranking
