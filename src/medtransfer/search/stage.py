"""Stored results go in; the setting of robustness that chooses best, judged on targets it never saw, comes out."""

from collections.abc import Mapping
from pathlib import Path

from medtransfer.config import Search
from medtransfer.errors import InputError
from medtransfer.locks import exclusive
from medtransfer.search.adopt import adopt
from medtransfer.search.evaluate import Evaluator, Setting
from medtransfer.search.held_out import Family, find_best, judge_family, total
from medtransfer.search.markdown import write_up
from medtransfer.search.plans import FamilyPlan, make_plans
from medtransfer.search.plots import draw
from medtransfer.search.publish import log_search, trial_rows, write_files
from medtransfer.search.results import read_results
from medtransfer.search.study import Trial, Work, create_studies, open_storage, run_studies


def run(section: Search, setting: Mapping[str, object], pooling: str, adopt_into: Path | None = None) -> str:
    """Search, or go on with a search of the same name, and write what was found below `search.out` and into the store.

    Args:
        section: validated params.
        setting: params of the score runs to prefer; distance, margin and level are those of the default setting.
        pooling: of the default setting, which the search is compared with.
        adopt_into: params.yaml, whose section `score` takes the winner; None leaves it as it is.

    Returns:
        What a person reads on the terminal.

    Raises:
        InputError: nothing can be searched on, or there is no one winner to adopt.
    """
    if adopt_into and section.per_encoder:
        raise InputError(
            "expected one winner for --adopt, but search.per_encoder makes one for each encoder; lay winner-<encoder>.yaml over "
            "params.yaml with --params, or search with --per-encoder false"
        )
    default = Setting(str(setting["distance"]), float(str(setting["margin"])), int(str(setting["level"])), pooling)
    results = read_results(section, setting, default)
    plans = make_plans(section, results, default)
    evaluator = Evaluator(results.cases)
    trials = _search(section, plans, evaluator)
    families = [_judge(plan, trials, evaluator, default) for plan in plans]
    text = _write(section, plans, trials, families, evaluator, default, results.notes)
    if adopt_into:
        adopt(adopt_into, families[0].best.setting)
        text += f"\nThe winner stands in the section `score` of {adopt_into}.\n"
    return text


def _search(section: Search, plans: list[FamilyPlan], evaluator: Evaluator) -> dict[str, list[Trial]]:
    out = Path(section.out)
    studies = tuple(study for plan in plans for study in plan.studies)
    address = section.storage or str(out / f"{section.name}.journal")
    with exclusive(out / section.name):  # two processes that make a database at once fail
        create_studies(open_storage(address), studies)
    return run_studies(Work(evaluator, studies, address, section.trials, section.seed), section.workers)


def _judge(plan: FamilyPlan, trials: Mapping[str, list[Trial]], evaluator: Evaluator, default: Setting) -> Family:
    best = find_best(plan.over_all.name, trials[plan.over_all.name])
    without = {target: find_best(study.name, trials[study.name]) for target, study in plan.without.items()}
    return judge_family(plan.encoder, plan.places, best, without, evaluator, default if plan.default_measured else None)


def _write(
    section: Search, plans: list[FamilyPlan], trials: Mapping[str, list[Trial]], families: list[Family], evaluator: Evaluator,
    default: Setting, left: tuple[str, ...],
) -> str:  # fmt: skip
    out = Path(section.out)
    measured = all(plan.default_measured for plan in plans)
    totals = total(families, evaluator, default if measured else None)
    notes = [*left, *_space_notes(plans)]
    notes += [] if measured else [f"The default setting ({default}) was not scored: nothing is compared with it."]
    studies = [study for plan in plans for study in plan.studies]
    with exclusive(out / section.name):  # two searches that end together log one run
        pictures = []
        for plan in plans:
            suffix = f"-{plan.encoder}" if plan.encoder else ""
            drawn, unable = draw(out, suffix, plan.over_all.space, trials[plan.over_all.name])
            pictures += drawn
            notes += unable
        text = write_up(families, totals, default, notes)
        names = write_files(out, families, trial_rows(studies, trials, evaluator), text)
        log_search(section, studies, trials, families, totals, evaluator, [out / name for name in (*names, *pictures)])
    return text


def _space_notes(plans: list[FamilyPlan]) -> list[str]:
    """Give what was left out of the spaces, once where it is the same for all families."""
    found = [(plan.encoder, note) for plan in plans for note in plan.notes]
    shared = len({note for _, note in found}) == 1 and len(found) == len(plans)
    return [found[0][1]] if shared else [f"{encoder}: {note}" for encoder, note in found]
