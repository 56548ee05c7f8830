"""What choosing by fine-tuning first brings, in words."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from medtransfer.analysis.model import Analysis, Judged
from medtransfer.analysis.summary import analyse
from medtransfer.metrics.comparison import ClusterMean
from medtransfer.report import trials_text

Make = Callable[..., Analysis]
KNOWN = ClusterMean(0.02, 0.005, 5, 6, ("pretraining",))  # the t quantile at 0.975 with 5 degrees is 2.5706


def known(analysis: Analysis, against: ClusterMean) -> Analysis:
    """Return the analysis with made-up results of the first trials."""
    summaries = [replace(s, mean_tis=0.985 if s.selector.name == "one-each" else 0.991) for s in analysis.summaries]
    return replace(analysis, summaries=tuple(summaries), evidence=replace(analysis.evidence, trials={"one-each": against}))


def validated(judged: Judged) -> Judged:
    return replace(judged, pool=replace(judged.pool, validation=judged.pool.outcome))


def test_every_sentence(paperlike: Analysis) -> None:
    once, others, seen = trials_text.sentences(known(paperlike, KNOWN))
    assert once == (
        "Fine-tuning each of the 10 checkpoints once and taking the best keeps 98.5 % of the best Dice, judged on the other seeds; "
        "against the last checkpoint the difference in TIS is +0.020 (+0.007 to +0.033): better."
    )
    assert others == (
        "Other ways to choose by fine-tuning keep: one fine-tuning of each of the last 5 checkpoints (5 in all) 99.1 %, two "
        "fine-tunings of each checkpoint (20 in all) 99.1 %, a race by seeds (16 in all) 99.1 %. The race has a further seed in "
        "each rung, always of full length; what shorter schedules would miss is not judged."
    )
    assert seen.startswith("These choices are made on the test images, by other fine-tunings than those that judge them")


def test_means_over_some_configurations_and_of_other_numbers_say_so(paperlike: Analysis) -> None:
    summaries = [replace(s, pools=s.pools - 3) if s.selector.name != "one-each" else s for s in known(paperlike, KNOWN).summaries]
    _, others, _ = trials_text.sentences(replace(known(paperlike, KNOWN), summaries=tuple(summaries)))
    pools = paperlike.by_selector["race"].pools
    assert (
        f"a race by seeds (16 in all, in {pools - 3} of {pools} configurations, since others have too few seeds) 99.1 %" in others
    )


def together(*analyses: Analysis) -> Analysis:
    """Analyse the pools of several analyses, each on a target of its own."""
    pools = [
        replace(judged.pool, fields={**judged.pool.fields, "target": f"target{number}"})
        for number, one in enumerate(analyses) for judged in one.judged
    ]  # fmt: skip
    return analyse(pools, [], analyses[0].sampling)


def test_configurations_with_fewer_checkpoints_do_not_lack_seeds(make: Make) -> None:
    """Of 3 checkpoints a race has no second rung, with however many seeds; 7 go to 3."""
    three, seven = make(1, 4, (0, 1, 5)), make(1, 4, (0, 1, 5, 10, 20, 50, 100))
    once, others, _ = trials_text.sentences(together(three, seven))
    assert once.startswith("Fine-tuning each checkpoint (on average 5) once")
    assert "last 5 checkpoints (5 in all, in 1 of 2 configurations, since others have too few checkpoints)" in others
    assert "a race by seeds (10 in all, in 1 of 2 configurations, since others have too few checkpoints)" in others
    _, others, _ = trials_text.sentences(together(three, seven, make(1, 2, (0, 1, 5, 10, 20, 50, 100))))
    assert "two fine-tunings of each checkpoint (10 in all, in 2 of 3 configurations, since others have too few seeds)" in others
    assert "a race by seeds (10 in all, in 1 of 3 configurations, since others have too few seeds or checkpoints)" in others


def test_the_same_in_every_configuration_is_not_called_equivalent(paperlike: Analysis) -> None:
    once, *_ = trials_text.sentences(known(paperlike, ClusterMean(0.0, 0.0, 5, 6, ("pretraining",))))
    assert once.endswith("judged on the other seeds; the last checkpoint brings the same in every configuration.")


def test_without_an_interval_it_is_undecided(small: Analysis) -> None:
    once, _, lacking = trials_text.sentences(known(small, ClusterMean(0.02, None, 0, 2, ())))
    assert once.endswith("the difference in TIS is +0.020: undecided.")
    assert lacking == "Not judged, since a choice needs one more seed than it is made on: two fine-tunings each, race by seeds."


@pytest.mark.parametrize(
    ("count", "start"),
    [
        (2, "These choices are made on validation images."),
        (1, "These choices are made in 1 of 2 configurations on the test images"),
    ],
)
def test_what_the_choices_see_is_said(small: Analysis, count: int, start: str) -> None:
    judged = tuple(validated(pool) if index < count else pool for index, pool in enumerate(small.judged))
    assert trials_text.sentences(replace(small, judged=judged))[1].startswith(start)


def test_nothing_judged_is_no_sentence(broken: Analysis) -> None:
    assert trials_text.sentences(replace(broken, judged=(), summaries=())) == []
