"""Stage `search`: try every robustness setting on stored results, and report which chooses best."""

from pathlib import Path

from medtransfer.config import Search
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.locks import exclusive
from medtransfer.search.evaluate import tabulate
from medtransfer.search.held_out import Family, judge_family, total
from medtransfer.search.markdown import write_up
from medtransfer.search.plots import draw
from medtransfer.search.publish import log_search, trial_rows, write_files
from medtransfer.search.results import Results
from medtransfer.search.space import list_settings, measured_in_all


def run(section: Search, results: Results, default: RobustnessSetting, confidence: float, margin: float) -> str:
    """Judge every setting on every configuration, and write the result to `search.out` and the tracking store.

    Args:
        section: validated params.
        results: configurations to judge.
        default: robustness setting of the params, which the search is compared with.
        confidence: coverage of the intervals.
        margin: differences of TIS up to this are equivalent.

    Returns:
        The text for the terminal.

    Raises:
        InputError: a setting of the params was not measured.
    """
    with exclusive(Path(section.out)):
        return _run(section, results, default, confidence, margin)


def _run(section: Search, results: Results, default: RobustnessSetting, confidence: float, margin: float) -> str:
    out = Path(section.out)
    encoders = sorted({case.encoder for case in results.cases}) if section.per_encoder else [""]
    families, notes = [], []
    for encoder in encoders:
        family, left_out = _search(section, results, default, encoder)
        families.append(family)
        notes += [f"{encoder}: {note}" if encoder else note for note in left_out]
    totals = total(families)
    if totals.in_sample.default is None:
        notes.append(f"The default setting ({default}) was not scored: nothing is compared with it.")
    pictures = []
    for family in families:
        drawn, undrawn = draw(out, f"-{family.encoder}" if family.encoder else "", family.table)
        pictures += drawn
        notes += undrawn
    text = write_up(families, totals, default, [*results.notes, *notes], confidence, margin)
    rows = trial_rows(families)
    names = write_files(out, families, rows, text)
    log_search(section.results, families, rows, totals, default, [out / name for name in (*names, *pictures)])
    return text


def _search(section: Search, results: Results, default: RobustnessSetting, encoder: str) -> tuple[Family, list[str]]:
    cases = [case for case in results.cases if encoder in ("", case.encoder)]
    measured = measured_in_all(cases)
    settings, notes = list_settings(section, measured, default)
    name = f"search-{encoder}" if encoder else "search"
    return judge_family(name, encoder, tabulate(cases, settings), default, measured.covers(default)), notes
