"""Stage `search`: try every setting of robustness and other indicators on stored results, and report which chooses best."""

from collections.abc import Sequence
from pathlib import Path

from medtransfer import tracking
from medtransfer.config import Search
from medtransfer.indicators.robustness.setting import RobustnessSetting
from medtransfer.search.evaluate import Case, tabulate
from medtransfer.search.held_out import ANY, JOINT, PLAIN, Family, Searched, judge_family, total
from medtransfer.search.markdown import write_up
from medtransfer.search.plots import draw
from medtransfer.search.publish import TEXT, TRIALS, log_search, trial_rows, write_files
from medtransfer.search.results import Results
from medtransfer.search.settings import ROBUSTNESS, Tried
from medtransfer.search.space import list_indicators, list_tried, measured_in_all, one_of_each


def run(section: Search, results: Results, default: RobustnessSetting, confidence: float, margin: float) -> tracking.Made:
    """Judge every setting on every configuration, and write the result to `search.out` and the tracking store.

    Args:
        section: validated params.
        results: configurations to judge.
        default: robustness setting of the params, which the search is compared with.
        confidence: coverage of the intervals.
        margin: differences of TIS up to this are equivalent.

    Returns:
        Its files, its text for the terminal and the digest of its run.

    Raises:
        InputError: a setting of the params was not measured.
    """
    out = Path(section.out)
    searched, notes = _search_all(section, results.cases, default)
    first = searched[0]
    if first.totals.in_sample.default is None:
        notes.append(f"The default setting of robustness ({default}) was not scored everywhere: nothing is compared with it.")
    pictures = []
    for family in first.families if first.name == ROBUSTNESS else ():
        drawn, undrawn = draw(out, f"-{family.encoder}" if family.encoder else "", family.table)
        pictures += drawn
        notes += undrawn
    text = write_up(searched, default, [*results.notes, *notes], confidence, margin)
    rows = trial_rows([family for one in searched if one.name not in JOINT for family in one.families])
    names = write_files(out, searched, rows, text)
    files = [out / name for name in (*names, *pictures)]
    said = f"{text}\n\nThe settings one by one: {out / TRIALS}; this text: {out / TEXT}"
    return tracking.Made([log_search(section.results, searched, rows, default, files)], files, [said])


def _search_all(section: Search, cases: Sequence[Case], default: RobustnessSetting) -> tuple[list[Searched], list[str]]:
    """Search every indicator alone, then all of them together; also return sentences on what was left out."""
    names, notes = list_indicators(section.indicators, cases)
    encoders = sorted({case.encoder for case in cases}) if section.per_encoder else [""]
    families: dict[str, list[Family]] = {name: [] for name in (*names, *((PLAIN, ANY) if len(names) > 1 else ()))}
    for encoder in encoders:
        own, everything = [case for case in cases if encoder in ("", case.encoder)], list[Tried]()
        for name in families:
            if name in JOINT:
                settings, left_out = (everything if name == ANY else one_of_each(everything, default)), list[str]()
            else:
                settings, left_out = list_tried(name, section, own, default)
                everything += settings
            families[name].append(_search(name, encoder, own, settings, default))
            notes += [f"{encoder}: {note}" if encoder else note for note in left_out]
    return [Searched(name, tuple(found), total(found)) for name, found in families.items()], notes


def _search(name: str, encoder: str, cases: Sequence[Case], settings: Sequence[Tried], default: RobustnessSetting) -> Family:
    study = "-".join(["search", *([] if name == ROBUSTNESS else ["by", name]), *([encoder] if encoder else [])])
    return judge_family(study, encoder, tabulate(cases, settings), default, measured_in_all(cases).covers(default))
