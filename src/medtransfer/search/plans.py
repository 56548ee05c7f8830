"""The params and the results go in; the families that share a winner and the studies that find it come out."""

from collections.abc import Sequence
from dataclasses import dataclass

from medtransfer.config import Search
from medtransfer.hashing import digest
from medtransfer.search.evaluate import Setting
from medtransfer.search.results import Results
from medtransfer.search.space import Space, listed_space, whole_space
from medtransfer.search.study import Plan


@dataclass(frozen=True)
class FamilyPlan:
    """The studies of one family.

    Attributes:
        encoder: its name, empty where all encoders share a winner.
        places: of its cases.
        over_all: the study that sees every target.
        without: by target, the study that does not see it; empty with a single target.
        default_measured: whether the default setting can be judged on its scores.
        notes: in words, what was left out of the space.
    """

    encoder: str
    places: tuple[int, ...]
    over_all: Plan
    without: dict[str, Plan]
    default_measured: bool
    notes: tuple[str, ...]

    @property
    def studies(self) -> list[Plan]:
        """Give all studies, the one over all targets first."""
        return [self.over_all, *self.without.values()]


def make_plans(section: Search, results: Results, default: Setting) -> list[FamilyPlan]:
    """Plan a study over all targets and one without each, for all encoders together or for each."""
    cases = results.cases
    encoders = sorted({case.encoder for case in cases}) if section.per_encoder else [""]
    places = {encoder: tuple(i for i, case in enumerate(cases) if encoder in ("", case.encoder)) for encoder in encoders}
    return [_plan(section, results, default, encoder, found) for encoder, found in places.items()]


def _plan(section: Search, results: Results, default: Setting, encoder: str, places: tuple[int, ...]) -> FamilyPlan:
    measured = results.measured(places)
    space, notes = listed_space(section, measured) if measured.margins else (whole_space(section, measured), [])
    name = f"{section.name}-{encoder}" if encoder else section.name
    cases = results.cases
    targets = sorted({cases[place].target for place in places})
    seen = {target: [place for place in places if cases[place].target != target] for target in targets if len(targets) > 1}
    without = {target: _study(section, results, f"{name}-without-{target}", space, found) for target, found in seen.items()}
    over_all = _study(section, results, name, space, places)
    return FamilyPlan(encoder, places, over_all, without, measured.covers(default), tuple(notes))


def _study(section: Search, results: Results, name: str, space: Space, places: Sequence[int]) -> Plan:
    seen = [results.cases[place].fingerprint for place in places]
    return Plan(name, space, tuple(places), digest([space.describe(), section.seed, seen], 16))
