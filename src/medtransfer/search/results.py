"""The tracking store goes in; the configurations that a search can judge, their scores and Dice joined by key, come out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from medtransfer.analysis.judge import unjudged
from medtransfer.analysis.pools import Pool, collect
from medtransfer.analysis.replayed import read_released, replayed_configurations, replayed_scores
from medtransfer.config import Search
from medtransfer.errors import InputError
from medtransfer.hashing import digest
from medtransfer.metrics.transfer import transferability_indicator_score
from medtransfer.progress import track
from medtransfer.search.evaluate import Case, Setting
from medtransfer.search.scored import GROUP, Scored, listed, read_run
from medtransfer.search.space import Measured


@dataclass(frozen=True)
class Results:
    """What a search judges: its cases, the scores of each, and in words what was left out."""

    cases: tuple[Case, ...]
    scored: tuple[Scored, ...]
    notes: tuple[str, ...]

    def measured(self, places: Sequence[int]) -> Measured:
        """Give what the scores of the cases at these places have in common."""
        scored = [self.scored[place] for place in places]
        margins = [one.margins for one in scored if one.margins is not None]
        pairs = frozenset.intersection(*(one.pairs for one in scored))
        return Measured(pairs, tuple(sorted(frozenset.intersection(*margins))) if margins else ())


def read_results(section: Search, setting: Mapping[str, object], default: Setting) -> Results:
    """Read what can be judged: the user's own results, or the replayed ones.

    Args:
        section: validated params.
        setting: params of the score runs to prefer where a target was scored in several ways.
        default: the setting that the search is compared with.

    Raises:
        InputError: there are no results, none is complete, or the stored distances cannot be read.
    """
    found, notes = _replayed() if section.results == "replay" else _own(section, setting, default)
    searched = set(product(section.distances, section.levels))
    cases = tuple(_case(configuration, scored, searched) for configuration, scored in found)
    return Results(cases, tuple(scored for _, scored in found), tuple(notes))


Found = tuple[list[tuple[Pool, Scored]], list[str]]


def _own(section: Search, setting: Mapping[str, object], default: Setting) -> Found:
    configurations, left = collect(setting, default.pooling)
    if not configurations:
        raise InputError(
            "expected finished fine-tunings in the tracking store, but there are none; run `medtransfer finetune` first, or "
            "set MLFLOW_TRACKING_URI to the store that has them"
        )
    usable, notes = _usable(configurations)
    runs = {one.score_run: one for one in usable}  # two modes of fine-tuning share one
    wanted = {*product(section.distances, section.levels), (default.distance, default.level)}
    reading = track(runs.items(), "search: reading distances", len(runs), "score runs")
    scored = {run: read_run(one, wanted) for run, one in reading}
    return [(one, scored[one.score_run]) for one in usable], [*left, *notes]


def _replayed() -> Found:
    released = read_released()
    usable, notes = _usable(replayed_configurations(released))
    scored = listed(replayed_scores(released).rename(columns={"scheme": "origin"}))
    return [(one, scored[tuple(one.fields[name] for name in GROUP)]) for one in usable], notes


def _usable(configurations: Sequence[Pool]) -> tuple[list[Pool], list[str]]:
    """Give the configurations that can be judged, and in words why the others cannot."""
    reasons = {one.name: unjudged(one) or _unscored(one) for one in configurations}
    usable = [one for one in configurations if not reasons[one.name]]
    if not usable:
        name, reason = next(iter(reasons.items()))
        raise InputError(
            f"expected a configuration with the Dice and the score of every checkpoint, but none of {len(reasons)} has them "
            f"({name}: {reason}); run `medtransfer score` and `medtransfer finetune --study` first"
        )
    return usable, [f"{name}: left out, {reason}" for name, reason in reasons.items() if reason]


def _unscored(configuration: Pool) -> str:
    later = set(configuration.candidates) - {0}
    lacking = sorted(later - set(configuration.robustness))
    if lacking:
        return f"no score of epochs {', '.join(map(str, lacking))}"
    return "" if later else "no checkpoint after epoch 0 to choose"


def _case(configuration: Pool, scored: Scored, searched: set[tuple[str, int]]) -> Case:
    means = configuration.means
    numbers = [[*key, value] for key, value in sorted(scored.digests.items()) if key[:2] in searched]
    fields = configuration.fields
    return Case(
        configuration.name, fields["encoder"], fields["target"], fields["mode"],
        {int(epoch): transferability_indicator_score(means, epoch) for epoch in means}, scored.curves,
        digest([configuration.name, sorted(means.items()), numbers], 16),
    )  # fmt: skip
